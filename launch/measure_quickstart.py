"""Measures `jood quickstart` from its start to its end, and how long it trains.

    jood measure_quickstart --runs=3

Each run is a process of its own with an empty folder of compiled programs. What it
takes beside training: imports, compilation, fitting, scoring, tables and pictures.
"""

import pathlib
import re
import tempfile
import time

from absl import flags
import numpy as np

from jood import cli
from jood._utils import fresh_process
from jood._utils import measuring

_EPOCHS = flags.DEFINE_integer("epochs", None, "Else quickstart's own.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 3, "Runs, of which medians are taken.", 1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

# What the bar of the training says at its end: '96,256 images in 0:01:45'.
_TRAINED = re.compile(r" seed \d+: [\d,]+ images in (\d+):(\d+):(\d+)")


def main(argv: list[str]) -> None:
    """Runs the job as often as asked and prints medians."""
    del argv
    runs = np.array([_run() for _ in range(_RUNS.value)])
    whole, training = np.median(runs, axis=0)
    rows = [
        {"what": "quickstart", "s": float(whole)},
        {"what": "training", "s": float(training)},
        {"what": "all else", "s": float(np.median(runs[:, 0] - runs[:, 1]))},
    ]
    epochs = f"--epochs={_EPOCHS.value}, " if _EPOCHS.value else ""
    what = f"jood quickstart, {epochs}install aside, median of {_RUNS.value} runs"
    measuring.report(what, rows, _OUTPUT.value)


def _run() -> tuple[float, float]:
    """Returns the seconds of a run and of its training, to the second."""
    with tempfile.TemporaryDirectory() as folder:
        job = pathlib.Path(__file__).with_name("quickstart.py")
        line = [str(job), f"--workdir={folder}/run"]
        line += [f"--epochs={_EPOCHS.value}"] if _EPOCHS.value else []
        start = time.perf_counter()
        completed = fresh_process.run(*line)
        seconds = time.perf_counter() - start
    trained = _TRAINED.search(completed.stderr)
    if trained is None:
        raise ValueError(
            f"jood quickstart does not say how long it trained:\n{completed.stderr}"
        )
    hours, minutes, rest = map(int, trained.groups())
    return seconds, 3600 * hours + 60 * minutes + rest


if __name__ == "__main__":
    cli.run(main)
