"""Calibration per class: the promise holds in each class that the network predicts.

One threshold for all images keeps its promise on average over them. An ID class that
the network finds hard may then raise far more false alarms than an easy one. Here the
held-out images are split by the class that the network predicts, and each part is a
calibration of its own (a Mondrian taxonomy):

    p = (1 + #{calibration scores of class k that are <= S}) / (1 + n_k),

k the class that the network predicts for the new image. Of the ID images that are
predicted as k, at most a share α = 1 - tpr is called OOD, for every k. The prediction
is known for each image, so neither calibration nor new images need labels. The price:
each class needs as many calibration images as one threshold needs in total.

References:
  Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, Sec. 4.5
  (Mondrian conformal predictors).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jood.detector.calibration import CONFIDENCE
from jood.detector.calibration import Calibration
from jood.detector.calibration import Promise
from jood.detector.calibration import images_needed
from jood.detector.calibration import largest_tpr

_NAMED = 5  # classes that a message lists


class ClassCalibration(NamedTuple):
    """A calibration per class that the network predicts.

    Attributes:
      classes: K calibrations with the same TPR and detectors; the one at k holds the
        scores of the images that the network calls k.
    """

    classes: tuple[Calibration, ...]

    @property
    def tpr(self) -> float:
        """The fraction of ID images to keep in each class."""
        return self.classes[0].tpr

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """The scores of all classes together, sorted, floating [N] by name."""
        return {
            name: np.sort(np.concatenate([one.scores[name] for one in self.classes]))
            for name in self.classes[0].scores
        }

    def least_p_value(self) -> float:
        """Returns 1 / (n + 1) of the largest class, below which no p-value is."""
        return min(one.least_p_value() for one in self.classes)

    def keeping(self, tpr: float) -> "ClassCalibration":
        """Returns the calibration with another TPR."""
        return ClassCalibration(tuple(one.keeping(tpr) for one in self.classes))

    def thresholds(self) -> dict[str, np.ndarray]:
        """Returns γ of each class by name, float64 [K]; see `Calibration.thresholds`.

        Raises:
          ValueError: tpr is not a fraction in (0, 1), classes have too few images for
            it (the message lists them all), or a score is NaN.
        """
        self.check()
        each = [one.thresholds() for one in self.classes]
        return {name: np.array([one[name] for one in each]) for name in each[0]}

    def promises(self) -> dict[str, Promise]:
        """Returns what holds in every class, by name; raises as `thresholds`.

        `expected` is that of the class where it is largest. With confidence
        `CONFIDENCE`, `upper` holds in all classes at once (Bonferroni over them).
        """
        self.check()
        confidence = 1 - (1 - CONFIDENCE) / len(self.classes)
        each = [one.promises(confidence) for one in self.classes]
        return {
            name: Promise(
                sum(one[name].images for one in each),
                max(one[name].expected for one in each),
                max(one[name].upper for one in each),
            )
            for name in each[0]
        }

    def p_values(
        self, scores: Mapping[str, np.ndarray], prediction: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Returns p-values by name, float64 [B]; prediction: int [B], the classes."""
        filled = {name: np.empty(len(prediction)) for name in scores}
        for k in np.unique(prediction):
            rows = prediction == k
            own = {name: values[rows] for name, values in scores.items()}
            for name, part in self.classes[k].p_values(own).items():
                filled[name][rows] = part
        return filled

    def thresholds_of(self, prediction: np.ndarray) -> dict[str, np.ndarray]:
        """Returns γ of the class that each image is called, float64 [B] by name."""
        return {name: each[prediction] for name, each in self.thresholds().items()}

    def check(self, names: Sequence[str] | None = None) -> None:
        """Raises ValueError if a class has too few images; names are the classes'."""
        needed = images_needed(self.tpr)
        counts = [one.images() for one in self.classes]
        few = {k: n for k, n in enumerate(counts) if n < needed}
        if not few:
            return
        shown = [f"{names[k] if names else k} ({n:,})" for k, n in few.items()]
        more = ", ..." if len(few) > _NAMED else ""
        least = min(counts)
        lower = f", ask for a tpr of at most {largest_tpr(least):.4f}" if least else ""
        raise ValueError(
            f"tpr={self.tpr} per class needs at least {needed} held-out ID images that "
            f"the network assigns to each class, but {len(few)} of {len(counts)} "
            f"classes have fewer: {', '.join(shown[:_NAMED])}{more}. Calibrate on more "
            f"images{lower}, or use one threshold for all classes."
        )


AnyCalibration = Calibration | ClassCalibration
