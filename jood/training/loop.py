"""The training loop: one jitted, donated step over a mesh, and what surrounds it."""

from collections.abc import Callable, Mapping
import logging
import math
import os
import time
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax
import tqdm

from jood import activations
from jood import sharding
from jood.batch import Batch
from jood.data import pipeline
from jood.data.benchmark import Benchmark
from jood.preprocessing import Preprocessing
from jood.training.checkpoints import Checkpoints
from jood.training.config import TrainConfig
from jood.training.losses.cross_entropy import cross_entropy
from jood.training.state import TrainState
from jood.training.state import create_state
from jood.training.state import make_optimizer

_LOGGER = logging.getLogger(__name__)

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def make_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    preprocessing: Preprocessing,
) -> Step:
    """Returns the jitted step: (state, batch) -> (state, metrics).

    With a batch sharded over a mesh, gradients and BatchNorm statistics are those of
    the global batch. Metrics are sums over the batch and stay on the device.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        images = preprocessing(batch.image)

        def objective(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, updated = model.apply(
                variables, images, train=True, mutable=["batch_stats"]
            )
            return cross_entropy(logits, batch.label), (logits, updated)

        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, (logits, updated)), grads = gradient(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        correct = jnp.sum(jnp.argmax(logits, -1) == batch.label)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=updated.get("batch_stats", {}),  # a transformer has none
            opt_state=opt_state,
        )
        return state, {"loss": loss * batch.image.shape[0], "correct": correct}

    return jax.jit(step, donate_argnums=0)


def train(
    config: TrainConfig,
    benchmark: Benchmark,
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    workers: int = 0,
    progress: bool | None = None,
) -> Mapping[str, Any]:
    """Trains a model on a benchmark's ID training set, or goes on where it stopped.

    Args:
      config: the run.
      benchmark: where the data come from.
      model: the network.
      folder: checkpoints, one per epoch; if it holds some of the same
        configuration, the run continues from the newest.
      workers: processes that read and decode images; 0 reads with threads.
      progress: whether to draw a progress bar; None draws it on a terminal only.

    Returns:
      The trained variables {'params', 'batch_stats'} as NumPy arrays.

    Raises:
      ValueError: the folder belongs to another configuration, or the batch size
        does not fit the data or the devices.
      FloatingPointError: the loss is NaN or infinite; the message names the step
        and the learning rate.
    """
    source = benchmark.id_train
    classes = len(benchmark.class_names)
    steps_per_epoch = max(len(source) // config.batch_size, 1)
    total = config.epochs * steps_per_epoch
    optimizer = make_optimizer(config, steps_per_epoch)
    example = source[0]
    if "label" not in example:  # before the folder becomes this run's
        raise ValueError(
            f"training needs labels, but the ID images of {benchmark.name} have none."
        )
    image_shape = example["image"].shape
    mesh = sharding.data_mesh()
    state = create_state(model, optimizer, image_shape, config.seed)
    step = make_step(model, optimizer, benchmark.preprocessing)

    with Checkpoints(folder, config.as_json()) as checkpoints:
        state = checkpoints.restore(sharding.replicate(state, mesh))
        start = int(state.step)
        if start:
            _LOGGER.info("continuing at step %d of %d", start, total)
        batches = pipeline.training_batches(
            source,
            config.batch_size,
            steps=total,
            seed=config.seed,
            start=start,
            workers=workers,
        )
        disable = None if progress is None else not progress
        with tqdm.tqdm(
            total=total * config.batch_size,
            initial=start * config.batch_size,
            desc=f"train {config.model} seed {config.seed}",
            unit="img",
            unit_scale=True,
            disable=disable,
        ) as bar:
            epoch: list[dict[str, jax.Array]] = []
            clock = time.monotonic()
            for index, batch in enumerate(batches, start=start + 1):
                activations.check_labels(batch.label, config.batch_size, classes)
                state, metrics = step(state, sharding.shard_batch(batch, mesh))
                epoch.append(metrics)
                bar.update(config.batch_size)
                if index % steps_per_epoch and index != total:
                    continue
                seconds, clock = time.monotonic() - clock, time.monotonic()
                _report(epoch, index, config, steps_per_epoch, bar, seconds)
                checkpoints.save(state)
                epoch = []
    return jax.device_get(state.variables)


def _report(
    epoch: list[dict[str, jax.Array]],
    step: int,
    config: TrainConfig,
    steps_per_epoch: int,
    bar: Any,
    seconds: float,
) -> None:
    """Sums up the steps of an epoch; stops the run if the loss is not finite."""
    images = len(epoch) * config.batch_size
    sums = jax.tree.map(lambda *leaves: sum(float(x) for x in leaves), *epoch)
    loss, accuracy = sums["loss"] / images, sums["correct"] / images
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the training loss is {loss} in the epoch that ends with step {step}, "
            f"peak learning rate {config.learning_rate}. Lower the learning rate; the "
            "last checkpoint, of the epoch before, is untouched."
        )
    bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
    _LOGGER.info(
        "epoch %d/%d  loss %.4f  accuracy %.2f %%  %.0f images/s",
        step // steps_per_epoch,
        config.epochs,
        loss,
        100 * accuracy,
        images / seconds,
    )
