"""ActSub: the classifier's head splits a feature into two parts, and both are scored.

The decisive part of a feature lies in the directions with the largest singular values
of the head's weights and makes the logits; shaped, it gives an energy. The
insignificant rest changes the logits little, so training leaves it alone: its cosine to
the training images' rest says whether the image is of their kind.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import activations
from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Pass
from jood.core.component import Statistic
from jood.core.stats import reservoir
from jood.methods import nearest_neighbors
from jood.methods.transforms import ash

Shape = Literal["scale", "ash_s"]
_SHAPES: dict[str, Callable[[jax.Array, Any], jax.Array]] = {
    "scale": lambda h, q: h * ash.scaling_factor(h, ash.prune(h, q)),
    "ash_s": ash.scale,
}


@component.row("ActSub", "actsub({actsub})")
def actsub(
    k: int | None = None,
    shape: Shape = "scale",
    q: float = 0.95,
    lam: float = 2.0,
    neighbours: int = 10,
    capacity: int = reservoir.CAPACITY,
) -> Component:
    """Energy of the decisive part times the kinship of the rest: S = e · i^λ.

    The v_j are the singular vectors of the head's weights (not centred) on the side of
    the feature, in the order of the singular values. P h = Σ_{j<=k} v_j v_jᵀ h is the
    decisive part and h - P h the insignificant one. e = logsumexp(Wᵀ shape(P h) + b),
    and i = -log(1 - c), c the mean of the largest cosines between h - P h and those of
    training images. A negative c counts as 0 and 1 - c is at least 1e-6, so that S is
    finite.

    Args:
      k: dimension of the decisive subspace, at most the rank of the head. None fits
        it: the one for which both parts are of equal mean length in training. (The
        authors' code looks further than the rank, where the split is arbitrary.)
      shape: shaping of the decisive part, 'scale' or 'ash_s'.
      q: fraction in (0, 1) that the shaping leaves out; 0.95 is the authors' for
        ResNet-50, with 'scale'.
      lam: exponent λ >= 0; 2 is the authors' for ResNet-50, 1 for ViT; may be traced.
      neighbours: number of cosines that are averaged; 10 in the authors' code.
      capacity: number of training features that are kept, a uniform sample of all.

    Returns:
      A score component, in units of the logits. It fits the decisive basis, float32
      [D, k], and a bank of unit insignificant parts, float32 [min(N, capacity), D], in
      three passes.

    Raises:
      ValueError: a value is out of its range; while fitting, if k is above the rank of
        the head or there are fewer training examples than neighbours.

    References:
      Zongur, Hesse, Roth, ActSub (Activation Subspaces for Out-of-Distribution
      Detection), ICCV 2025, the decisive and the insignificant component.
    """
    if shape not in get_args(Shape):
        choices = ", ".join(get_args(Shape))
        raise ValueError(f"shape must be one of {choices}, got {shape=}.")
    arguments.check_fraction("q", q)
    arguments.check_at_least("lam", lam, 0)
    spec = component.call_spec(
        "actsub",
        k=k,
        shape=shape,
        q=q,
        lam=lam,
        neighbours=neighbours,
        capacity=capacity,
    )

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        _, basis, bank = fitted
        shaped = _SHAPES[shape](decisive(basis, acts.penultimate), q)
        logits = activations.linear(shaped, acts.kernel, acts.bias)
        kinship = insignificance(basis, bank, acts, neighbours)
        return jax.nn.logsumexp(logits, axis=-1) * kinship**lam

    passes = learned(k, neighbours, capacity, spec)
    return component.build(spec, "score", apply, passes)


def learned(
    k: int | None, neighbours: int, capacity: int, name: str
) -> tuple[Pass, ...]:
    """Checks what decides the two parts, and returns the passes that fit them."""
    if k is not None:
        arguments.check_count("k", k)
    # Checks neighbours and capacity, too.
    nearest_neighbors.bank(lambda acts: acts.penultimate, neighbours, capacity)
    return (
        lambda _: _singular_vectors(k, name),
        lambda fitted: _split(fitted[0], k),
        lambda fitted: nearest_neighbors.bank(
            lambda acts: _rest(fitted[1], acts), neighbours, capacity
        ),
    )


def decisive(basis: Any, h: jax.Array) -> jax.Array:
    """P h of features [B, D] and a basis [D, k]; float32 [B, D]."""
    return _product(_product(h, jnp.asarray(basis)), jnp.asarray(basis).T)


def insignificance(basis: Any, bank: Any, acts: Activations, count: int) -> jax.Array:
    """I = -log(1 - c), c the mean of the `count` largest cosines; float32 [B]."""
    cosines, _ = nearest_neighbors.best(_rest(basis, acts), bank, count)
    return -jnp.log(jnp.clip(1 - cosines.mean(-1), 1e-6, 1.0))


def _rest(basis: Any, acts: Activations) -> jax.Array:
    """The direction of h - P h, float32 [B, D]."""
    h = acts.penultimate
    return nearest_neighbors.normalised(h - decisive(basis, h))


def _singular_vectors(k: int | None, name: str) -> Statistic:
    """Pass 0: left singular vectors of the kernel [D, K], float32 [D, rank]."""

    def finalize(_: Any, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        vectors, singular, _ = np.linalg.svd(kernel, full_matrices=False)
        rank = int((singular > 1e-6 * singular[:1]).sum())
        if rank < (k or 1):
            raise ValueError(
                f"{name}: the head's weights have rank {rank}, so there are at most "
                f"that many decisive directions. Give a smaller k, or leave it out."
            )
        return vectors[:, :rank].astype(np.float32)

    nothing = stats.sums(lambda acts, mask: mask.sum())
    return stats.with_head(nothing, finalize)


def _split(vectors: np.ndarray, k: int | None) -> Statistic:
    """Pass 1: the decisive basis, float32 [D, k]."""
    if k is not None:
        nothing = stats.sums(lambda acts, mask: mask.sum())
        return nothing._replace(finalize=lambda state: vectors[:, :k])

    def lengths(acts: Activations) -> jax.Array:
        """‖P h‖ and ‖h - P h‖ for every k, [B, 2 rank]."""
        h = acts.penultimate
        squares = jnp.cumsum(jnp.square(_product(h, jnp.asarray(vectors))), axis=-1)
        whole = jnp.square(h).sum(-1, keepdims=True)
        rest = jnp.maximum(whole - squares, 0.0)
        return jnp.sqrt(jnp.concatenate([squares, rest], axis=-1))

    mean = stats.mean(lengths)

    def finalize(state: Any) -> np.ndarray:
        inside, outside = np.split(mean.finalize(state), 2)
        return vectors[:, : int(np.argmin(np.abs(inside - outside))) + 1]

    return mean._replace(finalize=finalize)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")
