"""What a training step changes, and the optimiser that changes it."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from jood.training.config import TrainConfig
from jood.training.config import learning_rate_schedule


class TrainState(struct.PyTreeNode):
    """Everything that a run needs to go on.

    Attributes:
      step: int32 [], number of steps done.
      params: parameters, float32.
      batch_stats: BatchNorm's running means and variances, float32.
      opt_state: the optimiser's.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState

    @property
    def variables(self) -> Mapping[str, Any]:
        """Returns what `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def make_optimizer(
    config: TrainConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
    """SGD with Nesterov momentum; weight decay on kernels only."""

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=kernels),
        optax.sgd(
            learning_rate_schedule(config, steps_per_epoch),
            momentum=config.momentum,
            nesterov=config.momentum > 0,
        ),
    )


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    seed: int,
) -> TrainState:
    """Initialises a model and its optimiser from one seed.

    Args:
      model: takes images float32 [1, *image_shape].
      optimizer: an optax transformation.
      image_shape: (H, W, C).
      seed: of the initial parameters.
    """
    images = jnp.zeros([1, *image_shape])
    variables = jax.jit(model.init)(jax.random.key(seed), images)
    return TrainState(
        step=jnp.zeros([], jnp.int32),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(variables["params"]),
    )
