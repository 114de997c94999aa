"""PredictionsResponse: what it reads and writes, and what it says without pandas or numpy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler import errors
from reconciler.client import PredictionsResponse

SHAPES: list[tuple[Any, list[dict[str, Any]]]] = [
    ([1, 2], [{0: 1}, {0: 2}]),
    ([[1, 2], [3, 4]], [{0: 1, 1: 2}, {0: 3, 1: 4}]),
    ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
    ({"a": [1, 2]}, [{"a": 1}, {"a": 2}]),
    ({"a": 1, "b": "xy"}, [{"a": 1, "b": "xy"}]),
    ("one text", [{0: "one text"}]),
]


@pytest.mark.parametrize(("predictions", "rows"), SHAPES)
def test_frames(predictions: Any, rows: list[dict[str, Any]]) -> None:
    pytest.importorskip("pandas")
    response = PredictionsResponse({"predictions": predictions})
    assert response.get_predictions().to_dict("records") == rows


def test_arrays() -> None:
    pytest.importorskip("numpy")
    found = PredictionsResponse({"predictions": [1, 2]}).get_predictions("ndarray", "float32")
    assert (found.dtype.name, found.tolist()) == ("float32", [1.0, 2.0])


def test_an_unknown_format() -> None:
    with pytest.raises(errors.UsageError, match="'csv' is not a format"):
        PredictionsResponse({"predictions": []}).get_predictions("csv")


@pytest.mark.parametrize(("form", "package"), [("dataframe", "pandas"), ("ndarray", "numpy")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, form: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(errors.UsageError, match=f"need {package}") as caught:
        PredictionsResponse({"predictions": [1]}).get_predictions(form)
    assert f"pip install {package}" in caught.value.fix


def test_reading_and_writing_needs_neither() -> None:
    code = (
        "import sys; from reconciler.client import PredictionsResponse as P;"
        'r = P.from_json(\'{"predictions": [1], "more": 2}\'); assert P.from_json(r.to_json()) == r;'
        "assert not {'pandas', 'numpy', 'requests', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_to_a_file(tmp_path: Path) -> None:
    response = PredictionsResponse({"predictions": ["ü"]})
    assert response.to_json(tmp_path / "p.json") is None
    assert PredictionsResponse.from_json((tmp_path / "p.json").read_bytes()) == response


class Mine(PredictionsResponse):
    """A subclass stays one."""


def test_a_subclass_reads_itself() -> None:
    assert type(Mine.from_json('{"predictions": 1}')) is Mine


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON list"),
        ("null", "a JSON NoneType"),
        ('{"a": 1}', "no 'predictions'"),
    ],
)
def test_what_is_no_answer(text: str, what: str) -> None:
    with pytest.raises(errors.BadAnswer, match=what):
        PredictionsResponse.from_json(text)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(errors.BadAnswer, match="not JSON"):
        PredictionsResponse.from_json("[" * 100_000)
