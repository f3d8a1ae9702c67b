"""What the demo compares photographs with: scores that are shipped as numbers.

`docs/make_demo_calibration.py` wrote the file beside this module: five detectors as
texts, and their scores of 1,000 ImageNet photographs, from which p-values are made
(`jood.detector.calibration`). The photographs themselves are not shipped.
"""

from collections.abc import Mapping
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from jood._utils import checked_json
from jood.detector.calibration import Calibration

FILE = pathlib.Path(__file__).with_name("calibration.json")
_FORMAT, _VERSION = "jood.DemoCalibration", 1


class Reference(NamedTuple):
    """Detectors, and their scores of ID photographs.

    Attributes:
      detectors: The text of each by name; none learns from data.
      calibration: Their sorted scores, and the TPR to keep.
      weights: SHA-256 of the file of weights that gave the scores.
      brightest: The highest value in the heatmaps of some of the photographs, which
        gets the brightest colour.
      about: Origin of the texts and the scores, JSON values.
    """

    detectors: Mapping[str, str]
    calibration: Calibration
    weights: str
    brightest: float
    about: Mapping[str, Any]


def write(path: str | os.PathLike[str], reference: Reference) -> None:
    """Writes a reference; a line per detector holds its scores, of six digits."""
    calibration = reference.calibration
    content = {
        "weights": reference.weights,
        "brightest": reference.brightest,
        "about": dict(reference.about),
        "tpr": calibration.tpr,
        "detectors": dict(reference.detectors),
        "scores": {
            name: " ".join(f"{score:.6g}" for score in scores)
            for name, scores in calibration.scores.items()
        },
    }
    checked_json.write(pathlib.Path(path), _FORMAT, _VERSION, content)


def read(path: str | os.PathLike[str] = FILE) -> Reference:
    """Reads a reference; ValueError where the file was changed or cut short."""
    content = checked_json.read(pathlib.Path(path), _FORMAT, _VERSION)
    scores = {
        name: np.array(text.split(), np.float32)
        for name, text in content["scores"].items()
    }
    return Reference(
        content["detectors"],
        Calibration(content["tpr"], scores),
        content["weights"],
        content["brightest"],
        content["about"],
    )
