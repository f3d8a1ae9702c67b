"""Scores any number of images with a saved detector into a folder of results.

Rows are written in parts as they come, into `FOLDER.partial`, each part complete or
absent. The same job, given again, goes on after the last part. When all images are
scored, the parts become one table in `FOLDER`, which appears complete or not at all.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import pathlib
import shutil
from typing import Any

import tqdm

from jood._utils import arguments
from jood._utils import atomic_files
from jood._utils import provenance
from jood.data.inputs import Inputs
from jood.deploy import drift
from jood.deploy import page as page_lib
from jood.deploy import plots
from jood.deploy import requirements
from jood.deploy import table as table_lib
from jood.deploy.parts import Parts
from jood.detector import SINGLE
from jood.detector import Detector
from jood.detector import streaming
from jood.detector.calibration import Calibration
from jood.report import figures
from jood.report.html import page

TABLE, PARQUET, SUMMARY = "scores.csv", "scores.parquet", "summary.json"


@dataclasses.dataclass(frozen=True)
class Config:
    """How to score.

    Attributes:
      folder: a new folder for the results.
      batch_size: images per step, over all devices.
      workers: processes that read and decode images; 0 reads with threads.
      window: images per window of the timeline.
      alpha: probability that any window is flagged as drift if nothing drifts.
      parquet: whether to write the table as Parquet, too.
      report: whether to write a page that shows the results.
    """

    folder: str
    batch_size: int = 128
    workers: int = 0
    window: int = 500
    alpha: float = 0.01
    parquet: bool = False
    report: bool = False

    def __post_init__(self) -> None:
        """Refuses values of which only the end of the job would know."""
        arguments.check_count("window", self.window)
        arguments.check_fraction("alpha", self.alpha)


@dataclasses.dataclass(frozen=True)
class Results:
    """What was scored.

    Attributes:
      images: number of rows.
      failed: path and reason of what could not be read.
      called_ood: the fraction of the scored images, by detector name.
      drift: windows by detector name; empty if nothing could be scored.
    """

    images: int
    failed: Sequence[tuple[str, str]]
    called_ood: Mapping[str, float]
    drift: Mapping[str, list[drift.Drift]]


def run(
    detector: Detector,
    inputs: Inputs,
    config: Config,
    *,
    identity: str = "",
    configuration: Mapping[str, Any] | None = None,
) -> Results:
    """Scores all images and writes the results.

    Args:
      detector: fitted, calibrated and with a preprocessing.
      inputs: the images.
      config: how and where.
      identity: a text that another detector does not have; the parts of an
        interrupted job are used again for this one only.
      configuration: what to record beside the results, JSON values.

    Returns:
      What was scored. `failed` is not empty if an image could not be read.

    Raises:
      FileExistsError: the folder exists already, or holds the parts of another job.
      ValueError: the detector is not calibrated, or the images do not fit it.
      OSError: the results cannot be written; what was scored before is kept.
    """
    calibration = requirements.check_calibrated(detector)
    calibration.thresholds()
    atomic_files.check_new(config.folder)
    target = pathlib.Path(config.folder).resolve()
    parts = Parts(target, identity, len(inputs.names), config.batch_size)
    parts.open({"images": inputs.fingerprint, "tpr": calibration.tpr})
    try:
        _score(detector, inputs, config, parts, calibration)
    except BaseException:
        if not parts.done():  # nothing is worth keeping
            shutil.rmtree(parts.folder, ignore_errors=True)
        raise
    results = _finish(target, parts, detector, inputs, config, configuration or {})
    shutil.rmtree(parts.folder, ignore_errors=True)
    return results


def _score(
    detector: Detector,
    inputs: Inputs,
    config: Config,
    parts: Parts,
    calibration: Calibration,
) -> None:
    done = parts.done()
    if done == len(inputs.names):
        return
    progress = tqdm.tqdm(
        desc="score", unit="image", total=len(inputs.names), initial=done, disable=None
    )
    waiting: list[list[str]] = []
    first = done
    try:
        with progress:
            for scored in streaming.scored(
                detector,
                inputs.source,
                config.batch_size,
                start=done,
                workers=config.workers,
            ):
                count = len(scored.readable)
                names = inputs.names[scored.first : scored.first + count]
                waiting += table_lib.rows(
                    scored, names, calibration, detector.class_names
                )
                progress.update(count)
                if len(waiting) == parts.size or scored.first + count == parts.images:
                    table_lib.write(parts.path(first), waiting)
                    first, waiting = first + len(waiting), []
    except KeyboardInterrupt:
        if not first:
            raise KeyboardInterrupt("interrupted; nothing is written.") from None
        raise KeyboardInterrupt(
            f"interrupted: {first:,} of {parts.images:,} images are scored and kept in "
            f"{parts.folder}; the same command goes on there."
        ) from None


def _finish(
    target: pathlib.Path,
    parts: Parts,
    detector: Detector,
    inputs: Inputs,
    config: Config,
    configuration: Mapping[str, Any],
) -> Results:
    """Joins the parts, draws the pictures and renames the folder into place."""
    calibration = requirements.check_calibrated(detector)
    spec = detector.component.spec
    # A bundle's detectors have names; a single one is known by its text.
    titles = {} if detector.component.slot == "bundle" else {SINGLE: spec}
    try:
        with atomic_files.atomic_folder(target) as partial:
            table = partial / TABLE
            last = parts.folder / "broken.csv"
            table_lib.write(last, table_lib.broken_rows(inputs.broken, calibration))
            head = table_lib.columns(calibration.scores)
            table_lib.join([*parts.files(), last], table, head)
            if config.parquet:
                table_lib.to_parquet(table, partial / PARQUET)
            results = _results(table, config, calibration, titles, partial)
            summary = {
                "configuration": dict(configuration),
                "spec": spec,
                "network": type(detector.model).__name__,
                "window": config.window,
                "images": results.images,
                "failed": len(results.failed),
                "tpr": calibration.tpr,
                "thresholds": calibration.thresholds(),
                "promises": {k: v._asdict() for k, v in calibration.promises().items()},
                "called_ood": dict(results.called_ood),
                "drift": {
                    name: [window._asdict() for window in windows]
                    for name, windows in results.drift.items()
                },
                "versions": provenance.versions(),
            }
            (partial / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
            if config.report:
                text = page_lib.build(partial, table, inputs, summary, titles)
                (partial / page.FILE).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(
            f"cannot write {target}: {error.strerror or error}. All images are scored "
            f"and kept in {parts.folder}: mend that (free space) and give the same "
            "command again."
        ) from error
    return results


def _results(
    table: pathlib.Path,
    config: Config,
    calibration: Calibration,
    titles: Mapping[str, str],
    folder: pathlib.Path,
) -> Results:
    errors = table_lib.read_column(table, table_lib.ERROR)
    paths = table_lib.read_column(table, table_lib.PATH)
    scores = {
        name: table_lib.as_scores(
            table_lib.read_column(table, table_lib.column(name, "score"))
        )
        for name in calibration.scores
    }
    scores = {name: values for name, values in scores.items() if values.size}
    thresholds = calibration.thresholds()
    windows = {
        name: drift.timeline(
            values,
            calibration.scores[name],
            thresholds[name],
            config.window,
            config.alpha,
        )
        for name, values in scores.items()
    }
    if scores:
        pictures = {
            "histograms": plots.histograms(calibration, scores, titles),
            "timeline": plots.timelines(windows, calibration, titles, config.window),
        }
        figures.save_pictures(folder, pictures)
    return Results(
        images=len(paths),
        failed=[(p, e) for p, e in zip(paths, errors, strict=True) if e],
        called_ood={
            name: float((values < thresholds[name]).mean())
            for name, values in scores.items()
        },
        drift=windows,
    )
