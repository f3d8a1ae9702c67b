"""Learning rates of the papers' own recipes, step -> rate."""

import jax
import jax.numpy as jnp
import optax


def contrastive(
    peak: float,
    epochs: int,
    steps_per_epoch: int,
    *,
    warm_epochs: float = 10.0,
    warm_from: float = 1e-3,
    floor: float = 1e-3,
    first_epoch: int = 1,
    first_batch: int = 0,
) -> optax.Schedule:
    """SupContrast's: a cosine of the epoch to peak · floor, after a linear warm-up.

    The warm-up rises from `warm_from` to the cosine's value at its last epoch. CIDER
    took it over and counts epochs from 0 (first_epoch=0; OpenOOD also batches from 1):
    then the first epoch runs with negative rates.

    Args:
      peak: Rate at which the cosine begins.
      epochs: Epochs of the whole run.
      steps_per_epoch: Steps of an epoch.
      warm_epochs: Epochs of warm-up; 0 has none.
      warm_from: Rate at which the warm-up begins.
      floor: Share of the peak with which the cosine ends.
      first_epoch: Number of the first epoch.
      first_batch: Number of the first batch of an epoch.
    """
    cosine = optax.cosine_decay_schedule(peak, epochs, floor)
    warm_to = cosine(warm_epochs)

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        epoch = first_epoch + jnp.asarray(step) // steps_per_epoch
        steps_done = step + first_batch + (first_epoch - 1) * steps_per_epoch
        share = steps_done / (max(warm_epochs, 1) * steps_per_epoch)
        warm = warm_from + share * (warm_to - warm_from)
        return jnp.where(epoch <= warm_epochs, warm, cosine(epoch))

    return rate


def bit(peak: float, examples: int) -> optax.Schedule:
    """BiT's rule, of MOS: linear warm-up, then a tenth at each of three steps, then 0.

    Args:
      peak: Rate after the warm-up.
      examples: Training images; the rule knows three sizes of data sets.
    """
    if examples < 20_000:
        warm, *decays, end = 100, 200, 300, 400, 500
    elif examples < 500_000:
        warm, *decays, end = 500, 3_000, 6_000, 9_000, 10_000
    else:
        warm, *decays, end = 500, 6_000, 12_000, 18_000, 20_000
    falling = optax.piecewise_constant_schedule(
        peak, {step + 1 - warm: 0.1 for step in decays}
    )
    rising = optax.linear_schedule(0.0, peak, warm)
    return optax.join_schedules(
        [rising, falling, optax.constant_schedule(0.0)], [warm, end]
    )
