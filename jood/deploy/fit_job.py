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
from jood.detector import streaming
from jood.detector.calibration import CONFIDENCE
from jood.detector.calibration import Calibration
from jood.detector.calibration import images_needed
from jood.detector.calibration import largest_tpr
from jood.report import figures

SUMMARY = "fit.json"


class FitResult(NamedTuple):
    """A fitted and calibrated detector, and what is known of it.

    Attributes:
      detector: The detector, ready to be saved.
      images: How many images of each set ('fit', 'calibrate', 'check') were used.
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
    choice: method_choice.Choice | None = None,
) -> FitResult:
    """Fits a detector, calibrates it on other images and checks its promise.

    Args:
      detector: An unfitted detector with the preprocessing of `splits`, or that of
        `choice`.
      splits: The images.
      tpr: The fraction of ID images to keep, in (0, 1).
      batch_size: Images per step, over all devices.
      workers: Processes that read and decode images; 0 reads with threads.
      choice: The comparison that the method was chosen by, if there was one.

    Raises:
      ValueError: Too few calibration images for `tpr`, or as `Detector.fit`.
    """
    check_enough(splits, tpr)
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
    calibration = Calibration(
        tpr, {name: np.sort(scores) for name, scores in held_out.scores.items()}
    )
    thresholds = calibration.thresholds()
    other = {} if splits.check is None else score(splits.check, "check").scores
    size = splits.preprocessing.fixed_size
    assert size is not None
    shape = (*size, len(splits.preprocessing.mean))
    return FitResult(
        dataclasses.replace(detector, calibration=calibration, image_shape=shape),
        images,
        held_out.accuracy,
        {name: float(np.mean(s < thresholds[name])) for name, s in other.items()},
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
      configuration: How it was made, JSON values.

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


def check_enough(splits: IdSplits, tpr: float) -> None:
    """Raises ValueError before hours of fitting, if calibration is bound to fail."""
    needed, found = images_needed(tpr), len(splits.calibration)
    if found < needed:
        raise ValueError(
            f"tpr={tpr} needs at least {needed} images to calibrate on, there are "
            f"{found}. Give more images, or a tpr of at most {largest_tpr(found):.4f}."
        )
