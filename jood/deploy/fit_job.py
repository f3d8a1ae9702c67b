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
from jood.data.sources import Source
from jood.deploy import method_choice
from jood.deploy import plots
from jood.detector import SINGLE
from jood.detector import Detector
from jood.detector import calibrating
from jood.detector import streaming
from jood.detector.calibrating import Thresholds
from jood.detector.calibration import CONFIDENCE
from jood.detector.calibration import images_needed
from jood.detector.calibration import largest_tpr
from jood.detector.class_calibration import ClassCalibration
from jood.report import figures

SUMMARY = "fit.json"


class FitResult(NamedTuple):
    """A fitted and calibrated detector, and what is known about it.

    Attributes:
      detector: The detector, ready to be saved.
      images: Number of images used of each set ('fit', 'calibrate', 'check').
      accuracy: The fraction of calibration images that the network classifies
        correctly; None without labels.
      alarms: The fraction of the images to check that are called OOD, by detector
        name; empty without such images.
      skipped: Images that could not be read, and why, by set.
      choice: The comparison that the method was chosen by; None without.
    """

    detector: Detector
    images: dict[str, int]
    accuracy: float | None
    alarms: dict[str, float]
    skipped: dict[str, list[str]]
    choice: method_choice.Choice | None = None

    def text(self) -> str:
        """Returns what a user should know, a line per detector and more."""
        calibration = self.detector.calibration
        assert calibration is not None
        counts = ", ".join(f"{n:,} to {what}" for what, n in self.images.items() if n)
        lines = [] if self.choice is None else [self.choice.text()]
        lines.append(f"images: {counts}")
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
        within = ""
        if isinstance(calibration, ClassCalibration):
            within = " that the network calls any one class"
        for name, promise in calibration.promises().items():
            own = plots.outermost(thresholds[name])
            below = " to ".join(f"{line:.6g}" for line in own)
            lines.append(
                f"{name}: OOD is what scores below {below}"
                f"{', by class' if within else ''}; of new ID images{within} "
                f"at most {promise.expected:.2%} on average, and with "
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
    thresholds: Thresholds = "one",
    batch_size: int = 128,
    workers: int = 0,
    choice: method_choice.Choice | None = None,
) -> FitResult:
    """Fits a detector, calibrates it on other images and checks its promise.

    Args:
      detector: An unfitted detector with the preprocessing of `splits`, or that of
        `choice`.
      splits: The images.
      tpr: The fraction of ID images to keep, in (0, 1).
      thresholds: 'one' for all images, or 'per_class'; see `Detector.calibrate`.
      batch_size: Images per step, over all devices.
      workers: Processes that read and decode images; 0 reads with threads.
      choice: The comparison that the method was chosen by, if there was one.

    Raises:
      ValueError: Too few calibration images for `tpr`, or as `Detector.fit`.
    """
    num_classes = detector.backbone.num_classes(detector.variables)
    calibrating.check(tpr, thresholds, num_classes)
    check_enough(splits, tpr, parts(thresholds, num_classes))
    images = {"fit": 0, "calibrate": 0, "check": 0}
    skipped: dict[str, list[str]] = {}
    if choice is not None:
        images |= {"fit": choice.fitted, "compare": choice.compared}
        skipped = dict(choice.skipped)
    elif detector.component.passes:
        batches = sharded(splits.fit, batch_size, what="fit", workers=workers)
        detector = detector.fit(batches)
        skipped["fit"] = list(batches.batches.skipped.values())
        images["fit"] = len(splits.fit) - len(skipped["fit"])

    def score(source: Source, what: str) -> streaming.Summary:
        whole = streaming.collect(
            detector, source, batch_size, workers=workers, what=what
        )
        skipped[what] = whole.skipped
        images[what] = len(next(iter(whole.scores.values())))
        return whole

    held_out = score(splits.calibration, "calibrate")
    calibration = calibrating.of_scores(
        held_out.scores,
        held_out.prediction,
        tpr,
        detector.component.spec,
        thresholds=thresholds,
        num_classes=num_classes,
        class_names=detector.class_names,
    )
    alarms = {}
    if splits.check is not None:
        other = score(splits.check, "check")
        own = calibration.thresholds_of(other.prediction)
        alarms = {n: float(np.mean(s < own[n])) for n, s in other.scores.items()}
    size = splits.preprocessing.fixed_size
    assert size is not None
    shape = (*size, len(splits.preprocessing.mean))
    return FitResult(
        dataclasses.replace(detector, calibration=calibration, image_shape=shape),
        images,
        held_out.accuracy,
        alarms,
        {what: texts for what, texts in skipped.items() if texts},
        choice,
    )


def write(
    folder: str | os.PathLike[str], result: FitResult, configuration: Mapping[str, Any]
) -> None:
    """Writes a detector's folder, with what it was made from and a picture.

    Args:
      folder: A new folder, as `Detector.load` reads it; `fit.json` and the histogram
        of the calibration scores, PNG and PDF, lie beside the detector's own files.
      result: The detector.
      configuration: Settings that it was made with, JSON values.

    Raises:
      FileExistsError: The folder exists already.
    """
    detector, calibration = result.detector, result.detector.calibration
    assert calibration is not None
    summary = {
        "configuration": dict(configuration),
        "choice": result.choice and result.choice.as_json(),
        "images": result.images,
        "accuracy": result.accuracy,
        "tpr": calibration.tpr,
        "promises": {k: v._asdict() for k, v in calibration.promises().items()},
        "called_ood_of_check": result.alarms,
        "skipped": result.skipped,
        "versions": provenance.versions(),
    }
    drawn = plots.histograms(calibration, titles={SINGLE: detector.component.spec})
    with atomic_files.atomic_folder(folder) as partial:
        detector.save(partial / "saved")
        for file in (partial / "saved").iterdir():
            file.rename(partial / file.name)
        (partial / "saved").rmdir()
        (partial / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        figures.save_pictures(partial, {"calibration": drawn})


def parts(thresholds: Thresholds, num_classes: int | None) -> int:
    """Returns how many calibrations the images are split into."""
    return num_classes or 1 if thresholds == "per_class" else 1


def check_enough(splits: IdSplits, tpr: float, parts: int = 1) -> None:
    """Raises ValueError, before hours of fitting, if calibration is certain to fail."""
    needed, images = parts * images_needed(tpr), len(splits.calibration)
    if images < needed:
        each = f", {needed // parts} for each of {parts} classes" if parts > 1 else ""
        raise ValueError(
            f"tpr={tpr} needs at least {needed} images to calibrate on{each}, there "
            f"are {images}. Give more images, or a tpr of at most "
            f"{largest_tpr(images // parts):.4f}."
        )
