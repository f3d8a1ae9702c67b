"""What a detector says about images in one pass: `Answer`.

`Detector.export` copies this module into its file.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Answer(NamedTuple):
    """What one pass says about each of B images.

    For a bundle of detectors score, is_ood and p_value are dicts of arrays by name.

    Attributes:
      score: float32 [B], higher = more in-distribution.
      is_ood: bool [B], score < γ; None without a calibration.
      p_value: float64 [B], conformal; None without a calibration.
      prediction: int32 [B], the class that the network predicts.
      class_name: text [B], the name of that class; None if classes have no names.
      error: text [B], why an image could not be read, else ''; None where such an
        image raises an error instead. Its score and p-value are NaN, is_ood is True,
        its prediction -1 and its class_name ''.
    """

    score: Any
    is_ood: Any
    p_value: Any
    prediction: np.ndarray
    class_name: np.ndarray | None
    error: np.ndarray | None = None


def of_columns(
    columns: Mapping[str, np.ndarray], names: Sequence[str] | None
) -> Answer:
    """Returns columns ('score' or 'score_NAME', ...) as an answer."""

    def part(kind: str) -> Any:
        if kind in columns:
            return columns[kind]
        prefix = f"{kind}_"
        own = {n: v for n, v in columns.items() if n.startswith(prefix)}
        return {n.removeprefix(prefix): v for n, v in own.items()} or None

    numbers = columns["prediction"]
    named = None
    if names:
        known = dict(enumerate(names))
        named = np.array([known.get(int(i), "") for i in numbers], object)
    return Answer(
        part("score"),
        part("is_ood"),
        part("p_value"),
        numbers,
        named,
        columns.get("error"),
    )
