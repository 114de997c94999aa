"""Keyed fingerprints of values that cannot be read back: does the gateway hold what was sent last?

A seal is an HMAC-SHA256 (RFC 2104) over the resource's name and its write-only values. Without the key
nothing can be learnt from it, not even by guessing values. It stands beside the value on the server; the key
never leaves the machine: RECONCILER_FINGERPRINT_KEY, else a file that the first apply makes for this user.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reconciler.errors import UsageError
from reconciler.schema import spec_fields
from reconciler.values import Resource, Secret

__all__ = ["VARIABLE", "SealKey", "key_file", "load_key"]

VARIABLE: Final = "RECONCILER_FINGERPRINT_KEY"
_SHORTEST: Final = 16  # characters; shorter ones can be guessed
_FILE: Final = "fingerprint.key"


@dataclass(frozen=True, slots=True)
class SealKey:
    """The key, and what it is called: ``source`` for people, never the key."""

    key: Secret
    source: str

    def seal(self, resource: Resource) -> str:
        """``KEYID.MAC`` of a resource's values that cannot be read back; "" when it has none.

        The first part tells which key it was; both together have 31 characters.
        """
        fields = spec_fields(resource.address.kind).properties
        sealed = {name: _plain(value) for name, value in resource.spec.items() if _is_sealed(fields, name)}
        if not sealed:
            return ""
        text = json.dumps([str(resource.address), sealed], sort_keys=True, ensure_ascii=True)
        return f"{self.key_id}.{self._mac(text)}"

    @property
    def key_id(self) -> str:
        """Tells two keys apart, and nothing else of them."""
        return self._mac("key id")[:8]

    def _mac(self, text: str) -> str:
        made = hmac.new(self.key.reveal().encode(), text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made[:16]).decode().rstrip("=")


def _is_sealed(fields: Mapping[str, Any], name: str) -> bool:
    return name in fields and fields[name].sealed


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def key_file() -> Path:
    """Where this user's key stands when the environment holds none."""
    import platformdirs

    return Path(platformdirs.user_config_dir("reconciler")) / _FILE


def load_key(environ: Mapping[str, str], *, make: bool = False) -> SealKey | None:
    """The key of the environment, else this user's own; None when there is none and none is to be made.

    ``make``: make one (an apply does; a plan changes nothing, and without a key there is no seal to compare
    with). Raises UsageError for a key that is too short, or a file that cannot be used.
    """
    if given := environ.get(VARIABLE, "").strip():
        if len(given) < _SHORTEST:
            raise UsageError(
                f"{VARIABLE} is too short",
                why=f"it has fewer than {_SHORTEST} characters, and could be guessed",
                fix='make one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
            )
        return SealKey(Secret(given, f"${{env:{VARIABLE}}}"), VARIABLE)
    path = key_file()
    try:
        if make:
            _make(path)
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"the fingerprint key cannot be used: {why}", where=str(path), fix=f"mend it, or set {VARIABLE}"
        ) from None
    if len(text) < _SHORTEST:
        raise UsageError("this is no fingerprint key", where=str(path), fix="delete it: a new one is made")
    return SealKey(Secret(text), str(path))


def _make(path: Path) -> None:
    """A new key, unless there is one. Complete or not there at all, and for this user only."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):  # another process made one meanwhile: that one counts
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
