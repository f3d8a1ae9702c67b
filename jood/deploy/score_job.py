"""Scores any number of images with a saved detector into a folder of results.

Scores are written shard by shard, as they come, into `FOLDER.partial`. The same job,
given again, resumes after the last shard. When all images are scored, the shards become
one table in `FOLDER`, which appears complete or not at all.
"""

from collections.abc import Mapping
import dataclasses
import json
import logging
import pathlib
import shutil
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet

from jood import models
from jood._utils import arguments
from jood._utils import atomic_files
from jood._utils import provenance
from jood.data.inputs import Inputs
from jood.deploy import drift
from jood.deploy import finished_scores
from jood.deploy import page as page_lib
from jood.deploy import plots
from jood.deploy import q_values
from jood.deploy import requirements
from jood.deploy import shards
from jood.deploy import table
from jood.detector import SINGLE
from jood.detector import Detector
from jood.detector import false_discoveries
from jood.detector import stored_calibration
from jood.detector import streaming
from jood.detector.class_calibration import AnyCalibration
from jood.report import figures
from jood.report.html import page

_LOGGER = logging.getLogger(__name__)
PARQUET = "scores.parquet"
SHARD_BATCHES = 16  # batches of a shard: what an interruption costs at most


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """How to score.

    Attributes:
      folder: A new folder for the results.
      batch_size: Images per step, over all devices.
      workers: Processes that read and decode images; 0 reads with threads.
      window: Images per window of the timeline.
      alpha: Probability that any window is flagged as drift if nothing drifts.
      parquet: Whether to write the table as Parquet, too.
      report: Whether to write a page that shows the results.
      fdr: Share of ID images that the images called OOD may have, judged all together;
        the table then has q-values. None judges each image by itself alone.
    """

    folder: str
    batch_size: int = 128
    workers: int = 0
    window: int = 500
    alpha: float = 0.01
    parquet: bool = False
    report: bool = False
    fdr: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What decides the results beside images, detector and size of batches."""
        names = ("window", "alpha", "parquet", "report")
        options = {name: getattr(self, name) for name in names}
        return options if self.fdr is None else options | {"fdr": self.fdr}

    def __post_init__(self) -> None:
        """Refuses values that only the end of the job would notice."""
        arguments.check_count("window", self.window)
        arguments.check_fraction("alpha", self.alpha)
        if self.fdr is not None:
            arguments.check_fraction("fdr", self.fdr)


def run(
    detector: Detector,
    inputs: Inputs,
    config: ScoreConfig,
    *,
    identity: str = "",
    configuration: Mapping[str, Any] | None = None,
) -> finished_scores.ScoreResults:
    """Scores all images and writes the results, unless this very job has done so.

    Args:
      detector: A detector that is fitted, calibrated and has a preprocessing.
      inputs: The images.
      config: Settings of the job, with the folder of its results.
      identity: A text that no other detector has; the shards of an interrupted job
        are used again for this detector only.
      configuration: Settings to record beside the results, JSON values.

    Raises:
      FileExistsError: The folder exists already and is another job's, or another job
        was interrupted there.
      ValueError: The detector is not calibrated, or the images do not fit it.
      OSError: The results cannot be written; what was scored before is kept.
    """
    calibration = requirements.check_calibrated(detector)
    calibration.thresholds()
    if config.fdr is not None:  # refuses one that can never be met
        false_discoveries.fewest(1, calibration.least_p_value(), config.fdr)
    target = pathlib.Path(config.folder).resolve()
    cut = shards.cut(len(inputs.names), SHARD_BATCHES * config.batch_size)
    sizes = [stop - start for start, stop in cut]
    if inputs.broken:  # archives that cannot be opened at all are a shard of their own
        sizes.append(len(inputs.broken))
    job = shards.Shards(f"{target}.partial", tuple(sizes))
    plan = {
        "images": inputs.fingerprint,
        "detector": identity,
        "TPR": calibration.tpr,
        "batch_size": config.batch_size,
    }
    asked_for = {**plan, **config.options}
    earlier_results = finished_scores.read(target, asked_for)
    if earlier_results is not None:
        _LOGGER.info("this job is done already; %s holds its results", target)
        if pathlib.Path(job.folder, shards.PLAN).exists():  # it was killed just then
            shutil.rmtree(job.folder, ignore_errors=True)
        return earlier_results
    atomic_files.check_new(target)
    job.claim(plan)
    with job.alone():
        try:
            atomic_files.check_new(target)  # nor has another process written it since
            if inputs.broken:
                broken = table.of_broken(inputs.broken, calibration)
                job.write(len(job.sizes) - 1, broken)
            _score(detector, inputs, config, job, calibration)
        except BaseException:
            if 0 in job.missing():  # there is nothing to resume
                shutil.rmtree(job.folder, ignore_errors=True)
            raise
        summary = {"job": asked_for, "configuration": dict(configuration or {})}
        results = _finish(target, job, detector, inputs, config, summary)
        shutil.rmtree(job.folder, ignore_errors=True)
    return results


def _score(
    detector: Detector,
    inputs: Inputs,
    config: ScoreConfig,
    job: shards.Shards,
    calibration: AnyCalibration,
) -> None:
    """Writes all shards from the first that is missing, in one stream of images."""
    missing = job.missing()
    if not missing:
        return
    number = missing[0]
    finished = sum(job.sizes[:number])
    batches = streaming.scored(
        detector,
        inputs.source,
        config.batch_size,
        start=finished,
        workers=config.workers,
        what=f"score from image {finished:,}" if finished else "score",
        disable=None,
    )
    rows: list[pa.Table] = []
    try:
        for scored in batches:
            stop = scored.first + len(scored.readable)
            names = inputs.names[scored.first : stop]
            classes = detector.class_names
            rows.append(table.of_batch(scored, names, calibration, classes))
            if stop == finished + job.sizes[number]:
                job.write(number, pa.concat_tables(rows))
                finished, number, rows = stop, number + 1, []
    except KeyboardInterrupt:
        if not finished:
            raise KeyboardInterrupt("interrupted; nothing is written.") from None
        raise KeyboardInterrupt(
            f"interrupted: {finished:,} of {len(inputs.names):,} images are scored and "
            f"kept in {job.folder}; the same command resumes there."
        ) from None


def _finish(
    target: pathlib.Path,
    job: shards.Shards,
    detector: Detector,
    inputs: Inputs,
    config: ScoreConfig,
    summary: Mapping[str, Any],
) -> finished_scores.ScoreResults:
    """Joins the shards, draws the pictures and renames the folder into place."""
    calibration = requirements.check_calibrated(detector)
    spec = detector.component.spec
    # A bundle's detectors have names; a single one is known by its text.
    titles = {} if detector.component.slot == "bundle" else {SINGLE: spec}
    job.check()
    try:
        with atomic_files.atomic_folder(target) as partial:
            judged = {} if config.fdr is None else q_values.of_job(job, calibration)
            columns = table.schema(calibration.scores, judged)
            rows = q_values.added(job.tables(), judged)
            table.write_csv(partial / finished_scores.TABLE, columns, rows)
            if config.parquet:
                with parquet.ParquetWriter(partial / PARQUET, columns) as writer:
                    for shard in q_values.added(job.tables(), judged):
                        writer.write_table(shard)
            results = _results(job, config, calibration)
            if config.fdr is not None:
                results.discovered.update(q_values.discovered(judged, config.fdr))
            if results.scores:
                pictures = {
                    "histograms": plots.histograms(calibration, results.scores, titles),
                    "timeline": plots.timelines(
                        results.drift, calibration, titles, config.window
                    ),
                }
                figures.save_pictures(partial, pictures)
            summary = {
                **summary,
                "spec": spec,
                "network": models.title(detector.model),
                "window": config.window,
                "images": results.images,
                "failed": len(results.failed),
                "tpr": calibration.tpr,
                "thresholds": stored_calibration.thresholds(calibration),
                "promises": {k: v._asdict() for k, v in calibration.promises().items()},
                "called_ood": results.called_ood,
                **({} if config.fdr is None else {"discovered": results.discovered}),
                "drift": {
                    name: [window._asdict() for window in windows]
                    for name, windows in results.drift.items()
                },
                "versions": provenance.versions(),
            }
            (partial / finished_scores.SUMMARY).write_text(
                json.dumps(summary, indent=2) + "\n"
            )
            if config.report:
                whole = pa.concat_tables(job.tables())
                text = page_lib.build(partial, whole, inputs, summary, titles)
                (partial / page.FILE).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(
            f"{error} All images are scored and kept in {job.folder}."
        ) from error
    return results


def _results(
    job: shards.Shards, config: ScoreConfig, calibration: AnyCalibration
) -> finished_scores.ScoreResults:
    """What the shards say, for all images together."""
    texts = pa.concat_tables(job.tables([table.PATH, table.ERROR]))
    failed = texts.filter(pc.field(table.ERROR) != "").to_pylist()
    results = finished_scores.ScoreResults(
        len(texts), [(row[table.PATH], row[table.ERROR]) for row in failed], {}, {}, {}
    )
    for name, inside in calibration.scores.items():
        column = job.column(table.column(name, "score"))
        scores = column.drop_null().to_numpy()
        if scores.size:
            thresholds = job.column(table.column(name, "threshold"))
            own = thresholds.filter(column.is_valid()).to_numpy()
            results.scores[name] = scores
            results.called_ood[name] = float((scores < own).mean())
            results.drift[name] = drift.timeline(
                scores, inside, own, config.window, config.alpha
            )
    return results
