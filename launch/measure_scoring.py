"""Measures what scoring image files costs: `jood.Scorer` from files to scores.

    JOOD_DATA_DIR=... jood measure_scoring --price_per_core_hour=0.04

Files, some of them several times, are decoded, resized and cropped to 224 pixels and
scored. Beside the images per second stands the time of all cores that the process
used, which hardly depends on what else the machine does; the cost is of that time.
The weights are random: time does not depend on them.
"""

from collections.abc import Callable
import os
import pathlib
import tempfile
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

import jood
from jood import cli
from jood._utils import measuring
from jood._utils import turns
from jood.core import preprocessing
from jood.data.sources import decoding
from jood.data.sources import file_lists

_FOLDER = flags.DEFINE_string(
    "folder",
    None,
    "Folder of image files, at any depth; by default $JOOD_DATA_DIR/images.",
)
_MODEL = cli.define_model("resnet50", "The network.")
_METHOD = flags.DEFINE_string("method", "fs_ta_energy", "Detector that scores.")
_IMAGES = flags.DEFINE_integer("images", 256, "Images per run.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Images per batch.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "That decode.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 3, "Runs of each, in turn.", lower_bound=1)
_PRICE = flags.DEFINE_float(
    "price_per_core_hour", 0.04, "Price of one core for an hour, in any currency.", 0
)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

_PREPROCESSING = preprocessing.Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256, crop=224
)


def main(argv: list[str]) -> None:
    """Times decoding alone, scoring alone and both, and prints what they cost."""
    del argv
    data_dir = os.environ.get("JOOD_DATA_DIR")
    if _FOLDER.value is None and data_dir is None:
        raise ValueError("name a folder of images with --folder.")
    folder = pathlib.Path(_FOLDER.value or os.path.join(str(data_dir), "images"))
    names = file_lists.images(folder)
    files = [str(folder / names[i % len(names)]) for i in range(_IMAGES.value)]
    detector = _detector()
    fitted = [decoding.decode(f, preprocessing=_PREPROCESSING) for f in files]
    with tempfile.TemporaryDirectory() as near:
        detector.save(os.path.join(near, "detector"))
        scorer = jood.Scorer(
            os.path.join(near, "detector"), "image", _BATCH.value, _THREADS.value
        )
        contenders: dict[str, Callable[[], Any]] = {
            "decode": lambda: [
                decoding.decode(f, preprocessing=_PREPROCESSING) for f in files
            ],
            "score": lambda: scorer({"image": fitted}),
            "decode and score": lambda: scorer({"image": files}),
        }
        times = turns.measured(contenders, _RUNS.value, turns.both_seconds)
    rows = []
    for name, runs in times.items():
        wall, cores = (float(median) for median in np.median(runs, axis=0))
        row: dict[str, Any] = {"what": name, "images/s": len(files) / wall}
        row["core-ms per image"] = 1000 * cores / len(files)
        row["core hours a million"] = cores / len(files) * 1e6 / 3600
        row["price a million"] = row["core hours a million"] * _PRICE.value
        rows.append(row)
    what = (
        f"{len(files)} images of {len(names)} files, {_MODEL.value}, {_METHOD.value}, "
        f"batches of {_BATCH.value}, {_PRICE.value} a core and hour, median of "
        f"{_RUNS.value} runs"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _detector() -> jood.Detector:
    """A detector that was fitted on noise."""
    model = jood.models.create(_MODEL.value, 1000)
    images = jnp.zeros((1, 224, 224, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    method = jood.parse(_METHOD.value)
    detector = jood.Detector(method, model, variables, _PREPROCESSING)
    noise = np.random.default_rng(0).integers(
        0, 256, (_BATCH.value, 224, 224, 3), dtype=np.uint8
    )
    batches = [(noise, np.arange(len(noise)) % 1000)]
    return detector.fit(batches).calibrate(batches, tpr=0.5)  # which 1 image allows


if __name__ == "__main__":
    cli.run(main)
