"""Any body that the schema allows, for property tests: made of the schema's words, not of the emulator's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from reconciler.schema import MISSING, Field, spec_fields

CANARY = "canary-c0ffee"
"""Stands for every plaintext secret; must never be seen again."""

SPEC = spec_fields("Endpoint")
ENTITY = SPEC.at("config", "served_entities", 0)
Draw = Callable[[Any], Any]

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}", fullmatch=True)
NEWER = st.dictionaries(
    st.sampled_from(["x_one", "x_two"]),
    st.one_of(
        st.integers(), TEXT, st.lists(st.booleans(), max_size=2), st.just({"api_key_plaintext": CANARY})
    ),
    max_size=2,
)
_OF_MACHINES = ("workload_", "min_provisioned", "max_provisioned", "provisioned_")


def value(field: Field) -> st.SearchStrategy[Any]:
    """Any value of a field."""
    limits = field.limits
    if field.secret:
        return st.just(CANARY)
    if field.secret_reference:
        return st.just("{{secrets/scope/key}}")
    if "enum" in limits:
        return st.sampled_from(limits["enum"])
    if field.pairs is not None:
        pair = st.fixed_dictionaries({"key": NAMES}, optional={"value": TEXT})
        return st.lists(pair, max_size=4, unique_by=lambda item: item["key"])
    if "object" in field.types:
        return obj(field) if field.properties else st.dictionaries(NAMES, TEXT, max_size=3)
    if "array" in field.types:
        items = value(field.items) if field.items is not None else TEXT
        unique = (lambda item: key_of(field, item)) if field.key else None
        return st.lists(items, max_size=4, unique_by=unique)
    if "integer" in field.types and field.coerce != "string":
        return st.integers(limits.get("minimum", -9), limits.get("maximum", 10**6))
    if "number" in field.types:
        return st.floats(limits.get("minimum", 0), limits.get("maximum", 1))
    if "boolean" in field.types:
        return st.booleans()
    if limits.get("pattern") == "^llm/":
        return st.sampled_from(["llm/v1/chat", "llm/v1/embeddings", "llm/v2/new"])
    return NAMES if "pattern" in limits else TEXT


@st.composite
def obj(draw: Draw, field: Field, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object with any of its fields, brought to what its groups demand."""
    known = {
        name: child
        for name, child in field.properties.items()
        if not (child.computed or child.alias_of or name.startswith(without or ("\0",)))
    }
    wanted = set(field.limits.get("required", ())) | draw(st.sets(st.sampled_from(sorted(known)), max_size=6))
    for group in field.exactly_one:
        wanted -= set(group)
        wanted.add(draw(st.sampled_from([name for name in group if name in known])))
    for group in field.at_least_one:
        if not wanted & set(group):
            wanted.add(draw(st.sampled_from(sorted(group))))
    for group in field.at_most_one:
        wanted -= set(sorted(wanted & set(group))[1:])
    if field.all_or_none:
        present = any(wanted & set(group) for group in field.exactly_one for group in field.all_or_none[:1])
        for group in field.all_or_none:
            if not present:
                wanted -= set(group)
            elif not wanted & set(group):
                wanted.add(draw(st.sampled_from(sorted(group))))
    for name in sorted(wanted):
        if name in wanted:
            wanted -= set(known[name].conflicts_with)
    body = {name: draw(value(known[name])) for name in sorted(wanted)}
    if field.block_of is not None:
        for block in field.block_of["blocks"].values():
            body.pop(block, None)
        block = field.block_of["blocks"][body[field.block_of["field"]]]
        body[block] = draw(value(field.properties[block]))
    return body


def key_of(field: Field, item: Mapping[str, Any]) -> tuple[Any, ...]:
    """What an item of a keyed list is told by."""
    parts = []
    for name in field.key:
        default = field.items.properties[name].default if field.items is not None else MISSING
        parts.append(item.get(name, None if default is MISSING else default))
    return tuple(parts)


@st.composite
def config(draw: Draw, kind: str) -> dict[str, Any]:
    """A config of ``custom``, ``foundation`` or ``external`` entities, with the routes it needs."""
    assert ENTITY is not None
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    task = draw(st.sampled_from(["llm/v1/chat", "llm/v1/completions"]))
    entities = []
    for name in names:
        entity = draw(obj(ENTITY, ("external_model",) if kind != "external" else _OF_MACHINES))
        if kind == "external":
            external = ENTITY.properties["external_model"]
            entity = {"external_model": entity.get("external_model") or draw(value(external))}
            entity["external_model"]["task"] = task
        else:
            prefix = "system.ai." if kind == "foundation" else "main.ml."
            entity["entity_name"] = prefix + draw(NAMES)
            entity = {n: v for n, v in entity.items() if kind == "custom" or not n.startswith(_OF_MACHINES)}
            for what in ("concurrency", "throughput"):
                low, high = f"min_provisioned_{what}", f"max_provisioned_{what}"
                if low in entity or high in entity:
                    entity[low], entity[high] = sorted(
                        (entity.get(low, entity.get(high)), entity.get(high, entity.get(low)))
                    )
        entities.append({**entity, "name": name, **draw(NEWER)})
    body: dict[str, Any] = {"served_entities": entities}
    if len(names) > 1 or draw(st.booleans()):
        cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1)))
        shares = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
        spelling = draw(st.sampled_from(["served_entity_name", "served_model_name"]))
        routes = [
            {spelling: name, "traffic_percentage": share} for name, share in zip(names, shares, strict=True)
        ]
        body["traffic_config"] = {"routes": draw(st.permutations(routes))}
    if draw(st.booleans()):
        body["auto_capture_config"] = draw(value(SPEC.properties["config"].properties["auto_capture_config"]))
    return body


@st.composite
def endpoint(draw: Draw) -> dict[str, Any]:
    """A create body that the API has to take."""
    kind = draw(st.sampled_from(["custom", "custom", "foundation", "external", "none"]))
    body: dict[str, Any] = {"name": "one"}
    for name, field in SPEC.properties.items():
        fits = not (field.excludes and kind == "external")
        if "standard" in field.create and name != "config" and fits and draw(st.booleans()):
            body[name] = draw(value(field))
    if kind != "none":
        body["config"] = draw(config(kind))
    return {**body, **{f"{name}_top": new for name, new in draw(NEWER).items()}}


def missing(field: Field, sent: Any, shown: Any, path: str = "") -> Iterable[str]:
    """What was sent and is not shown, or is shown otherwise, by the words of the schema."""
    if field.pairs is not None:
        sent, shown = ({p["key"]: p.get("value") for p in pairs} for pairs in (sent, shown))
    if field.key:
        assert field.items is not None
        for item in sent:
            key = key_of(field, {field.items.aliases.get(name, name): child for name, child in item.items()})
            found = [other for other in shown if key_of(field, other) == key]
            yield from missing(field.items, item, found[0], f"{path}[{key}]") if found else [f"{path}[{key}]"]
        if len(sent) != len(shown):
            yield f"{path}: {len(sent)} sent, {len(shown)} shown"
    elif field.is_set:
        if sorted(set(sent)) != sorted(shown):
            yield path
    elif isinstance(sent, dict) and field.properties:
        for name, child in sent.items():
            yield from _missing_member(field, name, child, sent, shown, f"{path}.{name}")
    elif field.case_insensitive:
        if sent.lower() != shown.lower():
            yield path
    elif sent != shown:
        yield f"{path}: {sent!r} sent, {shown!r} shown"


def _missing_member(
    field: Field, name: str, child: Any, sent: Mapping[str, Any], shown: Mapping[str, Any], path: str
) -> Iterable[str]:
    known = field.properties.get(name)
    if known is None:
        if child == {"api_key_plaintext": CANARY}:
            child = {}
        if shown.get(name) != child:
            yield path
        return
    if known.write_only or known.not_echoed:
        if name in shown:
            yield f"{path}: shown"
        return
    if known.overridden_when and known.overridden_when["live"] in shown:
        if shown[name] is not False:
            yield f"{path}: not overridden"
        return
    if name not in shown:
        if child not in ([], {}):
            yield f"{path}: not shown"
        return
    yield from missing(known, child, shown[name], path)
