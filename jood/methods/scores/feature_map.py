"""Feature Sim (FS) and its variants: how much a feature map stands out from its mean.

An ID object lights up a part of the last map; OOD images, having nothing that the
network knows, give flat ones. No classifier is needed, so this also scores the
backbone of a detection or segmentation network.

All take the map z [B, H, W, C] of a stage, or a Vision Transformer's tokens
[B, L, C] without the class token (App. B.12).
"""

from collections.abc import Callable
import functools

import chex
import jax
import jax.numpy as jnp

from jood.core import component
from jood.core import norms
from jood.core.component import Component
from jood.methods import top_k

_BLOCK = 1 << 24  # floats that are held at once: 64 MiB


def flat(feature_map: jax.Array) -> jax.Array:
    """Flattens locations: [B, H, W, C] or [B, L, C] -> float32 [B, HW, C]."""
    chex.assert_rank(feature_map, {3, 4})
    batch, channels = feature_map.shape[0], feature_map.shape[-1]
    return feature_map.reshape(batch, -1, channels).astype(jnp.float32)


def sum_over_locations(
    total: Callable[[jax.Array], jax.Array], z: jax.Array, entries: int
) -> jax.Array:
    """Sums what a function gives for blocks of locations, one block at a time.

    Args:
      total: sum over some locations, [B, R, C] -> [B].
      z: all locations, [B, HW, C].
      entries: number of floats that `total` builds for each location. Where it depends
        on a symbolic B, in an exported program, all are summed at once.
    """
    batch, locations, channels = z.shape
    if not isinstance(entries, int):
        return total(z)
    size = max(1, min(locations, _BLOCK // entries))
    whole = locations // size * size
    blocks = z[:, :whole].reshape(batch, -1, size, channels).swapaxes(0, 1)
    result = jax.lax.map(total, blocks).sum(0) if len(blocks) > 1 else total(blocks[0])
    return result + total(z[:, whole:]) if whole < locations else result


def mean_absolute_deviation(feature_map: jax.Array, axis: int = 1) -> jax.Array:
    """mean_{C,H,W} |z - mean_HW z|, Eq. 2-4, or for axis 2 |z - mean_C z|, Table 15.

    [B, H, W, C] -> float32 [B]; axis is that of z [B, HW, C].
    """
    z = flat(feature_map)
    return jnp.abs(z - z.mean(axis, keepdims=True)).mean(axis=(1, 2))


def median_absolute_deviation(feature_map: jax.Array) -> jax.Array:
    """mean_C median_HW |z - median_HW z|, Table 15; [B, H, W, C] -> float32 [B]."""
    z = flat(feature_map)
    deviation = jnp.abs(z - top_k.median(z, axis=1))
    return top_k.median(deviation, axis=1).mean(axis=(1, 2))


def standard_deviation(feature_map: jax.Array) -> jax.Array:
    """mean_C std_HW z, Table 15; [B, H, W, C] -> float32 [B]."""
    z = flat(feature_map)
    deviation = z - z.mean(axis=1, keepdims=True)
    return (norms.l2(deviation, axis=1) / jnp.sqrt(z.shape[1])).mean(axis=-1)


@component.row("FS")
def feature_sim(stage: str = "C5") -> Component:
    """Feature Sim: S = 1/(CHW) Σ_c Σ_i |z_i^(c) - μ^(c)|, μ^(c) = mean_i z_i^(c).

    Args:
      stage: stage whose map is read; the paper's choice is C5 (Table 3).

    Returns:
      A score component, in units of the map, >= 0.

    Raises:
      ValueError: stage is not a stage name.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Eq. 2-4, Tables 1, 3.
    """
    return _score("feature_sim", stage, mean_absolute_deviation)


@component.row("FS+TA (median)", "ta(k={k})|feature_sim_median()")
def feature_sim_median(stage: str = "C5") -> Component:
    """Median absolute deviation over locations, averaged over channels.

    Arguments and result are as for `feature_sim`; it is 0 where a ReLU map is zero at
    more than half of its locations in every channel.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Table 15, row 2.
    """
    return _score("feature_sim_median", stage, median_absolute_deviation)


@component.row("FS+TA (std)", "ta(k={k})|feature_sim_std()")
def feature_sim_std(stage: str = "C5") -> Component:
    """Standard deviation over locations, averaged over channels.

    Arguments and result are as for `feature_sim`.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Table 15, row 3.
    """
    return _score("feature_sim_std", stage, standard_deviation)


@component.row("FS+TA (channel)", "ta(k={k})|feature_sim_channel()")
def feature_sim_channel(stage: str = "C5") -> Component:
    """Channel mean absolute deviation: the mean is taken over channels instead.

    Arguments and result are as for `feature_sim`.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Table 15, row 4.
    """
    deviation = functools.partial(mean_absolute_deviation, axis=2)
    return _score("feature_sim_channel", stage, deviation)


def _score(
    name: str, stage: str, of_map: Callable[[jax.Array], jax.Array]
) -> Component:
    component.check_stage(stage)
    spec = component.call_spec(name, stage=stage)
    return component.score(spec, lambda acts: of_map(acts.stage(stage)), (stage,))
