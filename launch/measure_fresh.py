"""Measures a fresh process: import jood, load a detector, compile it, score an image.

    jood measure_fresh --model=resnet20 --image_size=32

Each run is a Python process of its own, from its start to its first score, with an
empty folder of compiled programs and then with one that an earlier run has filled.
Weights are random: time does not depend on them.
"""

import json
import pathlib
import tempfile
import time
from typing import Any

from absl import flags
import jax
import numpy as np

import jood
from jood import cli
from jood._utils import compiling
from jood._utils import fresh_process
from jood._utils import measuring

_MODEL = cli.define_model("resnet20", "The network.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Side in pixels.", 8)
_CLASSES = flags.DEFINE_integer("classes", 10, "Classes of the network.", 2)
_METHOD = flags.DEFINE_string("method", "fs_ta_energy", "Detector that scores.")
_RUNS = flags.DEFINE_integer("runs", 5, "Processes of each kind, in turn.", 1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

# What a user's script does; it prints seconds since the epoch after each part.
_SCRIPT = """
import json, sys, time
times = [time.time()]
import numpy as np
import jood
from jood._utils import compilation_cache
compilation_cache.keep_programs(sys.argv[2])
times.append(time.time())
detector = jood.Detector.load(sys.argv[1])
times.append(time.time())
image = np.zeros([1, *detector.image_shape], np.float32)
detector(image)
times.append(time.time())
detector(image)
times.append(time.time())
print(json.dumps(times))
"""
_PARTS = ("Python", "import", "load", "compile and score", "score again")


def main(argv: list[str]) -> None:
    """Saves a detector, starts the processes in turn and prints medians."""
    del argv
    kinds: dict[str, list[list[float]]] = {"first score": [], "first score, cached": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        _save(folder / "detector")
        _seconds(folder / "detector", folder / "programs")  # fills the folder
        for run in range(_RUNS.value):
            for kind, programs in zip(kinds, (f"empty{run}", "programs"), strict=True):
                kinds[kind].append(_seconds(folder / "detector", folder / programs))
    rows = []
    for kind, runs in kinds.items():
        parts = np.median(np.array(runs), axis=0)
        total = float(np.median(np.array(runs)[:, :-1].sum(axis=1)))
        row: dict[str, Any] = {"what": kind, "s": total}
        rows.append(row | dict(zip(_PARTS, parts.tolist(), strict=True)))
    what = (
        f"a fresh process, {_METHOD.value}, {_MODEL.value}, {_IMAGE_SIZE.value} px, "
        f"median of {_RUNS.value} processes"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _save(path: pathlib.Path) -> None:
    """Writes a fitted and calibrated detector."""
    side = _IMAGE_SIZE.value
    model = jood.models.create(_MODEL.value, _CLASSES.value)
    shape = (4 * _CLASSES.value, side, side, 3)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    variables = compiling.run_once(model.init, jax.random.key(0), images[:1])
    labels = np.arange(len(images)) % _CLASSES.value
    detector = jood.Detector(jood.parse(_METHOD.value), model, variables)
    detector = detector.fit([(images, labels)]).calibrate([images], tpr=0.5)
    detector.save(path)


def _seconds(detector: pathlib.Path, programs: pathlib.Path) -> list[float]:
    """What each part of a process takes, in seconds."""
    start = time.time()
    completed = fresh_process.run("-c", _SCRIPT, str(detector), str(programs))
    times = [start, *json.loads(completed.stdout.splitlines()[-1])]
    return np.diff(times).tolist()


if __name__ == "__main__":
    cli.run(main)
