"""One training step: look, differentiate, update; pure, for `jax.jit` over a mesh.

XLA inserts the sums: gradients and all means are those of the global batch.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from jood._utils import compiling
from jood.core.batch import Batch
from jood.core.preprocessing import Preprocessing
from jood.training.augmentation import Augment
from jood.training.forward import look
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part
from jood.training.state import TrainState
from jood.training.step_metrics import Metrics

Step = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
# (trained, model_state, batch, key, start, epoch)
# -> gradient, (metrics, next model_state)
Gradient = Callable[..., Any]


def make_step(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    preprocessing: Preprocessing,
    augment: Augment | None = None,
    accumulate: int = 1,
    steps_per_epoch: int = 1,
) -> Step:
    """Returns (state, batch) -> (state, metrics), to be compiled by `compile_step`.

    The metrics stay on the device: 'loss', 'accuracy', 'zero_features' (the share of
    the penultimate feature that is 0), 'gradient_norm' and what the objective logs.

    Args:
      model: The network.
      objective: Objective to minimise.
      optimizer: An optax transformation.
      preprocessing: Normalises the augmented images.
      augment: Changes uint8 images; None leaves them as they are.
      accumulate: Number of parts of a batch, whose gradients are averaged. Part i holds
        rows i, i + accumulate, ..., so each device keeps its own rows.
      steps_per_epoch: Unit of `TrainingPass.epoch`.
    """

    def loss_of(
        trained: Any,
        model_state: Any,
        batch: Batch,
        key: jax.Array,
        start: Any,
        epoch: jax.Array,
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        def augmented(key: jax.Array, images: Any = batch.image) -> jax.Array:
            changed = images if augment is None else augment(key, images)
            return preprocessing(changed)

        first, second = jax.random.split(key)
        images, drawn = objective.images(augmented, batch, first)
        outputs, stats = look(
            model,
            {**trained, **model_state},
            images,
            batch.label,
            key=jax.random.fold_in(key, 2),  # beside the two of the split
        )
        outputs = outputs.replace(drawn=drawn, epoch=epoch)
        if objective.reference is not None:
            before, _ = look(model, start, images, batch.label, train=False)
            outputs = outputs.replace(reference=objective.reference(before))
        loss, parts = objective.loss(outputs, second)
        count = len(batch.label)  # of ID images, which are the first rows
        size = jnp.float32(count)
        correct = jnp.sum(
            outputs.acts.prediction[:count] == batch.label, dtype=jnp.float32
        )
        feature = outputs.acts.penultimate[:count]  # [B, D]
        zeros = jnp.sum(feature == 0, dtype=jnp.float32)
        means = {
            "loss": Part(size * loss, size),
            "accuracy": Part(correct, size),
            "zero_features": Part(zeros, jnp.float32(feature.size)),
        }
        updated = {**model_state, "batch_stats": stats, **objective.update(outputs)}
        return loss, ({**means, **parts}, updated)

    gradient: Gradient = jax.grad(loss_of, has_aux=True)
    if accumulate > 1:
        gradient = _accumulated(gradient, accumulate)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        epoch = state.step.astype(jnp.float32) / steps_per_epoch
        grads, (metrics, model_state) = gradient(
            state.trained, state.model_state, batch, key, state.start, epoch
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.trained)
        norm = Part(optax.tree.norm(grads), jnp.float32(1))
        return state.replace(
            step=state.step + 1,
            trained=optax.apply_updates(state.trained, updates),
            model_state=model_state,
            opt_state=opt_state,
        ), {**metrics, "gradient_norm": norm}

    return step


def _accumulated(gradient: Gradient, count: int) -> Gradient:
    """The mean of the parts' gradients, the sums of their metrics, the last state."""

    def parts(array: jax.Array) -> jax.Array:
        # [B] -> [B / count, count]: the first axis is sharded as before.
        return jnp.moveaxis(array.reshape(-1, count, *array.shape[1:]), 1, 0)

    def accumulated(
        trained: Any, model_state: Any, batch: Batch, key: jax.Array, *rest: Any
    ) -> Any:
        def one(carry: Any, part: tuple[Batch, jax.Array]) -> tuple[Any, Metrics]:
            total, model_state = carry
            grads, (metrics, model_state) = gradient(trained, model_state, *part, *rest)
            return (jax.tree.map(jnp.add, total, grads), model_state), metrics

        start = jax.tree.map(jnp.zeros_like, trained), model_state
        each = jax.tree.map(parts, batch), jax.random.split(key, count)
        (total, model_state), metrics = jax.lax.scan(one, start, each)
        grads = jax.tree.map(lambda g: g / count, total)
        return grads, (jax.tree.map(lambda m: m.sum(0), metrics), model_state)

    return accumulated


def compile_step(step: Step, shardings: TrainState) -> jax.stages.Wrapped:
    """Returns the compiled step, which reuses the state's memory and shardings."""
    return compiling.jit(step, donate_argnums=0, out_shardings=(shardings, None))
