"""OptFS: the shaping function that separates best, learned from ID images alone.

ReAct, ASH and others multiply an activation by some function of its size. Here that
function is a step function over equal bins of sizes, and its optimal steps have a
closed form. Slot feature: `optfs()|energy()`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import order_statistics

_SCALE = 1000.0  # of θ, as in the authors' code; Energy depends on it by the bias


@component.row("OptFS", "optfs()|energy()")
def optfs(bins: int = 100, low: float = 0.001, high: float = 0.999) -> Component:
    """Multiplies each entry by the factor of its bin: ĥ_d = θ_j h_d, h_d in bin j.

    The bins are of equal width, from the `low` to the `high` quantile of all training
    activations; entries outside become 0. I_j is the mean over the training images of
    Σ_d W_dc h_d over the entries in bin j, c the predicted class, and
    θ = 1000 I / ‖I‖₂.

    Args:
      bins: number of bins, at least 1; the authors' code may have one more, by
        rounding of its last edge, and so has this.
      low: fraction in (0, 1): the quantile at which the bins begin.
      high: fraction in (low, 1): the quantile at which they end.

    Returns:
      A component of slot 'feature'. It fits the bins, their left edges and θ, float32
      [bins], in three passes: exact quantiles take two.

    Raises:
      ValueError: a value is out of its range; while fitting, if both quantiles are
        equal.

    References:
      Zhao, Xu, Gupta, Asthana, Zheng, Gould, OptFS (Towards Optimal Feature-Shaping
      Methods for Out-of-Distribution Detection), ICLR 2024, the optimal θ*.
    """
    arguments.check_count("bins", bins)
    arguments.check_fraction("low", low)
    arguments.check_fraction("high", high)
    if not low < high:
        raise ValueError(f"low must be below high, got {low=}, {high=}.")
    spec = component.call_spec("optfs", bins=bins, low=low, high=high)

    def feature(acts: Activations) -> jax.Array:
        return acts.penultimate

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        h, theta = acts.penultimate, jnp.asarray(fitted[2])
        bin_of, inside = _binned(fitted[1], h)
        return acts.with_penultimate(jnp.where(inside, theta[bin_of] * h, 0.0))

    passes = (
        lambda _: order_statistics.brackets(feature, (low, high)),
        lambda fitted: _edges(order_statistics.within(feature, fitted[0]), bins, spec),
        lambda fitted: _factors(fitted[1]),
    )
    return component.build(spec, "feature", apply, passes)


def _edges(ends: Statistic, bins: int, name: str) -> Statistic:
    """Pass 1: the left edges, float32 [J], and the right end of the last bin."""

    def finalize(state: Any) -> dict[str, np.ndarray]:
        low, high = ends.finalize(state).astype(np.float32)
        if not low < high:
            raise ValueError(
                f"{name}: both quantiles of the training features are {low:g}, so "
                "there are no bins. Give quantiles further apart."
            )
        width = (high - low) / np.float32(bins)
        count = int(np.ceil((high - low) / width))  # in float32, as the authors do
        edges = low + float(width) * np.arange(count + 1)
        return {"left": edges[:-1].astype("f"), "end": edges[-1].astype("f")}

    return ends._replace(finalize=finalize)


def _factors(edges: dict[str, Any]) -> Statistic:
    """Pass 2: θ, float32 [J]."""

    def contributions(acts: Activations) -> jax.Array:
        h = acts.penultimate
        terms = acts.kernel[:, acts.prediction].T * h  # W_dc h_d, [B, D]
        bin_of, inside = _binned(edges, h)
        rows = jnp.arange(h.shape[0])[:, None]
        zeros = jnp.zeros((h.shape[0], len(edges["left"])))
        return zeros.at[rows, bin_of].add(jnp.where(inside, terms, 0.0))  # [B, J]

    mean = stats.mean(contributions)

    def finalize(state: Any) -> np.ndarray:
        means = np.asarray(state["mean"], np.float64)
        length = np.linalg.norm(means)
        return (_SCALE * means / (length or 1.0)).astype(np.float32)

    return mean._replace(finalize=finalize)


def _binned(edges: dict[str, Any], h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bin of each entry, int32 [B, D], and whether it is in one."""
    left = jnp.asarray(edges["left"])
    index = jnp.searchsorted(left, h, side="right") - 1
    inside = (index >= 0) & (h < edges["end"])
    return jnp.clip(index, 0, len(left) - 1), inside
