r"""Scores images with a saved detector: which of them are out of distribution?

    jood score --detector=detectors/mine --images=traffic \
        --output=results/traffic

--images is a folder, a .txt list of files (one per line), a .npz archive (images, uint8
[N, H, W, C]) or tar files ('shards/*.tar'). The output folder gets scores.csv with a
row per image, summary.json, a histogram and a timeline. The same command, given again,
resumes an interrupted job; if the job is finished, it says so.

Exit code: 0 all images are scored; 2 some could not be read (they are listed); 1
nothing was written, the message says why; 130 or 143 the job was interrupted.
"""

import sys

from absl import flags

from jood import cli
from jood._utils import compilation_cache
from jood.data import inputs as inputs_lib
from jood.deploy import finished_scores
from jood.deploy import requirements
from jood.deploy import score_job
from jood.detector import Detector
from jood.detector import false_discoveries
from jood.detector import saving
from jood.detector.calibration import CONFIDENCE

LISTED = 20  # bad files that are printed; all are in the table
_DETECTOR = flags.DEFINE_string(
    "detector", None, "Folder of jood fit or Detector.save.", required=True
)
_IMAGES = flags.DEFINE_string("images", None, "Images to score.", required=True)
_OUTPUT = cli.define_output()
_TPR = flags.DEFINE_float(
    "tpr", None, "Share of ID images to keep; else what the detector was made with."
)
_PARQUET = flags.DEFINE_bool(
    "parquet", False, "Also write the table as scores.parquet."
)
_REPORT = flags.DEFINE_bool(
    "report", False, "Also write report.html, a page that shows the results."
)
_WINDOW = flags.DEFINE_integer(
    "window", 500, "Images per window of the timeline, in their order.", lower_bound=1
)
_ALPHA = flags.DEFINE_float(
    "alpha", 0.01, "Probability that any window is called drift if nothing drifts."
)
_FDR = flags.DEFINE_float(
    "fdr",
    None,
    "Also judge all images together, so that of those called OOD at most this share is "
    "ID, on average (Benjamini-Hochberg): the table gets q-values, in (0, 1).",
)
_WORKERS = cli.define_workers()
_COMPILATION_CACHE = cli.define_compilation_cache()
_BATCH_SIZE = cli.define_batch_size()
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Opens the detector and the images, scores and writes."""
    del argv
    finished_scores.check_new(_OUTPUT.value)
    config = score_job.ScoreConfig(
        _OUTPUT.value,
        batch_size=_BATCH_SIZE.value,
        workers=_WORKERS.value,
        window=_WINDOW.value,
        alpha=_ALPHA.value,
        parquet=_PARQUET.value,
        report=_REPORT.value,
        fdr=_FDR.value,
    )
    if _COMPILATION_CACHE.value is not None:
        compilation_cache.keep_programs(_COMPILATION_CACHE.value)
    detector = Detector.load(_DETECTOR.value)
    if _TPR.value is not None:
        detector = requirements.with_tpr(detector, _TPR.value)
    inputs = inputs_lib.open_inputs(
        _IMAGES.value, requirements.preprocessing_of(detector)
    )
    if _DRY_RUN.value:
        cli.would(
            f"score {len(inputs.names):,} images of {_IMAGES.value} with "
            f"{detector.component.spec}",
            f"write {_OUTPUT.value}",
        )
        return
    results = score_job.run(
        detector,
        inputs,
        config,
        identity=saving.identity(_DETECTOR.value),
        configuration=cli.flag_values(),
    )
    _print(results, detector)
    if results.failed:
        sys.exit(2)


def _print(results: finished_scores.ScoreResults, detector: Detector) -> None:
    calibration = requirements.check_calibrated(detector)
    promises = calibration.promises()
    scored = results.images - len(results.failed)
    for name, share in results.called_ood.items():
        promise = promises[name]
        print(
            f"{name}: {share:.2%} are called OOD; of ID images it would be at most "
            f"{promise.upper:.2%} ({CONFIDENCE:.0%} confidence, calibrated on "
            f"{promise.images:,})"
        )
        if _FDR.value is not None and name in results.discovered:
            fewest = false_discoveries.fewest(
                scored, calibration.least_p_value(), _FDR.value
            )
            print(
                f"{name}: {results.discovered[name]:,} are called OOD at a false "
                f"discovery rate of {_FDR.value:.2%}: on average at most this share of "
                f"them is ID. (Fewer than {fewest:,} cannot be found among {scored:,}, "
                "with so many calibration images.)"
            )
        windows = results.drift[name]
        drifted = sum(window.drifted for window in windows)
        print(f"{name}: {drifted} of {len(windows)} window(s) drifted")
    print(
        f"{scored:,} scored, {len(results.failed):,} failed; written to {_OUTPUT.value}"
    )
    for path, reason in results.failed[:LISTED]:
        print(f"  failed: {path}: {reason}")
    if len(results.failed) > LISTED:
        print(
            f"  and {len(results.failed) - LISTED:,} more, in {finished_scores.TABLE}"
        )


if __name__ == "__main__":
    cli.run(main)
