"""A seal under a file that travels: a digest, and a signature when there is a key. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from reconciler.errors import RefusedError

__all__ = ["digest_of", "seal_problem", "sealed"]


def sealed(content: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """The content with its digest, and with a signature when there is a key (HMAC, RFC 2104, SHA-256)."""
    bare = {name: value for name, value in content.items() if name not in ("digest", "signature")}
    digest = digest_of(bare)
    result = {**bare, "digest": digest}
    if key:
        result["signature"] = _signature(digest, key)
    return result


def seal_problem(content: Mapping[str, Any], key: str = "") -> RefusedError | None:
    """What is wrong with a file's seal; None when it holds.

    The digest notices an accident and a careless edit; only a signature, under a key that whoever changes
    files does not have, notices a careful one.
    """
    bare = {name: value for name, value in content.items() if name not in ("digest", "signature")}
    digest, signature = content.get("digest"), content.get("signature")
    if not isinstance(digest, str) or not hmac.compare_digest(digest.encode(), digest_of(bare).encode()):
        return RefusedError(
            "the file was changed after it was written",
            why="its digest is that of another content",
            fix="make it anew, and review that",
        )
    if key and not isinstance(signature, str):
        return RefusedError(
            "the file is not signed",
            why="RECONCILER_PLAN_KEY is set: only files signed with it are taken",
            fix="make it anew with RECONCILER_PLAN_KEY set",
        )
    if signature is not None and not key:
        return RefusedError(
            "the file is signed, and its signature cannot be checked",
            why="RECONCILER_PLAN_KEY is not set",
            fix="set it to the key that the file was signed with",
        )
    if key and not hmac.compare_digest(str(signature).encode(), _signature(digest, key).encode()):
        return RefusedError(
            "the file's signature does not fit",
            why="it was changed, or signed with another key than RECONCILER_PLAN_KEY",
            fix="make it anew, and review that",
        )
    return None


def digest_of(value: Any) -> str:
    """The digest of a JSON value: of what it says, not of how it is written."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _signature(digest: str, key: str) -> str:
    made = hmac.new(key.encode("utf-8", "surrogateescape"), digest.encode(), hashlib.sha256)
    return f"hmac-sha256:{made.hexdigest()}"
