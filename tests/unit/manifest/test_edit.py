"""Edits of an overlay's text: what is written, and that everything else stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler import schema
from reconciler.manifest.edit import Edit, added, edited
from reconciler.schema import MISSING
from reconciler.values import Address, FieldPath

_FIELDS = schema.spec_fields("Endpoint")
_HEAD = "apiVersion: reconciler/v1\nkind: Overlay\naddress: Endpoint/chat\n"
_ENTITY = {"name": "champion", "entity_name": "main.ml.ranker", "entity_version": "7"}
_UNNAMED = {"entity_name": "main.ml.ranker", "entity_version": "7"}
_LIMIT = {"key": "user", "calls": 10, "renewal_period": "minute"}


def _edited(spec: str, path: str, value: Any, *items: dict[str, Any]) -> str:
    text = f"{_HEAD}{spec}"
    done = edited(text, 1, [Edit(FieldPath.parse(path), value, items)], _FIELDS)
    assert done.startswith(_HEAD)
    return done.removeprefix(_HEAD)


@pytest.mark.parametrize(
    ("before", "path", "value", "items", "after"),
    [
        ("", "description", "x", (), "spec:\n  description: x\n"),
        ("spec:\n  description: a # why\n", "description", "b", (), "spec:\n  description: b # why\n"),
        (
            "spec:\n  # about tags\n  tags: {a: b}\n",
            "tags.c",
            "d",
            (),
            "spec:\n  # about tags\n  tags: {a: b, c: d}\n",
        ),
        (
            "spec:\n  tags:\n  - key: a # one\n    value: b\n",
            "tags.a",
            "c",
            (),
            "spec:\n  tags:\n  - key: a # one\n    value: c\n",
        ),
        (
            "",
            "config.served_entities[champion].entity_version",
            "8",
            (_ENTITY,),
            "spec:\n  config:\n    served_entities:\n      - name: champion\n        entity_version: '8'\n",
        ),
        (
            "",
            "config.served_entities[ranker-7].entity_version",
            "8",
            (_UNNAMED,),
            "spec:\n  config:\n    served_entities:\n"
            "      - entity_name: main.ml.ranker\n        entity_version: '8'\n",
        ),
        # the overlay's own spelling, quotes and indentation
        (
            "spec:\n  config:\n    served_models:\n"
            '    - name: "champion"   # best\n      model_version: "7"\n',
            "config.served_entities[champion].entity_version",
            "8",
            (_ENTITY,),
            "spec:\n  config:\n    served_models:\n"
            '    - name: "champion"   # best\n      model_version: "8"\n',
        ),
        (
            "",
            "ai_gateway.rate_limits[user]",
            _LIMIT,
            (_LIMIT,),
            "spec:\n  ai_gateway:\n    rate_limits:\n"
            "      - key: user\n        calls: 10\n        renewal_period: minute\n",
        ),
        # what the overlay brings in is taken out, with what it leaves empty; else it is said to go
        ("spec:\n  tags: {a: b}\n  description: x\n", "tags.a", MISSING, (), "spec:\n  description: x\n"),
        ("", "tags.a", MISSING, (), "spec:\n  tags:\n    a:\n      $remove: true\n"),
        (
            "spec:\n  ai_gateway:\n    rate_limits:\n"
            "      - {key: user, calls: 1}\n      - {key: endpoint}\n",
            "ai_gateway.rate_limits[user]",
            MISSING,
            (_LIMIT,),
            "spec:\n  ai_gateway:\n    rate_limits:\n      - {key: endpoint}\n",
        ),
        (
            "spec:\n  config:\n    served_entities:\n      - {name: other, entity_version: '1'}\n",
            "config.served_entities[champion]",
            MISSING,
            (_ENTITY,),
            "spec:\n  config:\n    served_entities:\n      - {name: other, entity_version: '1'}\n"
            "      - name: champion\n        $remove: true\n",
        ),
        # what was removed comes back, as it is there and not as the manifest has it
        (
            "spec:\n  config:\n    served_entities:\n      - name: champion\n        $remove: true\n",
            "config.served_entities[champion]",
            _ENTITY,
            (_ENTITY,),
            "spec:\n  config:\n    served_entities:\n      - name: champion\n"
            "        entity_name: main.ml.ranker\n        entity_version: '7'\n        $replace: true\n",
        ),
    ],
)
def test_an_edit(before: str, path: str, value: Any, items: tuple[dict[str, Any], ...], after: str) -> None:
    assert _edited(before, path, value, *items) == after


def test_other_documents_stay_byte_for_byte() -> None:
    odd = "# first\na:    {b:   c}   # odd\n"
    last = "---   # third\nx:   [1,2]\n...\n"
    text = f"{odd}---\n# ours\n{_HEAD}spec:\n  description: a\n{last}"
    done = edited(text, 5, [Edit(FieldPath(("description",)), "b")], _FIELDS)
    assert done == text.replace("description: a", "description: b")


def test_line_ends_stay() -> None:
    text = f"{_HEAD}spec:\n  description: a\n".replace("\n", "\r\n")
    done = edited(text, 1, [Edit(FieldPath(("description",)), "b")], _FIELDS)
    assert done == text.replace("description: a", "description: b")


def test_a_document_is_added_at_the_end() -> None:
    chat = Address("Endpoint", "chat")
    assert added("", chat) == _HEAD
    assert added("a: b", chat) == f"a: b\n---\n{_HEAD}"
