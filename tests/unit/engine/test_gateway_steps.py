"""Steps on an MLflow AI Gateway whose answers get lost: what a read settles is not sent a second time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.engine.gateway_reader import read_gateway_one
from reconciler.engine.options import PlanOptions
from reconciler.engine.planner import make_step
from reconciler.engine.steps import StepRun
from reconciler.errors import AnswerLost
from reconciler.kinds.gateway import mark
from reconciler.values import CallResult, Secret, StepStatus
from tests.unit.engine.gateway import Gateway, resource

_SEAL = "12345678.aaaaaaaaaaaaaaaaaaaaaa"
_OTHER = "12345678.bbbbbbbbbbbbbbbbbbbbbb"
_SECRET = replace(
    resource(
        "GatewaySecret/openai", {"provider": "openai", "secret_value": {"api_key": Secret("sk-x-cdef")}}
    ),
    seal=_SEAL,
)
_CHAT = resource("GatewayEndpoint/chat", {"models": [{"model": "gpt"}]})


class Losing(Gateway):
    """It does what it is asked to, or not, and loses the first answer."""

    def __init__(self, *, does: bool) -> None:
        super().__init__()
        self.does = does
        self.sent = 0

    def _lose(self) -> None:
        self.sent += 1
        if self.sent == 1:
            raise AnswerLost("the connection broke before the answer was there", method="POST", path="/")

    def update_gateway_secret(self, *, updated_by: str, **_: Any) -> dict[str, Any]:
        if self.does or self.sent:
            self.secrets[0] |= {"last_updated_by": updated_by, "last_updated_at": 99}
        self._lose()
        return {}

    def set_gateway_endpoint_tag(self, *, key: str, value: str, **_: Any) -> dict[str, Any]:
        if self.does or self.sent:
            self.endpoints[0]["tags"] = [{"key": key, "value": value}]
        self._lose()
        return {}


def _carried_out(gateway: Losing, wanted: Any, options: PlanOptions) -> tuple[CallResult, ...]:
    step = make_step(wanted, read_gateway_one(gateway, wanted), options)
    run = StepRun(
        step,
        gateway,
        read=lambda: read_gateway_one(gateway, wanted),
        replan=lambda live: make_step(wanted, live, PlanOptions(adopt=options.adopt)),
        waits=True,
        stopping=lambda: False,
        now=lambda: 0.0,
        tell=lambda phase, detail: None,
    )
    with pytest.raises(StopIteration) as ended:
        next(run.run())
    assert ended.value.value.status is StepStatus.DONE, ended.value.value.error
    return run.results


@pytest.mark.parametrize(("does", "times"), [(True, 1), (False, 2)])
def test_a_rotated_key_is_known_by_its_fingerprint(does: bool, times: int) -> None:
    gateway = Losing(does=does)
    gateway.secret("openai", mark("shop", _OTHER))
    results = _carried_out(gateway, _SECRET, PlanOptions())
    assert gateway.sent == times
    assert ("answer was lost" in results[-1].outcome) is does


@pytest.mark.parametrize(("does", "times"), [(True, 1), (False, 2)])
def test_an_adoption_is_known_by_its_tag(does: bool, times: int) -> None:
    gateway = Losing(does=does)
    gateway.secret("openai")
    gateway.endpoint("chat", gateway.model("gpt", "s-openai"), by="ann")
    _carried_out(gateway, _CHAT, PlanOptions(adopt=True))
    assert gateway.sent == times


def test_the_same_value_sent_again_is_sent_until_it_is_answered() -> None:
    """Before and after it the live side says the same: no read can tell."""
    gateway = Losing(does=True)
    gateway.secret("openai", mark("shop", _SEAL))
    _carried_out(gateway, _SECRET, PlanOptions(resend=True))
    assert gateway.sent == 2
