"""Values that are never shown, and what may be known of them."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import NoReturn

__all__ = [
    "MASK",
    "Masked",
    "Origin",
    "Sealed",
    "Secret",
]

MASK = "***"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the whole of a secret comes from: ``scheme`` env, file or cmd, ``argument`` the variable's name,
    the absolute path or the command. ``is_exact``: the value is what stands there, to the last line end.
    """

    scheme: str
    argument: str
    is_exact: bool = True


class Secret:
    """A resolved secret value. Shows as a mask wherever it is printed; only the HTTP layer reveals it.

    ``reference`` is the text that stood in the manifest (``${env:OPENAI_API_KEY}``): it may be shown.
    ``origin``: the same for a target that looks the value up itself, None when it was put together.
    Equal when the values are. Pickling and copying to JSON through ``str`` give the mask.
    """

    __slots__ = ("_value", "origin", "reference")

    def __init__(self, value: str, reference: str = MASK, origin: Origin | None = None) -> None:
        self._value = value
        self.reference = reference
        self.origin = origin

    def reveal(self) -> str:
        """The value itself. Ask for it only where it is sent."""
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({self.reference})"

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            return self._value == other._value
        return NotImplemented

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled: keep its reference and resolve it again")


class Masked:
    """A value of which only a salted digest is known (a saved snapshot): it can be compared, not shown."""

    __slots__ = ("digest", "salt")

    def __init__(self, digest: str, salt: str) -> None:
        self.digest = digest
        self.salt = salt

    @classmethod
    def of(cls, value: str, salt: str) -> Masked:
        """The digest of a value: PBKDF2, slow on purpose, so that a guess costs as much as a comparison."""
        return cls(_slow_digest(value, salt), salt)

    def matches(self, value: str) -> bool:
        """Whether this is the digest of that value."""
        return _slow_digest(value, self.salt) == self.digest

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Masked):
            return (self.digest, self.salt) == (other.digest, other.salt)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.digest, self.salt))

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__


@functools.lru_cache(maxsize=4096)
def _slow_digest(value: str, salt: str) -> str:
    # A file, or a server, may hold text that is no UTF-8.
    texts = [text.encode("utf-8", "surrogatepass") for text in (value, salt)]
    return hashlib.pbkdf2_hmac("sha256", texts[0], texts[1], 10_000).hex()


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is known of a live value that cannot be read back: "same" as desired, "changed" or "unknown".

    ``why``: a sentence for people.
    """

    verdict: str
    why: str = ""
