"""ViM and Residual: the part of the feature outside of the principal subspace.

Pass 0 finds the principal subspace of the training features around u, the point at
which the head's logits are nearest to zero; pass 1 fits ViM's weight α.
"""

from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic


@component.row("ViM")
def vim(dim: int | None = None) -> Component:
    """Virtual-logit matching: S = log Σ_k exp(f_k) - α ‖(h - u) R‖₂.

    u = -(W^T)⁺ b; R [D, D - dim] holds the eigenvectors of Σ (h - u)(h - u)^T over the
    training features with the smallest eigenvalues; α = mean max_k f_k / mean residual
    over the training images. Up to a monotone map this is the paper's softmax of the
    virtual logit.

    Args:
      dim: dimension of the principal subspace, 1 <= dim < D. If left out, the
        authors' choice: 1000 where D >= 2048, 512 where D >= 768, else D / 2.

    Returns:
      A score component, in units of the logits. It fits u, R and α, in two passes.

    Raises:
      ValueError: dim is not an integer >= 1; while fitting, if dim >= D or no training
        feature has a residual.

    References:
      Wang, Li, Feng, Zhang, ViM, CVPR 2022, Eq. 4-7.
    """
    if dim is not None:
        arguments.check_count("dim", dim)
    name = component.call_spec("vim", dim=dim)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        space, alpha = fitted
        energy = jax.nn.logsumexp(acts.logits, axis=-1)
        return energy - alpha * norm(space, acts.penultimate)

    passes = (lambda _: _subspace(name, dim), lambda fitted: _alpha(name, fitted[0]))
    return component.build(name, "score", apply, passes)


@component.row("Residual")
def residual(dim: int | None = None) -> Component:
    """Residual: S = -‖(h - u) R‖₂, the second term of `vim`.

    Args:
      dim: dimension of the principal subspace, as for `vim`.

    Returns:
      A score component, in units of the feature, <= 0. It fits u and R in one pass.

    Raises:
      ValueError: dim is not an integer >= 1; while fitting, if dim >= D.

    References:
      Wang, Li, Feng, Zhang, ViM, CVPR 2022, Eq. 4.
    """
    if dim is not None:
        arguments.check_count("dim", dim)
    name = component.call_spec("residual", dim=dim)
    return component.build(
        name,
        "score",
        lambda fitted, acts: -norm(fitted[0], acts.penultimate),
        (lambda _: _subspace(name, dim),),
        reads=("feature", "head"),
    )


def norm(space: dict[str, Any], h: jax.Array) -> jax.Array:
    """‖(h - u) R‖₂ of features [B, D]; float32 [B]."""
    centred = h.astype(jnp.float32) - space["origin"][None]
    outside = jnp.matmul(centred, space["null"], precision="highest")
    return norms.l2(outside)  # [B, D - dim] -> [B]


def default_dim(width: int) -> int:
    """The authors' dimension of the principal subspace for features of width D."""
    return 1000 if width >= 2048 else 512 if width >= 768 else width // 2


def _subspace(name: str, dim: int | None) -> Statistic:
    """Pass 0: {'origin': u [D], 'null': R [D, D - dim]}, float32."""
    moments = stats.second_moments(lambda acts: acts.penultimate)

    def finalize(state: Any, kernel: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
        width, count = len(state["mean"]), int(state["count"])
        kept = default_dim(width) if dim is None else dim
        if count < width:
            share = "all count" if count >= kept else "an arbitrary part counts"
            warnings.warn(
                f"{name} needs at least D = {width} training examples to know the "
                f"principal subspace, got N = {count}. Of the directions that they do "
                f"not span, {share} as residual.",
                stacklevel=2,
            )
        origin = -np.linalg.pinv(kernel.T) @ bias  # [D]
        offset = state["mean"] - origin
        # Around u, from what was summed around the mean.
        around = state["scatter"] + count * np.outer(offset, offset)
        _, vectors = np.linalg.eigh((around + around.T) / 2)  # ascending
        null = vectors[:, : width - kept]
        return {"origin": origin.astype(np.float32), "null": null.astype(np.float32)}

    def init(acts: Activations) -> Any:
        width = acts.penultimate.shape[-1]
        if dim is not None and dim >= width:
            raise ValueError(
                f"dim must be below D = {width}, the feature's width, got {dim=}."
            )
        return statistic.init(acts)

    statistic = stats.with_head(moments, finalize)
    return statistic._replace(init=init)


def _alpha(name: str, space: dict[str, Any]) -> Statistic:
    """Pass 1: α = mean largest logit / mean residual, float32 []."""

    def measure(acts: Activations) -> jax.Array:
        return jnp.stack([acts.logits.max(-1), norm(space, acts.penultimate)], -1)

    def finalize(state: Any) -> np.float32:
        largest, outside = np.asarray(state["mean"], np.float64)
        if not outside > 0:
            raise ValueError(
                f"{name}: no training feature has a residual to weigh against the "
                "logits. Give a smaller dim."
            )
        return np.float32(largest / outside)

    return stats.moments(measure)._replace(finalize=finalize)
