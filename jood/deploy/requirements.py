"""Whether a saved detector is ready to score files, and with which images.

A detector made in Python may lack a calibration or a preprocessing; launch/fit.py
gives it both.
"""

import dataclasses

from jood.core.preprocessing import Preprocessing
from jood.data import id_splits
from jood.detector import Detector
from jood.detector.class_calibration import AnyCalibration


def check_calibrated(detector: Detector) -> AnyCalibration:
    """Returns the calibration; raises ValueError if a detector has none."""
    if detector.calibration is None:
        raise ValueError(
            "the detector is not calibrated, so it has no threshold: make one with "
            "jood fit, or detector.calibrate(id_batches).save(folder) in Python."
        )
    return detector.calibration


def with_tpr(detector: Detector, tpr: float) -> Detector:
    """Returns a detector that keeps another share of ID images.

    Raises:
      ValueError: It is not calibrated, or on too few images for that.
    """
    calibration = check_calibrated(detector).keeping(tpr)
    calibration.thresholds()
    return dataclasses.replace(detector, calibration=calibration)


def preprocessing_of(detector: Detector) -> Preprocessing:
    """Returns the preprocessing that brings images to what a detector was made for.

    Raises:
      ValueError: It has none, or one whose images have another size than those that the
        detector was fitted or calibrated on.
    """
    preprocessing, shape = detector.preprocessing, detector.image_shape
    if preprocessing is None:
        raise ValueError(
            "the detector has no preprocessing, so it takes arrays that are normalised "
            "already; files cannot be scored with it. Give it one, "
            "jood.Detector(..., preprocessing=...), or use jood fit."
        )
    if shape is None:
        return preprocessing
    if (
        preprocessing.resize is None
        and preprocessing.crop is None
        and shape[0] == shape[1]
    ):
        return id_splits.sized(preprocessing, shape[0])
    if preprocessing.fixed_size not in (None, tuple(shape[:2])):
        raise ValueError(
            f"the detector was made with images of {tuple(shape[:2])} pixels, but its "
            f"preprocessing makes {preprocessing.fixed_size}: make it again, with one "
            "preprocessing for all."
        )
    return preprocessing
