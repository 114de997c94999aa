"""A selection of what is declared: the rest is looked up as it is live."""

from __future__ import annotations

import pytest

from reconciler.errors import ManifestError
from reconciler.manifest.selection import select
from tests.unit.engine.gateway import Gateway, resource
from tests.unit.engine.test_gateway_plans import CHAT, GPT, SECRET, plan

_ALL = (SECRET, GPT, CHAT)


def test_what_is_not_selected_is_a_reference_to_the_live_side() -> None:
    gateway = Gateway()
    gateway.secret("openai")
    gateway.model("gpt", "s-openai")
    made = plan(gateway, *select(_ALL, ["GatewayEndpoint/chat"]))
    (step,) = made.steps
    assert step.depends_on == ()
    assert step.calls[0].body["model_configs"][0]["model_definition_id"] == "d-gpt"


def test_what_is_neither_selected_nor_live_is_told() -> None:
    with pytest.raises(ManifestError) as caught:
        plan(Gateway(), *select(_ALL, (), ["kind=GatewayModel"]))
    (problem,) = caught.value.problems
    assert "GatewayModel/gpt" in problem.what
    assert "select it too" in problem.fix


def test_another_kind_of_the_same_name_is_another_resource() -> None:
    model = resource("GatewayModel/openai", {"secret": "openai"})
    assert select((SECRET, model), ["GatewayModel/openai"]) == (model,)
