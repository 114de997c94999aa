"""The answer of a model server, with its predictions as a DataFrame or an array.

pandas and numpy are imported when they are asked for, not before: whoever reads JSON needs neither.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from reconciler.errors import BadAnswer, UsageError

__all__ = ["PredictionsResponse"]


class PredictionsResponse(dict[str, Any]):
    """What ``/invocations`` of an MLflow model server answers: a dict with the key ``predictions``.

    >>> PredictionsResponse.from_json('{"predictions": [1, 2]}')["predictions"]
    [1, 2]
    """

    def get_predictions(self, predictions_format: str = "dataframe", dtype: Any = None) -> Any:
        """The predictions as ``"dataframe"`` (pandas) or ``"ndarray"`` (numpy, of ``dtype``).

        One text, and a dict without lists, become a frame of one row. Raises UsageError for another format
        and when the package is not installed; what pandas and numpy raise for predictions without a shape.
        """
        if predictions_format == "ndarray":
            return _imported("numpy").array(self["predictions"], dtype)
        if predictions_format != "dataframe":
            raise UsageError(
                f"{predictions_format!r} is not a format of predictions", fix="give 'dataframe' or 'ndarray'"
            )
        frame = _imported("pandas").DataFrame
        predictions = self["predictions"]
        if isinstance(predictions, str):
            return frame(data=[predictions])
        if isinstance(predictions, dict) and not any(_is_column(value) for value in predictions.values()):
            return frame(data=predictions, index=[0])
        return frame(data=predictions)

    def to_json(self, path: str | Path | None = None) -> str | None:
        """The answer as JSON; with ``path`` it is written to that file, and None is returned."""
        text = json.dumps(dict(self))
        if path is None:
            return text
        Path(path).write_text(text, encoding="utf-8")
        return None

    @classmethod
    def from_json(cls, json_str: str | bytes) -> PredictionsResponse:
        """Read an answer. Raises BadAnswer when it is not JSON or has no ``predictions``."""
        try:
            answer = json.loads(json_str)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadAnswer("the predictions are not JSON", why=str(error)) from None
        if not isinstance(answer, dict):
            raise BadAnswer(f"the predictions are a JSON {type(answer).__name__}, not an object")
        if "predictions" not in answer:
            raise BadAnswer(
                "the answer has no 'predictions'", why=f"its keys: {', '.join(list(answer)[:20]) or 'none'}"
            )
        return cls(answer)


def _is_column(value: Any) -> bool:
    # JSON has no other; a caller's own arrays count when they have one dimension (pandas, DataFrame).
    if isinstance(value, str | bytes | type) or not hasattr(value, "__iter__"):
        return False
    return bool(getattr(value, "ndim", 1) == 1)


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"these predictions need {package}, which cannot be imported",
            why=str(error),
            fix=f"pip install {package}, or read the key 'predictions'",
        ) from error
