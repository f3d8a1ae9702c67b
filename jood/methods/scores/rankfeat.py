"""RankFeat: remove the strongest direction of a map, and score what is left.

The first singular component of an OOD image's map explains more of its logits than
that of an ID image. The layers after the map run again without it, by stage edits.
"""

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.component import Component
from jood.methods.scores.feature_map import flat

_SQUARINGS = 4  # G -> G^16; each costs as much as HW products of G and a vector
_PRODUCTS = 16  # with G^16: as many as 256 power iterations, error (σ2 / σ1)^512


def remove_first_component(feature_map: jax.Array) -> jax.Array:
    """X - σ₁ u₁ v₁ᵀ of the map X [HW, C] of each image.

    u₁ comes from power iteration on the Gram matrix X Xᵀ (or Xᵀ X, whichever is
    smaller), from its column of largest diagonal: no decomposition and no chance. If
    the first two singular values are equal, some direction of theirs is removed. A
    zero map stays as it is. [B, H, W, C] or [B, L, C] -> float32 of the same shape.
    """
    x = flat(feature_map)
    wide = x.shape[1] <= x.shape[2]
    rest = _deflated(x) if wide else _deflated(x.swapaxes(1, 2)).swapaxes(1, 2)
    return rest.reshape(feature_map.shape)


def _deflated(x: jax.Array) -> jax.Array:
    """Returns x [B, M, N], M <= N, without its first singular component."""
    largest = jnp.abs(x).max(axis=(1, 2), keepdims=True)
    scaled = x / jnp.where(largest > 0, largest, 1.0)  # squares stay in float32
    gram = _normalised(_product(scaled, scaled.swapaxes(1, 2)))  # [B, M, M]
    column = jnp.argmax(jnp.diagonal(gram, axis1=1, axis2=2), axis=-1)
    start = jnp.take_along_axis(gram, column[:, None, None], axis=2)  # [B, M, 1]
    for _ in range(_SQUARINGS):
        gram = _normalised(_product(gram, gram))
    u = _unit(start)
    u = jax.lax.fori_loop(0, _PRODUCTS, lambda _, u: _unit(_product(gram, u)), u)
    return x - _product(u, _product(u.swapaxes(1, 2), x))


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")


def _normalised(gram: jax.Array) -> jax.Array:
    """A Gram matrix over its trace; zero stays zero."""
    trace = jnp.trace(gram, axis1=1, axis2=2)[:, None, None]
    return gram / jnp.where(trace > 0, trace, 1.0)


def _unit(u: jax.Array) -> jax.Array:
    return norms.unit(u, axis=1)


@component.row("RankFeat")
def rankfeat(stages: tuple[str, ...] = ("C4", "C5"), T: float = 1.0) -> Component:
    """RankFeat: S = T · logsumexp(f̄ / T), f̄ = mean over stages of f(X - σ₁ u₁ v₁ᵀ).

    X is the C x HW matrix of a stage's map. Each stage is changed in a run of its own.

    Args:
      stages: stages whose maps lose their first component; the paper's are the last
        two.
      T: temperature above 0; may be traced.

    Returns:
      A score component, in units of the logits. It starts from a stage's map, so only
      stage edits, such as Threshold Activation, may stand before it.

    Raises:
      ValueError: stages is not a tuple of distinct stage names, or T is not above 0.

    References:
      Song, Sebe, Wang, RankFeat, NeurIPS 2022, Sec. 2.
    """
    arguments.check_positive("T", T)
    if not isinstance(stages, tuple) or not stages or len(set(stages)) < len(stages):
        raise ValueError(
            f"stages must be a tuple of distinct names, such as ('C5',), got {stages=}."
        )
    for stage in stages:
        component.check_stage(stage)
    edits = tuple(
        (StageEdit(f"rankfeat(stage={stage!r})", stage, remove_first_component),)
        for stage in stages
    )

    def score(acts: Activations) -> jax.Array:
        logits = sum(acts.edit(edit.spec).logits for (edit,) in edits) / len(edits)
        return T * jax.nn.logsumexp(logits / T, axis=-1)

    spec = component.call_spec("rankfeat", stages=stages, T=T)
    return component.stateless(spec, "score", score, edits)._replace(entry="stage")
