r"""Measures training steps: what objectives add, and what devices send each other.

    jood measure_training
    jood measure_training --devices=8 --model=resnet50 --image_size=224 \
        --batch_size=64 --rounds=0

Steps of all objectives alternate in one process; printed are medians. An objective that
looks at N images in a step, of views or outliers, is compared with cross-entropy on the
same batch ('/ plain') and on a batch of N ('/ as many'). One with queues has a second
row, in which they are full and outliers are drawn. --devices splits a CPU into so many,
to read the traffic of a data-parallel step off the compiled program; --rounds=0
compiles only.
"""

import atexit
import dataclasses
import os
import tempfile
from typing import Any

from absl import flags
import communication_volume
import jax
import jax.numpy as jnp
import numpy as np

from jood import cli
from jood import models
from jood._utils import measuring
from jood._utils import sharding
from jood._utils import turns
from jood.data.benchmarks import painted_digits
from jood.training import config
from jood.training import objectives
from jood.training import optimizer
from jood.training import state as state_lib
from jood.training import step as step_lib
from jood.training.batches import TrainingBatch
from jood.training.objectives import class_queues

_REFERENCE = "cross_entropy"
_TEXTS = 512  # width of a text embedding
_CLOCKS = {"wall": turns.seconds, "cpu": turns.core_seconds}

_MODEL = cli.define_model("resnet18_cifar", "The network.")
_OBJECTIVES = flags.DEFINE_list(
    "objectives",
    sorted({*objectives.names()} - {_REFERENCE}),
    "Texts; all are compared with cross_entropy. tagfog without anchors gets some.",
)
_CLASSES = flags.DEFINE_integer("classes", 10, "Classes of the classifier.", 1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Side in pixels.", 8)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per step.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Steps of each objective.", 0)
_CLOCK = flags.DEFINE_enum(
    "clock",
    "wall",
    list(_CLOCKS),
    "Clock of a step: wall time, or CPU time of all threads, which is the fairer one "
    "on a CPU that does other work, too.",
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
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)


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
    runs = _runs(mesh)
    seconds: dict[tuple[str, int], np.ndarray] = {}
    if _ROUNDS.value:
        programs = {name: run.once for name, run in runs.items()}
        seconds = turns.measured(programs, _ROUNDS.value, _CLOCKS[_CLOCK.value])
    plain = runs[_REFERENCE, _BATCH_SIZE.value]
    parameters = sum(x.size for x in jax.tree.leaves(plain.state.trained))
    what = (
        f"training steps, {_MODEL.value}, {parameters:,} parameters, "
        f"{_IMAGE_SIZE.value} px, batch {_BATCH_SIZE.value}, {_DTYPE.value}, "
        f"{mesh.devices.size} device(s), {_CLOCK.value} time"
    )
    measuring.report(what, _rows(runs, seconds), _OUTPUT.value)


@dataclasses.dataclass
class _Run:
    """Steps of one objective.

    Attributes:
      images: N, the images that the network is run on in a step.
      batch: Batch of each step.
      state: State before the next step.
      step: The compiled step.
    """

    images: int
    batch: TrainingBatch
    state: Any
    step: Any

    def once(self) -> Any:
        """Takes a step."""
        self.state, _ = self.step(self.state, self.batch)
        return self.state


def _runs(mesh: jax.sharding.Mesh) -> dict[tuple[str, int], _Run]:
    """What is run in turn, by name and N; cross-entropy on N images for each N."""
    size = _BATCH_SIZE.value
    batch = sharding.shard_batch(_batch(size), mesh)
    named, sampling = {}, {}
    for text in dict.fromkeys([_REFERENCE, *_OBJECTIVES.value]):
        objective = objectives.parse(_with_anchors(text))
        run = _compiled(objective, batch, mesh)
        named[text, run.images] = run
        if class_queues.COLLECTION in objective.state:
            drawing = dataclasses.replace(run)
            drawing.state = _with_full_queues(run.state)
            sampling[f"{text}, sampling", run.images] = drawing
    for images in sorted({run.images for run in named.values()} - {size}):
        more = sharding.shard_batch(_batch(images), mesh)
        named[_REFERENCE, images] = _compiled(objectives.cross_entropy(), more, mesh)
    return {**named, **sampling}


def _batch(size: int) -> TrainingBatch:
    rng, side = np.random.default_rng(0), _IMAGE_SIZE.value
    images = rng.integers(0, 256, (size, side, side, 3)).astype(np.uint8)
    labels = rng.integers(0, _CLASSES.value, size).astype(np.int32)
    # Reversed, the images do for outliers, which some objectives want.
    return TrainingBatch(images, labels, np.ones(size, np.float32), images[::-1])


def _with_anchors(text: str) -> str:
    """A text of TagFog with random embeddings; others as they are."""
    if text not in ("tagfog", "tagfog()"):
        return text
    rng = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
        np.save(file, rng.normal(size=(_CLASSES.value, _TEXTS)).astype(np.float32))
    atexit.register(os.unlink, file.name)
    return f"tagfog(anchors={file.name!r})"


def _compiled(
    objective: objectives.Objective, batch: TrainingBatch, mesh: jax.sharding.Mesh
) -> _Run:
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
    compiled = step.lower(state, batch).compile()
    return _Run(_images(objective, batch), batch, state, compiled)


def _images(objective: objectives.Objective, batch: TrainingBatch) -> int:
    """N, the images that the objective has the network look at."""

    def looked_at(batch: TrainingBatch, key: jax.Array) -> Any:
        def augmented(_: jax.Array, images: Any = batch.image) -> Any:
            return painted_digits.PREPROCESSING(images)

        return objective.images(augmented, batch, key)[0]

    return jax.eval_shape(looked_at, batch, jax.random.key(0)).shape[0]


def _with_full_queues(state: state_lib.TrainState) -> state_lib.TrainState:
    """A state from which outliers are drawn: late, with random features in queues."""
    copied = jax.tree.map(jnp.copy, state)  # a step reuses the memory of its state
    queues = copied.model_state[class_queues.COLLECTION]
    shape, where = queues["rows"].shape, queues["rows"].sharding
    rows = jax.device_put(jax.random.normal(jax.random.key(0), shape), where)
    count = jnp.full_like(queues["count"], shape[1])
    full = {**queues, "rows": rows, "count": count}
    late = jnp.full_like(copied.step, 1 << 20)  # a step is an epoch here
    return copied.replace(
        step=late, model_state={**copied.model_state, class_queues.COLLECTION: full}
    )


def _rows(
    runs: dict[tuple[str, int], _Run], seconds: dict[tuple[str, int], np.ndarray]
) -> list[dict[str, Any]]:
    rows = []
    for (name, images), run in runs.items():
        row: dict[str, Any] = {"objective": name, "images": images}
        if seconds:
            own = seconds[name, images]
            row["ms per step"] = 1000 * float(np.median(own))
            row["ID images/s"] = _BATCH_SIZE.value / float(np.median(own))
            for column, count in ("/ plain", _BATCH_SIZE.value), ("/ as many", images):
                ratios = own / seconds[_REFERENCE, count]
                row[column] = float(np.median(ratios))
        row["temporary MB"] = run.step.memory_analysis().temp_size_in_bytes / 1e6
        for kind, size in communication_volume.collective_bytes(run.step).items():
            row[f"{kind} MB"] = size / 1e6
        rows.append(row)
    return rows


if __name__ == "__main__":
    cli.run(main)
