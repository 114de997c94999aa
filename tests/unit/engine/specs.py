"""Random endpoint specs that a manifest may hold: a strategy for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_NAMES = ["alpha", "beta", "gamma"]
_WORDS = st.sampled_from(["x", "y", "cost.center", "Größe", "a b", ""])


def _optional(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


@st.composite
def _custom_entity(draw: st.DrawFn, name: str) -> dict[str, Any]:
    sizing = draw(
        st.sampled_from(
            [{}, {"workload_size": "Small"}, {"workload_size": "Large"}]
            + [{"min_provisioned_concurrency": 4, "max_provisioned_concurrency": n} for n in (4, 8)]
        )
    )
    more = draw(
        _optional(
            workload_type=st.sampled_from(["CPU", "GPU_SMALL"]),
            scale_to_zero_enabled=st.booleans(),
            environment_vars=st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "2"])),
        )
    )
    version = draw(st.sampled_from(["1", "2", "3"]))
    return {"name": name, "entity_name": "main.ml.ranker", "entity_version": version, **sizing, **more}


@st.composite
def _external_entity(draw: st.DrawFn, name: str) -> dict[str, Any]:
    provider, block, key = draw(
        st.sampled_from(
            [
                ("openai", "openai_config", "openai_api_key"),
                ("anthropic", "anthropic_config", "anthropic_api_key"),
                ("cohere", "cohere_config", "cohere_api_key"),
            ]
        )
    )
    secret = draw(st.sampled_from(["{{secrets/a/one}}", "{{secrets/a/two}}"]))
    model = draw(st.sampled_from(["m-1", "m.2"]))
    external = {"provider": provider, "name": model, "task": "llm/v1/chat", block: {key: secret}}
    return {"name": name, "external_model": external}


@st.composite
def configs(draw: st.DrawFn, *, external: bool) -> dict[str, Any]:
    """A configuration of one kind of model: one to three entities, with routes where they are needed."""
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3, unique=True))
    entity = _external_entity if external else _custom_entity
    config: dict[str, Any] = {"served_entities": [draw(entity(name)) for name in names]}
    if len(names) > 1 or draw(st.booleans()):
        shares = _split(draw, len(names))
        routes = [
            {"served_entity_name": n, "traffic_percentage": s} for n, s in zip(names, shares, strict=True)
        ]
        config["traffic_config"] = {"routes": draw(st.permutations(routes))}
    return config


def _split(draw: st.DrawFn, count: int) -> list[int]:
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=count - 1, max_size=count - 1)))
    return [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]


_LIMITS = st.lists(
    st.one_of(
        st.builds(lambda n: {"calls": n, "renewal_period": "minute"}, st.integers(1, 500)),
        st.builds(lambda n: {"key": "user", "calls": n, "renewal_period": "minute"}, st.integers(1, 500)),
        st.builds(
            lambda n, who: {
                "key": "user_group",
                "principal": who,
                "tokens": n,
                "renewal_period": "minute",
            },
            st.integers(1, 500),
            st.sampled_from(["ops", "ml"]),
        ),
    ),
    unique_by=lambda limit: (limit.get("key", "endpoint"), limit.get("principal")),
    max_size=4,
)
_GUARD = _optional(
    safety=st.booleans(),
    pii=_optional(behavior=st.sampled_from(["NONE", "BLOCK", "MASK"])),
    invalid_keywords=st.lists(st.sampled_from(["bad", "worse"]), unique=True),
)
_ENABLED = st.fixed_dictionaries({"enabled": st.booleans()})
gateways = _optional(
    usage_tracking_config=_ENABLED,
    rate_limits=_LIMITS,
    guardrails=_optional(input=_GUARD, output=_GUARD),
    fallback_config=_ENABLED,
)
_TAGS = st.dictionaries(st.sampled_from(["team", "tier", "cost.center"]), _WORDS, max_size=3)
tags = st.one_of(
    _TAGS,
    _TAGS.map(lambda t: [{"key": k, "value": v} if v else {"key": k} for k, v in t.items()]),
)
_ADDRESSES = st.lists(st.sampled_from(["a@example.com", "b@example.com"]), unique=True)
notifications = _optional(on_update_success=_ADDRESSES, on_update_failure=_ADDRESSES)
permissions = st.lists(
    st.builds(
        lambda who, level: {**who, "permission_level": level},
        st.sampled_from([{"group_name": "analysts"}, {"user_name": "u@example.com"}, {"group_name": "ops"}]),
        st.sampled_from(["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]),
    ),
    unique_by=lambda grant: (grant.get("group_name"), grant.get("user_name")),
    max_size=3,
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A whole spec; any section may be left out, or written empty where that is allowed."""
    external = draw(st.booleans())
    spec: dict[str, Any] = draw(
        _optional(
            config=configs(external=external),
            tags=st.one_of(tags, st.none()),
            ai_gateway=st.one_of(gateways, st.none()),
            email_notifications=notifications,
            permissions=permissions,
            description=st.sampled_from(["", "one", "two"]),
        )
    )
    if not external and draw(st.booleans()):
        spec["route_optimized"] = draw(st.booleans())
    return spec
