"""ASH-P, ASH-B, ASH-S: prune small activations, then reshape what is left.

Slot feature, applied to the pooled feature as the authors do: `ash_s(q=0.9)|energy()`.
Of D entries the k = D - round(q D) largest are kept; s₁ is the sum before pruning
and s₂ the sum of the kept entries. With a stage, slot stage: the D = H W C entries of
its map, and the layers after it run again: `ash_p(q=0.6, stage='C4')|feature_sim()`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import assumptions
from jood.core import component
from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.component import Component
from jood.methods import top_k

# What to use where a feature has negative entries, as a vision transformer's has.
FOR_NEGATIVE_FEATURES = (
    "For such features distances of normalised ones lead: "
    "'normalise()|mahalanobis()' (MDS++), 'normalise()|relative_mahalanobis()' "
    "(RMDS++)."
)
_Shape = Callable[[jax.Array, float], jax.Array]  # feature [B, D], q -> [B, D]


def prune(x: jax.Array, q: float) -> jax.Array:
    """ASH-P: zeroes all but the k = D - round(q D) largest entries; float32 [B, D].

    Halves round to even and ties keep the lower index, as the authors' code does.
    """
    return jnp.where(top_k.largest(x, q), x, 0.0)


def binarise(x: jax.Array, q: float) -> jax.Array:
    """ASH-B: sets the kept entries to s₁ / k, the others to 0; float32 [B, D]."""
    mask = top_k.largest(x, q)
    share = x.sum(-1, keepdims=True) / mask.sum(-1, keepdims=True)
    return jnp.where(mask, share, 0.0)


def scale(x: jax.Array, q: float) -> jax.Array:
    """ASH-S: multiplies the kept entries by exp(s₁ / s₂); float32 [B, D]."""
    pruned = prune(x, q)
    return pruned * scaling_factor(x, pruned)


def scaling_factor(x: jax.Array, pruned: jax.Array) -> jax.Array:
    """Returns exp(s₁ / s₂) of features and their kept entries, [B, D]; [B, 1].

    A feature whose kept entries sum to nothing (all zero) has the factor 1, and the
    exponent is capped at 80 so that float32 does not overflow: s₁ / s₂ is at most
    1 / (1 - q) for non-negative features.
    """
    before = x.sum(-1, keepdims=True)  # s1, [B, 1]
    after = pruned.sum(-1, keepdims=True)  # s2, [B, 1]
    exponent = jnp.where(after == 0, 0.0, before / jnp.where(after == 0, 1.0, after))
    return jnp.exp(jnp.minimum(exponent, 80.0))


@component.row("ASH-P", "ash_p(q=0.6)|energy()")
def ash_p(q: float = 0.6, stage: str | None = None) -> Component:
    """Keeps the largest activations, zeroes the rest (ASH-P).

    Args:
      q: fraction in (0, 1) of the entries that is removed; 0.6 on ImageNet.
      stage: the stage whose map [H, W, C] is shaped, an activated one; None shapes
        the pooled feature, as the authors do. Feature Sim compares ASH-P after C4
        with Threshold Activation there.

    Returns:
      A component of slot 'feature', or of slot 'stage' if one is given; nothing is
      fitted.

    Raises:
      ValueError: q is not a fraction in (0, 1), or stage is not a stage name.

    References:
      Djurisic, Bozanic, Ashok, Liu, ASH, ICLR 2023, Algorithm 1; on a map: Feature Map
      Matters in Out-of-Distribution Detection, App. E.2, Table 19, Fig. 11.
    """
    return _shaping("ash_p", prune, q, stage)


@component.row("ASH-B", "ash_b(q=0.65)|energy()")
def ash_b(q: float = 0.65, stage: str | None = None) -> Component:
    """Keeps the largest activations, each at their common share s₁ / k (ASH-B).

    Result and errors are those of `ash_p`.

    Args:
      q: fraction in (0, 1) of the entries that is removed; 0.65 on ImageNet, which
        is also the ASH of Feature Sim (its row equals ASH-B's published one).
      stage: as in `ash_p`.

    References:
      Djurisic, Bozanic, Ashok, Liu, ASH, ICLR 2023, Algorithm 2.
    """
    return _shaping("ash_b", binarise, q, stage)


@component.row("ASH-S", "ash_s(q=0.9)|energy()")
def ash_s(q: float = 0.9, stage: str | None = None) -> Component:
    """Keeps the largest activations, times exp(s₁ / s₂) (ASH-S).

    Result and errors are those of `ash_p`.

    Args:
      q: fraction in (0, 1) of the entries that is removed; 0.9 on ImageNet. In a
        narrow feature this leaves very few, and the factor then says little about ID:
        on the embedded benchmark (D = 64, six entries left) noise scores above ID.
      stage: as in `ash_p`.

    References:
      Djurisic, Bozanic, Ashok, Liu, ASH, ICLR 2023, Algorithm 3.
    """
    return _shaping("ash_s", scale, q, stage)


def reshaped(acts: Activations, shape: _Shape, q: float, method: str) -> Activations:
    """Rewrites the feature to `shape(h, q)`, assuming that h is not negative."""
    _assume_activated(acts.penultimate, method)
    return acts.with_penultimate(shape(acts.penultimate, q))


def shaped_map(feature_map: jax.Array, shape: _Shape, q: float) -> jax.Array:
    """Shapes a map of [B, ...], all entries of an image together; in its dtype."""
    flat = feature_map.reshape(len(feature_map), -1).astype(jnp.float32)  # [B, HWC]
    return shape(flat, q).reshape(feature_map.shape).astype(feature_map.dtype)


def _shaping(name: str, shape: _Shape, q: float, stage: str | None) -> Component:
    arguments.check_fraction("q", q)
    spec = component.call_spec(name, q=q, stage=stage)
    if stage is None:
        return component.stateless(
            spec, "feature", lambda acts: reshaped(acts, shape, q, spec)
        )
    component.check_stage(stage)
    edit = StageEdit(spec, stage, lambda x: shaped_map(x, shape, q))

    def apply(acts: Activations) -> Activations:
        if stage in acts.stages:
            _assume_activated(acts.stages[stage], spec)
        return acts.edit(spec)

    return component.stateless(spec, "stage", apply, edits=((edit,),))


def _assume_activated(values: jax.Array, method: str) -> None:
    assumptions.assume_non_negative(
        values,
        method,
        "the paper shapes features that passed a ReLU (ASH, Algorithms 1-3; SCALE, "
        "ICLR 2024), whose sums s1 and s2 have no cancelling terms. "
        + FOR_NEGATIVE_FEATURES,
    )
