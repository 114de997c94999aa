"""URLs of targets, and names inside their paths."""

from __future__ import annotations

from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit

import requests

from reconciler import errors
from reconciler.client.answers import clean

__all__ = ["checked", "quote"]


def quote(name: str) -> str:
    """A name as one path segment: everything but letters, digits and ``_.-~`` is encoded, ``/`` too.

    Raises UsageError for a name that cannot be a segment (empty, ``.``, ``..``): such a path would mean
    something else, the list instead of one endpoint.
    """
    if not isinstance(name, str) or name in {"", ".", ".."}:
        raise errors.UsageError(f"{name!r} is not a name")
    return percent_encode(name, safe="")


def checked(base_url: str) -> str:
    """An http or https URL without user, query and final slash. Raises UsageError."""
    try:
        parts = urlsplit(base_url.strip())
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise errors.UsageError(f"{clean(base_url, 200)!r} is not an http or https URL")
    if parts.username is not None or parts.query or parts.fragment:
        raise errors.UsageError(
            f"the URL of {parts.hostname} may hold no user, query or fragment",
            fix="leave that out; user and password, or a token, are taken from the environment",
        )
    try:
        return str(requests.Request("GET", base_url.strip()).prepare().url).rstrip("/")
    except (requests.RequestException, ValueError):
        raise errors.UsageError(f"{clean(base_url, 200)!r} is not a URL") from None
