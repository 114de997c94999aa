"""Whatever a client answers can be shown as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.cli.plain import plain
from reconciler.client import PredictionsResponse


class Thing:
    def dict(self) -> dict[str, Any]:
        return {"at": datetime(2026, 1, 2, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, 2.5, None, True, "x"]}, {"a": [1, 2.5, None, True, "x"]}),
        ({1: (2, 3)}, {"1": [2, 3]}),
        ([Thing()], [{"at": "2026-01-02T00:00:00+00:00"}]),
        (float("nan"), "nan"),
        (PredictionsResponse(predictions=[1]), {"predictions": [1]}),
        (b"x", "b'x'"),
    ],
)
def test_as_json(value: Any, shown: Any) -> None:
    assert plain(value) == shown
    json.dumps(plain(value), allow_nan=False)


def test_frames_and_arrays() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    assert plain(numpy.array([[1, 2]])) == [[1, 2]]
    assert plain({"n": numpy.float32(0.5)}) == {"n": 0.5}
    assert plain(pandas.DataFrame({"a": [1, 2]})) == {"a": {"0": 1, "1": 2}}
