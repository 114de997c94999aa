"""The policies that come with the program, as data: what a project takes by ``use: NAME``.

Each is written as a user would write it, and documented by docs/policies.md, which a test holds to this
table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from reconciler import schema

__all__ = ["BUILTIN", "Builtin", "Parameter"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, given by ``with:``. ``default``: None when it must be given. ``about``: for the docs.

    ``form``: what each of its texts looks like, where a slip would judge nothing, or deny all: a pattern.
    """

    about: str
    default: Any = None
    kind: type = list
    form: str = ""


@dataclass(frozen=True, slots=True)
class Builtin:
    """One policy; the fields are those of ``policies:`` in the project file."""

    about: str
    rule: str
    message: str
    fix: str
    on: str = "resource"
    level: str = "deny"
    when: str = ""
    each: str = ""
    at: str = ""
    params: Mapping[str, Parameter] = field(default_factory=lambda: MappingProxyType({}))


_ENDPOINT: Final = "resource.kind == 'Endpoint'"
_ENTITIES: Final = "resource.spec.config.served_entities"
_NAME: Final = "has(item.name) ? item.name : has(item.entity_name) ? item.entity_name : 'an entity'"

_KIND: Final = "|".join(schema.kinds())
_DAYS: Final = "['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']"
_TIME: Final = r"([01]?\d|2[0-3]):[0-5]\d|24:00"
_TODAY: Final = f"{_DAYS}[now.getDayOfWeek(params.zone)] in params.days"
_YESTERDAY: Final = f"{_DAYS}[(now.getDayOfWeek(params.zone) + 6) % 7] in params.days"
_CLOCK: Final = "now.getHours(params.zone) * 60 + now.getMinutes(params.zone)"
_BEGUN: Final = f"{_CLOCK} >= minutes(params.from)"
_NOT_OVER: Final = f"{_CLOCK} < minutes(params.to)"

BUILTIN: Final[Mapping[str, Builtin]] = MappingProxyType(
    {
        "rate-limits": Builtin(
            "Every endpoint has a rate limit.",
            when=_ENDPOINT,
            rule="has(resource.spec.ai_gateway.rate_limits) && resource.spec.ai_gateway.rate_limits"
            ".exists(l, (has(l.key) ? l.key : 'endpoint') in params.keys)",
            message="{resource.address} has no rate limit for {params.keys}",
            fix="add one under ai_gateway.rate_limits",
            params={
                "keys": Parameter("what one of the limits must be for", ["endpoint", "user", "user_group"])
            },
        ),
        "no-plaintext-keys": Builtin(
            "No key of a provider and no secret variable is sent in plain text: all are references.",
            when="resource.kind in params.kinds",
            each="resource.plaintext",
            rule="false",
            at="item",
            message="{resource.address} sends {item} in plain text",
            fix="keep it in a secret scope, and write {{{{secrets/scope/key}}}}",
            params={"kinds": Parameter("the kinds that are judged", ["Endpoint", "Deployment"], form=_KIND)},
        ),
        "gpu-teams": Builtin(
            "A GPU is for the teams that are named.",
            when=_ENDPOINT,
            each=_ENTITIES,
            rule="!(has(item.workload_type) && item.workload_type.contains('GPU')) || "
            "(params.label in resource.labels && resource.labels[params.label] in params.teams)",
            message="{resource.address}: {" + _NAME + "} runs on {item.workload_type}, which is for "
            "{params.label} {params.teams}",
            fix="use a CPU, or ask for the team's GPUs",
            params={
                "teams": Parameter("who may have one"),
                "label": Parameter("the label in metadata.labels that names the team", "team", str),
            },
        ),
        "no-scale-to-zero": Builtin(
            "Nothing scales to zero: the first caller after a pause would wait for minutes.",
            when=_ENDPOINT,
            each=_ENTITIES,
            rule="!(has(item.scale_to_zero_enabled) && item.scale_to_zero_enabled)",
            message="{resource.address}: {" + _NAME + "} scales to zero",
            fix="write scale_to_zero_enabled: false",
        ),
        "change-window": Builtin(
            "Changes are made within working hours.",
            on="plan",
            when="plan.write_calls > 0",
            # A window that ends before it begins goes over midnight, and is that of the day it begins on.
            rule=f"minutes(params.from) < minutes(params.to) ? {_TODAY} && {_BEGUN} && {_NOT_OVER}"
            f" : ({_TODAY} && {_BEGUN}) || ({_YESTERDAY} && {_NOT_OVER})",
            message="changes are made {params.days} from {params.from} to {params.to} ({params.zone})",
            fix="wait for the window, or let somebody change the policy",
            params={
                "days": Parameter(
                    "sun, mon, tue, wed, thu, fri, sat",
                    ["mon", "tue", "wed", "thu"],
                    form="sun|mon|tue|wed|thu|fri|sat",
                ),
                "from": Parameter("when it begins, as 09:00", "09:00", str, _TIME),
                "to": Parameter(
                    "when it ends, on the next day where that is earlier; 24:00 is midnight",
                    "16:00",
                    str,
                    _TIME,
                ),
                "zone": Parameter("the time zone, by its name", "UTC", str),
            },
        ),
        "tags-required": Builtin(
            "What costs money bears these tags.",
            when="resource.kind in params.kinds",
            each="params.tags",
            rule="has(resource.spec.tags) && item in resource.spec.tags && resource.spec.tags[item] != ''",
            at="'tags'",
            message="{resource.address} has no tag {item}",
            fix="add it under spec.tags",
            params={
                "tags": Parameter("keys of the tags"),
                "kinds": Parameter("the kinds that are judged", ["Endpoint"], form=_KIND),
            },
        ),
        "labels-required": Builtin(
            "Every manifest bears these labels.",
            each="params.labels",
            rule="item in resource.labels",
            message="{resource.address} has no label {item}",
            fix="add it under metadata.labels",
            params={"labels": Parameter("names of the labels")},
        ),
        "names": Builtin(
            "Names follow a pattern.",
            when="resource.kind in params.kinds",
            rule="resource.name.matches(params.pattern)",
            message="{resource.address}: the name does not fit {params.pattern}",
            fix="choose another name",
            params={
                "pattern": Parameter("an RE2 pattern; ^ and $ bind it to the whole name", None, str),
                "kinds": Parameter("the kinds that are judged", ["Endpoint"], form=_KIND),
            },
        ),
        "inference-tables": Builtin(
            "Requests and answers are kept in an inference table.",
            when=_ENDPOINT,
            rule="has(resource.spec.ai_gateway.inference_table_config.enabled) && "
            "resource.spec.ai_gateway.inference_table_config.enabled",
            message="{resource.address} keeps no inference table",
            fix="write ai_gateway.inference_table_config with enabled: true",
        ),
        "usage-tracking": Builtin(
            "Usage is tracked.",
            when=_ENDPOINT,
            rule="has(resource.spec.ai_gateway.usage_tracking_config.enabled) && "
            "resource.spec.ai_gateway.usage_tracking_config.enabled",
            message="{resource.address} does not track its usage",
            fix="write ai_gateway.usage_tracking_config: {{enabled: true}}",
        ),
        "pii-guardrails": Builtin(
            "Personal data in what is sent to an external model is blocked or masked.",
            when=_ENDPOINT + " && has(resource.spec.config.served_entities) && "
            "resource.spec.config.served_entities.exists(e, has(e.external_model))",
            rule="has(resource.spec.ai_gateway.guardrails.input.pii.behavior) && "
            "resource.spec.ai_gateway.guardrails.input.pii.behavior in params.behaviors",
            message="{resource.address} lets personal data through to an external model",
            fix="write ai_gateway.guardrails.input.pii: {{behavior: BLOCK}}",
            params={"behaviors": Parameter("what counts", ["BLOCK", "MASK"])},
        ),
        "providers": Builtin(
            "External models come from these providers only.",
            when=_ENDPOINT,
            each=_ENTITIES,
            rule="!has(item.external_model) || item.external_model.provider in params.allowed",
            message="{resource.address}: provider {item.external_model.provider} is not one of "
            "{params.allowed}",
            fix="use a model of another provider",
            params={"allowed": Parameter("providers, as the API spells them")},
        ),
        "models": Builtin(
            "Only these models are served.",
            when=_ENDPOINT,
            each=_ENTITIES,
            rule="params.allowed.exists(p, (has(item.external_model) ? item.external_model.name : "
            "has(item.entity_name) ? item.entity_name : '').matches(p))",
            message="{resource.address}: {has(item.external_model) ? item.external_model.name : "
            "has(item.entity_name) ? item.entity_name : 'an entity'} is none of the models allowed",
            fix="use one of {params.allowed}",
            params={"allowed": Parameter("RE2 patterns; ^ and $ bind one to the whole name")},
        ),
        "sizes": Builtin(
            "Entities are of these sizes only.",
            when=_ENDPOINT,
            each=_ENTITIES,
            rule="!has(item.workload_size) || item.workload_size in params.allowed",
            message="{resource.address}: {"
            + _NAME
            + "} is {item.workload_size}, and {params.allowed} are allowed",
            fix="choose another workload_size",
            params={"allowed": Parameter("workload sizes", ["Small", "Medium"])},
        ),
        "no-open-access": Builtin(
            "Not everybody may use or change an endpoint.",
            when="has(resource.spec.permissions)",
            each="resource.spec.permissions",
            rule="!(has(item.group_name) && item.group_name in params.groups && "
            "has(item.permission_level) && item.permission_level in params.levels)",
            message="{resource.address} gives {item.permission_level} to {item.group_name}",
            fix="name the group that needs it",
            params={
                "groups": Parameter("groups that hold everybody", ["users"]),
                "levels": Parameter(
                    "what they may not have",
                    ["CAN_MANAGE", "CAN_QUERY"],
                    form="CAN_VIEW|CAN_QUERY|CAN_MANAGE",
                ),
            },
        ),
        "prevent-destroy": Builtin(
            "What is declared is protected from deletion.",
            when="resource.kind in params.kinds",
            rule="resource.lifecycle.prevent_destroy",
            message="{resource.address} may be deleted or replaced",
            fix="write lifecycle: {{prevent_destroy: true}}",
            params={"kinds": Parameter("the kinds that are judged", ["Endpoint"], form=_KIND)},
        ),
        "approve-replace": Builtin(
            "A replacement needs somebody's word: until the new one is ready, callers get errors.",
            on="step",
            level="require_approval",
            rule="step.action != 'replace'",
            message="{step.address} would be deleted and created again",
            fix="look at what forces it; another name beside the old one needs no break",
        ),
        "approve-delete": Builtin(
            "A deletion needs somebody's word.",
            on="step",
            level="require_approval",
            rule="step.action != 'delete'",
            message="{step.address} would be deleted",
            fix="look who still calls it",
        ),
    }
)
