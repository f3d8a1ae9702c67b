"""Mergeable streaming summaries: sums, class means, first and second moments.

Each function returns a `Statistic` over some value that it reads from the
activations. States are small pytrees of arrays that neither grow with the number of
examples nor depend on their order; masked (padded) rows count nothing. `finalize`
gives the state in float64 on the host; components replace it by their own
(`stats.moments(...)._replace(finalize=...)`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.activations import Activations
from jood.core import Statistic

Measure = Callable[[Activations], jax.Array]


def _float64(state: Any) -> Any:
    def convert(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf

    return jax.tree.map(convert, state)


def _unpadded(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns x [B, D] in float32 with padded rows at 0; NaN x 0 would be NaN."""
    return jnp.where(mask[:, None] > 0, x.astype(jnp.float32), 0.0)


def sums(measure: Callable[[Activations, jax.Array], Any]) -> Statistic:
    """Sums over examples: `measure(acts, mask)` returns a pytree of masked sums.

    The state is the pytree of those sums; `merge` adds.
    """

    def init(acts: Activations) -> Any:
        mask = jax.ShapeDtypeStruct(acts.logits.shape[:1], jnp.float32)
        shapes = jax.eval_shape(measure, acts, mask)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(a: Any, b: Any) -> Any:
        return jax.tree.map(jnp.add, a, b)

    return Statistic(
        init=init,
        update=lambda state, acts, mask: add(state, measure(acts, mask)),
        merge=add,
        finalize=_float64,
    )


def moments(measure: Measure) -> Statistic:
    """Count, mean and centred sum of squares of each of D values, by Chan's update.

    The state is {'count': int32 [], 'mean': [D], 'm2': [D]}, where m2 is
    Σ (x - mean)²: no large squares are subtracted, so float32 is enough.

    Args:
      measure: activations -> float [B, D].
    """

    def batch(acts: Activations, mask: jax.Array) -> dict[str, jax.Array]:
        x = _unpadded(measure(acts), mask)  # [B, D]
        count = mask.sum()
        mean = x.sum(0) / jnp.maximum(count, 1.0)
        m2 = (jnp.square(x - mean[None]) * mask[:, None]).sum(0)
        return {"count": count.astype(jnp.int32), "mean": mean, "m2": m2}

    def merge(a: dict[str, jax.Array], b: dict[str, jax.Array]) -> dict[str, jax.Array]:
        count = a["count"] + b["count"]
        share = b["count"] / jnp.maximum(count, 1)  # of b among both
        delta = b["mean"] - a["mean"]
        correction = jnp.square(delta) * a["count"] * share
        return {
            "count": count,
            "mean": a["mean"] + delta * share,
            "m2": a["m2"] + b["m2"] + correction,
        }

    return _chan(batch, merge)


def second_moments(measure: Measure) -> Statistic:
    """Count, mean and centred scatter matrix of D values, by Chan's update.

    The state is {'count': int32 [], 'mean': [D], 'scatter': [D, D]}, where scatter
    is Σ (x - mean)(x - mean)ᵀ.

    Args:
      measure: activations -> float [B, D].
    """

    def batch(acts: Activations, mask: jax.Array) -> dict[str, jax.Array]:
        x = _unpadded(measure(acts), mask)  # [B, D]
        count = mask.sum()
        mean = x.sum(0) / jnp.maximum(count, 1.0)
        centred = (x - mean[None]) * mask[:, None]  # the mask is 0 or 1
        scatter = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST)
        return {"count": count.astype(jnp.int32), "mean": mean, "scatter": scatter}

    def merge(a: dict[str, jax.Array], b: dict[str, jax.Array]) -> dict[str, jax.Array]:
        count = a["count"] + b["count"]
        share = b["count"] / jnp.maximum(count, 1)
        delta = b["mean"] - a["mean"]
        correction = jnp.outer(delta, delta) * (a["count"] * share)
        return {
            "count": count,
            "mean": a["mean"] + delta * share,
            "scatter": a["scatter"] + b["scatter"] + correction,
        }

    return _chan(batch, merge)


def _chan(batch: Callable[..., Any], merge: Callable[..., Any]) -> Statistic:
    """A statistic whose update merges the summary of the batch into the state."""

    def init(acts: Activations) -> Any:
        mask = jax.ShapeDtypeStruct(acts.logits.shape[:1], jnp.float32)
        shapes = jax.eval_shape(batch, acts, mask)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    return Statistic(
        init=init,
        update=lambda state, acts, mask: merge(state, batch(acts, mask)),
        merge=merge,
        finalize=_float64,
    )


def variance(state: dict[str, Any]) -> np.ndarray:
    """Returns the variance m2 / count, float64 [D], of a `moments` state."""
    m2 = np.asarray(state["m2"], np.float64)
    return m2 / max(int(state["count"]), 1)


def class_means(measure: Measure) -> Statistic:
    """Mean of each class by label, kept as running means so that float32 lasts.

    The state is {'count': int32 [K], 'mean': [K, D]}. Needs labels.

    Args:
      measure: activations -> float [B, D].
    """

    def batch(acts: Activations, mask: jax.Array) -> dict[str, jax.Array]:
        if acts.labels is None:
            raise ValueError("class means need labels; the activations carry none.")
        classes = acts.logits.shape[-1]
        member = jax.nn.one_hot(acts.labels, classes) * mask[:, None]  # [B, K]
        count = member.sum(0)
        total = jnp.matmul(
            member.T,
            _unpadded(measure(acts), mask),
            precision=jax.lax.Precision.HIGHEST,
        )  # [K, D]
        mean = total / jnp.maximum(count, 1.0)[:, None]
        return {"count": count.astype(jnp.int32), "mean": mean}

    def merge(a: dict[str, jax.Array], b: dict[str, jax.Array]) -> dict[str, jax.Array]:
        count = a["count"] + b["count"]
        share = (b["count"] / jnp.maximum(count, 1))[:, None]  # [K, 1]
        return {"count": count, "mean": a["mean"] + (b["mean"] - a["mean"]) * share}

    return _chan(batch, merge)
