"""Text that a terminal shows and does not obey."""

from __future__ import annotations

import re

__all__ = ["control"]

# C0, DEL, C1; signs that turn or hide text (bidirectional marks, zero width, tags); line separators; halves
# of surrogate pairs, which no encoding takes.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def control(text: str, keep: str = "") -> str:
    r"""``text`` with control and hidden characters escaped (``\x1b``, ``\u202e``), except those in ``keep``.

    For every name and message from a server or a manifest: a terminal shall show it, not obey it.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
