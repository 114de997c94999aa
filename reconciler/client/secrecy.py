"""What of a request and of its answer must never be shown, taken out of both."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote_plus

import requests

from reconciler.values import MASK

__all__ = ["cleared", "masked", "scrub", "secrets_in_header"]

_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "api-key"})


def scrub(request: Any) -> None:
    """Take credentials and the body out of a request that an exception or a response still holds."""
    for name in request.headers or ():
        if name.lower() in _CREDENTIAL_HEADERS:
            request.headers[name] = MASK
    request.body = None


def secrets_in_header(value: str) -> set[str]:
    """What must never be shown of a credential header: its last word, for Basic the password too."""
    scheme, _, rest = value.strip().partition(" ")
    found = {rest or scheme}
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            found.add(base64.b64decode(rest).decode().partition(":")[2])
    return found


def cleared(response: requests.Response, content: bytes, secrets: Iterable[str]) -> bytes:
    """Mask the secrets in an answer's headers (in place) and body."""
    for name, value in response.headers.items():
        shown = masked(value.encode("utf-8", "replace"), secrets).decode("utf-8", "replace")
        if shown != value:
            response.headers[name] = shown
    return masked(content, secrets)


def masked(content: bytes, secrets: Iterable[str]) -> bytes:
    """``content`` without these secrets."""
    # A server may echo what it refuses, as it came or in the spelling of its own format.
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) < 4:  # masking "a" would tell more than it hides
            continue
        for form in {secret, json.dumps(secret)[1:-1], quote_plus(secret), escape(secret)}:
            content = content.replace(form.encode("utf-8", "replace"), MASK.encode())
    return content
