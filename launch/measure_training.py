r"""Measures training steps: what objectives add, and what devices send each other.

    python launch/measure_training.py
    python launch/measure_training.py --devices=8 --model=resnet50 --image_size=224 \
        --batch_size=64 --rounds=0

Steps of all objectives alternate in one process; printed are medians and the ratio to
cross-entropy. --devices splits a CPU into so many, to read the traffic of a
data-parallel step off the compiled program; --rounds=0 compiles only.
"""

import os
import time
from typing import Any

from absl import flags
import communication_volume
import jax
import numpy as np
import tabulate

from jood import cli
from jood import models
from jood._utils import sharding
from jood.data.benchmarks import painted_digits
from jood.training import config
from jood.training import objectives
from jood.training import optimizer
from jood.training import state as state_lib
from jood.training import step as step_lib
from jood.training.batches import TrainingBatch

_MODEL = cli.define_model("resnet18_cifar", "The network.")
_OBJECTIVES = flags.DEFINE_list(
    "objectives",
    ["cross_entropy", *sorted({*objectives.names()} - {"cross_entropy", "tagfog"})],
    "Texts; the first is compared with. TagFog needs anchors: tagfog('texts.npz').",
)
_CLASSES = flags.DEFINE_integer("classes", 10, "Classes of the classifier.", 1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Side in pixels.", 8)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per step.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Steps of each objective.", 0)
_CLOCK = flags.DEFINE_enum(
    "clock",
    "wall",
    ["wall", "cpu"],
    "What a step's time is: wall time, or CPU time of all threads, which is the fairer "
    "one on a CPU that does other work, too.",
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", config.DTYPES, "Compute type; parameters are float32."
)
_SPLIT_STATE = flags.DEFINE_bool(
    "split_state", False, "Split parameters and optimiser state over the devices."
)
_DEVICES = flags.DEFINE_integer(
    "devices", None, "Split a CPU into so many; else those that there are.", 1
)


def main(argv: list[str]) -> None:
    """Compiles a step of each objective, runs them in turn and prints the table."""
    del argv
    if _DEVICES.value:  # before JAX looks for devices
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = (
            os.environ.get("XLA_FLAGS", "")
            + f" --xla_force_host_platform_device_count={_DEVICES.value}"
        )
    mesh = sharding.data_mesh()
    batch = sharding.shard_batch(_batch(), mesh)
    runs = {}
    for name in _OBJECTIVES.value:
        state, step = _compiled(name, batch, mesh)
        if _ROUNDS.value:
            state, _ = step(state, batch)  # the first step also allocates
            jax.block_until_ready(state)
        runs[name] = (state, step)
    clock = time.perf_counter if _CLOCK.value == "wall" else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS.value):
        for name, (state, step) in runs.items():
            start = clock()
            state, _ = step(state, batch)
            jax.block_until_ready(state)
            seconds[name].append(clock() - start)
            runs[name] = (state, step)
    device = mesh.devices.ravel()[0]
    parameters = sum(x.size for x in jax.tree.leaves(runs[name][0].trained))
    print(
        f"{_MODEL.value}, {parameters:,} parameters, {_IMAGE_SIZE.value} px, batch "
        f"{_BATCH_SIZE.value}, {_DTYPE.value}, {mesh.devices.size} x "
        f"{device.device_kind}, {_CLOCK.value} time"
    )
    print(tabulate.tabulate(_rows(runs, seconds), headers="keys", floatfmt=".3f"))


def _batch() -> TrainingBatch:
    rng = np.random.default_rng(0)
    size, side = _BATCH_SIZE.value, _IMAGE_SIZE.value
    images = rng.integers(0, 256, (size, side, side, 3)).astype(np.uint8)
    labels = rng.integers(0, _CLASSES.value, size).astype(np.int32)
    # Reversed, the images do for outliers, which some objectives want.
    return TrainingBatch(images, labels, np.ones(size, np.float32), images[::-1])


def _compiled(
    name: str, batch: TrainingBatch, mesh: jax.sharding.Mesh
) -> tuple[Any, Any]:
    objective = objectives.parse(name)
    model = models.create(_MODEL.value, _CLASSES.value, dtype=_DTYPE.value)
    transformation = optimizer.make_optimizer(config.TrainConfig(), 100)
    side = _IMAGE_SIZE.value
    state = state_lib.create_state(model, objective, transformation, (side, side, 3), 0)
    shardings = jax.tree.map(lambda _: sharding.replicated(mesh), state)
    if _SPLIT_STATE.value:
        shardings = sharding.split(state, mesh)
    step = step_lib.compile_step(
        step_lib.make_step(
            model, objective, transformation, painted_digits.PREPROCESSING
        ),
        shardings,
    )
    state = jax.device_put(state, shardings)
    return state, step.lower(state, batch).compile()


def _rows(runs: dict[str, Any], seconds: dict[str, list[float]]) -> list[dict]:
    rows = []
    first = next(iter(seconds.values()))
    for name, (_, step) in runs.items():
        row: dict[str, Any] = {"objective": name}
        if seconds[name]:
            median = float(np.median(seconds[name]))
            row["ms per step"] = 1000 * median
            row["images/s"] = round(_BATCH_SIZE.value / median)
            pairs = np.array(seconds[name]) / np.array(first)
            row["ratio"] = float(np.median(pairs))
        row["temporary MB"] = step.memory_analysis().temp_size_in_bytes / 1e6
        for kind, size in communication_volume.collective_bytes(step).items():
            row[f"{kind} MB"] = size / 1e6
        rows.append(row)
    return rows


if __name__ == "__main__":
    cli.run(main)
