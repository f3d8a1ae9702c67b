"""What a training step changes."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from jood.core.ood_head import COLLECTION as OOD_HEAD
from jood.training.forward import look
from jood.training.objectives.objective import Objective


class TrainState(struct.PyTreeNode):
    """Everything that a run needs to go on, beside its place in the data.

    Attributes:
      step: int32 [], number of steps done.
      trained: the collections that the optimiser changes, float32: 'params', and
        what the objective adds ('ood_head').
      batch_stats: BatchNorm's running means and variances, float32.
      opt_state: the optimiser's.
      rng: uint32 [2], data of the key that, with the step, decides augmentation and
        what the objective draws.
    """

    step: jax.Array
    trained: Any
    batch_stats: Any
    opt_state: optax.OptState
    rng: jax.Array

    @property
    def variables(self) -> dict[str, Any]:
        """Returns what `model.apply` and `jood.observe` take."""
        return {**self.trained, "batch_stats": self.batch_stats}

    def is_finite(self) -> bool:
        """Whether the network and the optimiser hold no NaN and no infinity."""
        return bool(_all_finite((self.variables, self.opt_state)))


@jax.jit
def _all_finite(arrays: Any) -> jax.Array:
    leaves = jax.tree.leaves(arrays)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def with_new_head(
    model: nn.Module, variables: Mapping[str, Any], image_size: int, seed: int
) -> dict[str, Any]:
    """Returns a trained network's variables with a classifier of random weights.

    Args:
      model: with the new number of classes.
      variables: of the same network, perhaps with another; an OOD head is dropped.
      image_size: side of the network's images, in pixels.
      seed: of the weights.
    """
    images = jnp.zeros([1, image_size, image_size, 3])
    begun = jax.jit(model.init)(jax.random.key(seed), images)["params"]["head"]
    kept = {name: variables[name] for name in variables if name != OOD_HEAD}
    return {**kept, "params": {**variables["params"], "head": begun}}


def create_state(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    seed: int,
    variables: Mapping[str, Any] | None = None,
) -> TrainState:
    """Initialises a run from one seed.

    Args:
      model: takes images float32 [1, *image_shape].
      objective: may train more than the model.
      optimizer: an optax transformation.
      image_shape: (H, W, C).
      seed: of the initial parameters, and of what is drawn later.
      variables: of a trained network to begin with; None begins with random ones. An
        OOD head that the objective trains and these lack is begun anew.
    """
    images = jnp.zeros([1, *image_shape])
    key = jax.random.key(seed)
    if variables is None:
        variables = jax.jit(model.init)(key, images)
    variables = jax.tree.map(jnp.asarray, dict(variables))
    width = jax.eval_shape(
        lambda v, x: look(model, v, x, jnp.zeros(1, jnp.int32), train=False)[0].acts,
        variables,
        images,
    ).kernel.shape[0]
    added = objective.init(jax.random.fold_in(key, 1), width)
    trained = {
        "params": variables["params"],
        **{name: variables.get(name, new) for name, new in added.items()},
    }
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        trained=trained,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(trained),
        rng=jax.random.key_data(jax.random.fold_in(key, 2)),
    )
