"""fDBD: how far a feature is from the decision boundaries, for its distance to m.

The boundaries are hyperplanes; the distance to one is |f_c - f_k| / ‖W_c - W_k‖.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component


@component.row("fDBD")
def fdbd() -> Component:
    """Distances to decision boundaries over the distance to the mean.

    S = Σ_{k≠c} |f_c - f_k| / ‖W_c - W_k‖₂ / ‖h - m‖₂, where c is the predicted class
    and m the mean training feature. As in the authors' code, distances are summed;
    the paper's mean is 1 / (K - 1) of that.

    Returns:
      A score component, without unit, >= 0. It fits m, float32 [D], in one pass. The
      score of a feature that is m itself is bounded as if it were 1e-8 ‖m‖ away.

    References:
      Liu, Qin, fDBD (Fast Decision Boundary based Detector), ICML 2024, the distance
      in closed form and its regularised average.
    """

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        c = acts.prediction
        own = jnp.take_along_axis(acts.logits, c[:, None], axis=-1)  # [B, 1]
        margin = jnp.abs(acts.logits - own)  # [B, K], 0 at c
        total = (margin / weight_distances(acts.kernel, c)).sum(-1)
        mean = jnp.asarray(fitted[0])[None]  # [1, D]
        deviation = norms.l2(acts.penultimate - mean)  # [B]
        least = 1e-8 * norms.l2(mean)  # [1]
        return total / jnp.maximum(deviation, jnp.where(least > 0, least, 1e-8))

    passes = (lambda _: stats.mean(lambda acts: acts.penultimate),)
    return component.build(component.call_spec("fdbd"), "score", apply, passes)


def weight_distances(kernel: jax.Array, prediction: jax.Array) -> jax.Array:
    """Returns ‖W_k - W_c‖ of W [D, K] and classes c int [B]; float32 [B, K], > 0.

    By ‖a‖² + ‖b‖² - 2 a·b, one product like the head's own. It cancels where two
    columns are nearly equal, less so about the mean column, which is taken off first;
    what rounding leaves (and the 0 of k = c) is bounded from below.
    """
    power = norms.power_of_two(kernel)  # [1, 1]
    kernel = kernel / power  # so that squares neither overflow nor vanish
    kernel = kernel - kernel.mean(-1, keepdims=True)  # [D, K], the same differences
    squares = jnp.square(kernel).sum(0)  # [K]
    cross = jnp.matmul(kernel[:, prediction].T, kernel, precision="highest")  # [B, K]
    sums = squares[prediction][:, None] + squares[None]  # [B, K]
    smallest = jnp.maximum(1e-6 * sums, 1e-12)
    return power * jnp.sqrt(jnp.maximum(sums - 2.0 * cross, smallest))
