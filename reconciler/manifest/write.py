"""A document → YAML text that a person likes to read, and that :func:`reconciler.manifest.load` reads back as
it was: block style, the order as given, quotes where the text would mean something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from reconciler.manifest.scalars import plain
from reconciler.terminal import control

__all__ = ["literal", "manifest_text"]

_UNFOLDED: Final = 1 << 30  # columns


def manifest_text(document: Mapping[str, Any], *, comment: str = "") -> str:
    """The text of one manifest. ``comment``: a line that goes before it, without its sign.

    Values are JSON-like. Text with ``${`` is a reference; what merely looks like one goes through
    :func:`literal` first. All beyond ASCII is escaped when something of it is not to be seen, or turns text
    around: who reviews a manifest shall see what it says.
    """
    text = _dumped(document, allow_unicode=True)
    if control(text, keep="\n") != text:
        text = _dumped(document, allow_unicode=False)
    return f"# {comment}\n{text}" if comment else text


def _dumped(document: Mapping[str, Any], *, allow_unicode: bool) -> str:
    text: str = yaml.dump(
        document,
        Dumper=_Dumper,
        default_flow_style=False,
        sort_keys=False,
        allow_unicode=allow_unicode,
        width=_UNFOLDED,
    )
    return text


def literal(text: str) -> str:
    """Text that stands for itself: no part of it is taken for a reference."""
    return text.replace("${", "$${")


class _Dumper(yaml.SafeDumper):
    """Indents the items of lists, and writes text by YAML 1.2, as it is read."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Items stand two columns to the right of their key."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: what is the same twice is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not all(character.isprintable() or character == "\n" for character in text):
        style = '"'
    elif "\n" in text:
        style = "|"
    elif not isinstance(plain(text), str):
        style = "'"  # a number or a word by YAML 1.2, which PyYAML's 1.1 does not know
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)
