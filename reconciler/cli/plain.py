"""What a client answered, in JSON's own types: plugins answer with times, arrays and objects of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: objects with ``dict()``, frames and arrays by their content, times as
    RFC 3339, what has no other form as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if callable(as_dict := getattr(value, "dict", None)):
        return plain(as_dict())
    if callable(as_json := getattr(value, "to_json", None)):  # frames and series of pandas
        return json.loads(as_json())
    if callable(as_list := getattr(value, "tolist", None)):  # arrays and numbers of numpy
        return plain(as_list())
    if callable(as_time := getattr(value, "isoformat", None)):
        return as_time()
    return str(value)
