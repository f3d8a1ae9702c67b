"""From held-out ID images to a calibration: one threshold for all, or one per class."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from jood.core import component as component_lib
from jood.core.batch import Batch
from jood.core.component import NotFittedError
from jood.detector import streaming
from jood.detector.calibration import Calibration
from jood.detector.calibration import calibrated
from jood.detector.calibration import images_needed
from jood.detector.class_calibration import AnyCalibration
from jood.detector.class_calibration import ClassCalibration

Thresholds = Literal["one", "per_class"]


def of_batches(
    run: Callable[[Batch], Any],
    batches: Iterable[Batch],
    tpr: float,
    spec: str,
    **options: Any,
) -> tuple[AnyCalibration, tuple[int, ...]]:
    """Scores held-out ID images and calibrates on them; see `Detector.calibrate`.

    Args:
      run: a batch -> its scores by detector name, and predictions.
      batches: the images.
      tpr: fraction of ID images to keep, in (0, 1).
      spec: the detector's text, for messages.
      **options: as for `of_scores`.

    Returns:
      The calibration, and the (H, W, C) of the images.
    """
    check(tpr, options["thresholds"], options["num_classes"])
    shapes = []

    def watched(batch: Batch) -> Any:
        shapes.append(batch.image.shape[1:])
        return run(batch)

    whole = streaming.concatenated(watched, batches)
    if not shapes:
        raise component_lib.empty_data_set("calibrate")
    calibration = of_scores(whole.scores, whole.prediction, tpr, spec, **options)
    return calibration, shapes[0]


def of_scores(
    scores: Mapping[str, np.ndarray],
    prediction: np.ndarray,
    tpr: float,
    spec: str,
    *,
    thresholds: Thresholds = "one",
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> AnyCalibration:
    """Returns the calibration of held-out ID scores; see `Detector.calibrate`.

    Args:
      scores: floating [N] by detector name.
      prediction: int [N], the class that the network predicts.
      tpr: fraction of ID images to keep, in (0, 1).
      spec: the detector's text, for messages.
      thresholds: 'one' for all images, or 'per_class'.
      num_classes: K; None of a network without a classifier.
      class_names: names of the classes, for messages.

    Raises:
      ValueError: see `ClassCalibration.thresholds` and `check`.
    """
    check(tpr, thresholds, num_classes)
    if thresholds == "one":
        return calibrated(scores, tpr, spec)
    assert num_classes is not None  # just checked
    order = [np.flatnonzero(prediction == k) for k in range(num_classes)]
    result = ClassCalibration(
        tuple(
            Calibration(tpr, {name: np.sort(s[rows]) for name, s in scores.items()})
            for rows in order
        )
    )
    result.check(class_names)
    calibrated(scores, tpr, spec)  # warns of constant scores, refuses NaNs
    return result


def required(calibration: AnyCalibration | None) -> AnyCalibration:
    """Returns a detector's calibration; raises NotFittedError if it has none."""
    if calibration is None:
        raise NotFittedError(
            "the detector has no threshold yet: call "
            "detector = detector.calibrate(id_batches, tpr=0.95) first."
        )
    return calibration


def check(tpr: float, thresholds: str, num_classes: int | None) -> None:
    """Raises ValueError unless a network of K classes can have such thresholds.

    To be called before images are scored, which takes a while.
    """
    images_needed(tpr)
    if thresholds not in get_args(Thresholds):
        raise ValueError(
            f"thresholds must be one of {', '.join(get_args(Thresholds))}, got "
            f"{thresholds=}."
        )
    if thresholds == "per_class" and num_classes is None:
        raise ValueError(
            "thresholds='per_class' splits images by the class that the network "
            "answers, but this one has no classifier: use thresholds='one'."
        )
