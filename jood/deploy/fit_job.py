"""Makes a detector from a trained network: fits, calibrates, checks, writes it."""

from collections.abc import Mapping
import dataclasses
import json
import os
from typing import Any, NamedTuple

import numpy as np

from jood._utils import atomic_files
from jood._utils import provenance
from jood.data.device_batches import sharded
from jood.data.id_splits import IdSplits
from jood.deploy import plots
from jood.detector import SINGLE
from jood.detector import Detector
from jood.detector import streaming
from jood.detector.calibration import CONFIDENCE
from jood.detector.calibration import Calibration
from jood.detector.calibration import images_needed
from jood.detector.calibration import largest_tpr
from jood.report import figures

SUMMARY = "fit.json"


class Made(NamedTuple):
    """A fitted and calibrated detector, and what is known of it.

    Attributes:
      detector: ready to be saved.
      images: how many images of each set ('fit', 'calibrate', 'check') were used.
      accuracy: the fraction of calibration images that the network classifies rightly;
        None without labels.
      alarms: the fraction of the images to check that are called OOD, by detector
        name; empty without such images.
      skipped: images that could not be read, and why, by set.
    """

    detector: Detector
    images: dict[str, int]
    accuracy: float | None
    alarms: dict[str, float]
    skipped: dict[str, list[str]]

    def text(self) -> str:
        """Returns what a user should know, a line per detector and more."""
        calibration = self.detector.calibration
        assert calibration is not None
        counts = ", ".join(f"{n:,} to {what}" for what, n in self.images.items() if n)
        lines = [f"images: {counts}"]
        if self.accuracy is not None:
            lines.append(f"accuracy on the calibration images: {self.accuracy:.2%}")
            classes = getattr(self.detector.model, "num_classes", 0)
            if classes > 1 and self.accuracy < min(2 / classes, 0.6):
                lines.append(
                    f"WARNING: guessing would reach {1 / classes:.2%}. Check that the "
                    "preprocessing (--mean, --std), the order of the class names and "
                    "the folders' names are those that the network was trained with."
                )
        thresholds = calibration.thresholds()
        for name, promise in calibration.promises().items():
            lines.append(
                f"{name}: OOD is what scores below {thresholds[name]:.6g}; of new ID "
                f"images at most {promise.expected:.2%} on average, and with "
                f"{CONFIDENCE:.0%} confidence at most {promise.upper:.2%} of them "
                "with this calibration"
            )
            if name in self.alarms:
                lines.append(
                    f"{name}: {self.alarms[name]:.2%} of {self.images['check']:,} "
                    "other ID images are called OOD"
                )
        for what, texts in self.skipped.items():
            lines += [f"could not be read, to {what}: {text}" for text in texts]
        return "\n".join(lines)


def make(
    detector: Detector,
    splits: IdSplits,
    tpr: float,
    *,
    batch_size: int = 128,
    workers: int = 0,
) -> Made:
    """Fits a detector, calibrates it on other images and checks its promise.

    Args:
      detector: unfitted, with the preprocessing of `splits`.
      splits: the images.
      tpr: fraction of ID images to keep, in (0, 1).
      batch_size: images per step, over all devices.
      workers: processes that read and decode images; 0 reads with threads.

    Raises:
      ValueError: too few calibration images for `tpr`, or as `Detector.fit`.
    """
    _check_enough(splits, tpr)
    skipped: dict[str, list[str]] = {}
    images = {"fit": 0, "calibrate": 0, "check": 0}
    if detector.component.passes:
        batches = sharded(splits.fit, batch_size, what="fit", workers=workers)
        detector = detector.fit(batches)
        skipped["fit"] = list(batches.batches.skipped.values())
        images["fit"] = len(splits.fit) - len(skipped["fit"])
    seen = streaming.collect(
        detector, splits.calibration, batch_size, workers=workers, what="calibrate"
    )
    skipped["calibrate"] = seen.skipped
    calibration = Calibration(
        tpr, {name: np.sort(scores) for name, scores in seen.scores.items()}
    )
    thresholds = calibration.thresholds()
    images["calibrate"] = len(next(iter(seen.scores.values())))
    alarms = {}
    if splits.check is not None:
        other = streaming.collect(
            detector, splits.check, batch_size, workers=workers, what="check"
        )
        skipped["check"] = other.skipped
        images["check"] = len(next(iter(other.scores.values())))
        alarms = {
            name: float(np.mean(scores < thresholds[name]))
            for name, scores in other.scores.items()
        }
    size = splits.preprocessing.fixed_size
    assert size is not None
    shape = (*size, len(splits.preprocessing.mean))
    detector = dataclasses.replace(detector, calibration=calibration, image_shape=shape)
    found = {what: texts for what, texts in skipped.items() if texts}
    return Made(detector, images, seen.accuracy, alarms, found)


def write(
    folder: str | os.PathLike[str], made: Made, configuration: Mapping[str, Any]
) -> None:
    """Writes a detector's folder, with what it was made from and a picture.

    Args:
      folder: a new folder, as `Detector.load` reads it; `fit.json` and the histogram
        of the calibration scores, PNG and PDF, lie beside the detector's own files.
      made: the detector.
      configuration: how it was made, JSON values.

    Raises:
      FileExistsError: the folder exists already.
    """
    calibration = made.detector.calibration
    assert calibration is not None
    summary = {
        "configuration": dict(configuration),
        "images": made.images,
        "accuracy": made.accuracy,
        "tpr": calibration.tpr,
        "promises": {k: v._asdict() for k, v in calibration.promises().items()},
        "called_ood_of_check": made.alarms,
        "skipped": made.skipped,
        "versions": provenance.versions(),
    }
    titles = {SINGLE: made.detector.component.spec}
    drawn = plots.histograms(calibration, titles=titles)
    pictures = {"calibration": drawn}
    with atomic_files.atomic_folder(folder) as partial:
        made.detector.save(partial / "saved")
        for file in (partial / "saved").iterdir():
            file.rename(partial / file.name)
        (partial / "saved").rmdir()
        (partial / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        figures.save_pictures(partial, pictures)


def _check_enough(splits: IdSplits, tpr: float) -> None:
    """Raises ValueError before hours of fitting, if calibration is bound to fail."""
    needed, found = images_needed(tpr), len(splits.calibration)
    if found < needed:
        raise ValueError(
            f"tpr={tpr} needs at least {needed} images to calibrate on, there are "
            f"{found}. Give more images, or a tpr of at most {largest_tpr(found):.4f}."
        )
