"""A calibration as JSON and arrays, and back; and what a forged one may not say.

    {"tpr": 0.95, "images": {"score": 40}, "thresholds": {"score": 3.2}, ...}

With thresholds per class, "images" and "thresholds" hold a list with an entry per
class, and a detector's array holds the scores of class 0, then those of class 1, ...
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jood.detector.calibration import Calibration
from jood.detector.class_calibration import AnyCalibration
from jood.detector.class_calibration import ClassCalibration


def arrays(calibration: AnyCalibration) -> dict[str, np.ndarray]:
    """Returns the arrays to store, floating [N], by their names in the file."""
    if isinstance(calibration, Calibration):
        return {f"calibration/{name}": s for name, s in calibration.scores.items()}
    return {
        f"calibration/{name}": np.concatenate(
            [one.scores[name] for one in calibration.classes]
        )
        for name in calibration.classes[0].scores
    }


def counts(calibration: AnyCalibration) -> int | list[int]:
    """Returns the number of images; with thresholds per class, of each class."""
    if isinstance(calibration, Calibration):
        return calibration.images()
    return [one.images() for one in calibration.classes]


def thresholds(calibration: AnyCalibration) -> dict[str, float | list[float]]:
    """Returns γ, or that of each class, by detector name: JSON values."""
    return {k: np.asarray(v).tolist() for k, v in calibration.thresholds().items()}


def described(calibration: AnyCalibration) -> dict[str, Any]:
    """Returns what a detector's description says of its calibration, JSON values."""
    return {
        "tpr": calibration.tpr,
        "thresholds": thresholds(calibration),
        "images": dict.fromkeys(calibration.scores, counts(calibration)),
        "promises": {k: v._asdict() for k, v in calibration.promises().items()},
    }


def read(
    given: Mapping[str, Any] | None, stored: Mapping[str, np.ndarray]
) -> AnyCalibration | None:
    """Returns the calibration that a checked description and its arrays hold."""
    if given is None:
        return None
    scores = {name: stored[f"calibration/{name}"] for name in given["images"]}
    counts = next(iter(given["images"].values()), 0)
    if not isinstance(counts, list):
        return Calibration(given["tpr"], scores)
    ends = np.cumsum(counts)[:-1]
    parts = {name: np.split(values, ends) for name, values in scores.items()}
    classes = range(len(counts))
    return ClassCalibration(
        tuple(
            Calibration(given["tpr"], {name: own[k] for name, own in parts.items()})
            for k in classes
        )
    )


def problems(
    given: Mapping[str, Any], stored: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Yields what is wrong with a description of the right types, and its arrays."""
    fine = True
    for name, count in given["images"].items():
        scores, total = stored[f"calibration/{name}"], int(np.sum(count))
        if scores.dtype != np.float32 or scores.shape != (total,):
            yield (
                f"calibration/{name} must be float32 ({total},), got {scores.dtype} "
                f"{scores.shape}"
            )
            fine = False
    if not fine:
        return
    if len({str(count) for count in given["images"].values()}) > 1:
        yield "the detectors of its calibration had different images"
        return
    calibration = read(given, stored)
    assert calibration is not None
    parts = [calibration] if isinstance(calibration, Calibration) else calibration[0]
    for name in given["images"]:
        if any((np.diff(one.scores[name]) < 0).any() for one in parts):
            yield f"calibration/{name} must be sorted"
            return
    try:
        expected = thresholds(calibration)
    except ValueError as error:
        yield str(error).removesuffix(".")
        return
    for name, own in expected.items():
        if (threshold := given["thresholds"].get(name)) != own:
            yield (
                f"the threshold of {name} must be {short(own)} by its scores and tpr, "
                f"got {short(threshold)}"
            )


def short(value: Any) -> str:
    """Returns a value's text, cut if it is long."""
    try:
        text = repr(value)
    except RecursionError:
        text = "something nested too deeply"
    return text if len(text) < 60 else f"{text[:56]}..."
