"""Optimisers and learning-rate schedules of the papers, in optax."""

from typing import Any

import jax
import optax

from jood.training import schedules
from jood.training.config import TrainConfig


def learning_rate_schedule(config: TrainConfig, steps_per_epoch: int) -> optax.Schedule:
    """Returns step -> learning rate."""
    peak, warmup = config.learning_rate, round(config.warmup_epochs * steps_per_epoch)
    if config.schedule == "contrastive":
        return schedules.contrastive(
            peak, config.epochs, steps_per_epoch, warm_epochs=config.warmup_epochs
        )
    if config.schedule == "bit":
        return schedules.bit(peak, steps_per_epoch * config.batch_size)
    after: optax.Schedule
    if config.schedule == "cosine":
        steps = config.epochs * steps_per_epoch - warmup
        after = optax.cosine_decay_schedule(peak, max(steps, 1))
    else:  # constant: without decays
        boundaries = {
            round(epoch * steps_per_epoch) - warmup: config.decay_factor
            for epoch in config.decay_epochs
        }
        after = optax.piecewise_constant_schedule(peak, boundaries)
    rising = optax.linear_schedule(0.0, peak, max(warmup, 1))
    return optax.join_schedules([rising, after], [warmup])


def make_optimizer(
    config: TrainConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Returns the optimiser of a run; weight decay is on kernels only.

    With `clip_norm` C > 0 the gradient g of all parameters together becomes
    g · min(1, C / ‖g‖₂) first.
    """
    plain = _unclipped(config, steps_per_epoch)
    if not config.clip_norm:
        return plain
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), plain)


def _unclipped(
    config: TrainConfig, steps_per_epoch: int
) -> optax.GradientTransformation:
    """The optimiser itself."""

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    rate = learning_rate_schedule(config, steps_per_epoch)
    if config.optimizer == "adamw":
        return optax.adamw(rate, weight_decay=config.weight_decay, mask=kernels)
    if config.optimizer == "lars":
        decay = {"weight_decay": config.weight_decay, "weight_decay_mask": kernels}
        return optax.lars(
            rate, **decay, trust_ratio_mask=kernels, momentum=config.momentum
        )
    nesterov = config.optimizer == "nesterov" and config.momentum > 0
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=kernels),
        optax.sgd(rate, config.momentum or None, nesterov),
    )
