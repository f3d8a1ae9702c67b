"""Mergeable streaming summaries: sums, class means, first and second moments.

Each function returns a `Statistic` of a value read from the activations. States are
small pytrees of arrays that neither grow with the number of examples nor depend on
their order; padded rows do not count. `finalize` gives the state in float64 on the
host; components replace it (`stats.moments(...)._replace(finalize=...)`).
"""

from collections.abc import Callable
from typing import Any
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.activations import Activations
from jood.core.component import Statistic

Measure = Callable[[Activations], jax.Array]
State = dict[str, Any]


def sums(measure: Callable[[Activations, jax.Array], Any]) -> Statistic:
    """Sums over examples: `measure(acts, mask)` returns a pytree of masked sums."""
    return _merging(measure, lambda a, b: jax.tree.map(jnp.add, a, b))


def moments(measure: Measure) -> Statistic:
    """Count, mean and centred sum of squares of each of D values, by Chan's update.

    The state is {'count': int32 [], 'mean': [D], 'm2': [D]}, where m2 is
    Σ (x - mean)²: no large squares are subtracted, so float32 is enough.

    Args:
      measure: activations -> float [B, D].
    """

    def batch(acts: Activations, mask: jax.Array) -> State:
        summary, centred = _centred(measure(acts), mask)
        return {**summary, "m2": jnp.square(centred).sum(0)}

    def merge(a: State, b: State) -> State:
        both, delta, share = _merged_means(a, b)
        correction = jnp.square(delta) * a["count"] * share
        return {**both, "m2": a["m2"] + b["m2"] + correction}

    return _merging(batch, merge)


def mean(measure: Measure) -> Statistic:
    """The mean of each of D values, finalized to float32 [D]; see `moments`.

    It squares nothing, so values may be as large as float32 holds.
    """
    return _merging(
        lambda acts, mask: _centred(measure(acts), mask)[0],
        lambda a, b: _merged_means(a, b)[0],
    )._replace(finalize=lambda state: np.asarray(state["mean"], np.float32))


def second_moments(measure: Measure) -> Statistic:
    """Count, mean and centred scatter matrix of D values, by Chan's update.

    The state is {'count': int32 [], 'mean': [D], 'scatter': [D, D], 'rest': [D, D]},
    where scatter + rest is Σ (x - mean)(x - mean)ᵀ and rest what float32 rounds off:
    the small eigenvalues of a million examples would be lost in it. A finalized
    state has no rest.

    Args:
      measure: activations -> float [B, D].
    """

    def batch(acts: Activations, mask: jax.Array) -> State:
        summary, centred = _centred(measure(acts), mask)
        scatter = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST)
        return {**summary, "scatter": scatter, "rest": jnp.zeros_like(scatter)}

    def merge(a: State, b: State) -> State:
        both, delta, share = _merged_means(a, b)
        correction = jnp.outer(delta, delta) * (a["count"] * share)[None]
        scatter, lost = _two_sum(a["scatter"], b["scatter"])
        scatter, lost_too = _two_sum(scatter, correction)
        rest = a["rest"] + b["rest"] + lost + lost_too
        return {**both, "scatter": scatter, "rest": rest}

    def finalize(state: State) -> State:
        state = _float64(state)
        rest = state.pop("rest")
        return {**state, "scatter": state["scatter"] + rest}

    return _merging(batch, merge)._replace(finalize=finalize)


def by_label(acts: Activations) -> jax.Array:
    """Returns the label of each example, int32 [B], or raises ValueError if unknown."""
    if acts.labels is None:
        raise ValueError(
            "this method learns something per class and needs labels, but the "
            "activations carry none. Pass batches with labels: (images, labels)."
        )
    return acts.labels


def class_means(measure: Measure, classes: Measure = by_label) -> Statistic:
    """Mean of each class, kept as running means so that float32 lasts.

    The state is {'count': int32 [K], 'mean': [K, D]}.

    Args:
      measure: activations -> float [B, D].
      classes: activations -> int32 [B], the class of each example, by default its
        label; -1 skips an example.
    """

    def batch(acts: Activations, mask: jax.Array) -> State:
        width = acts.logits.shape[-1]
        member = jax.nn.one_hot(classes(acts), width) * mask[:, None]  # [B, K]
        count = member.sum(0)
        x = _unpadded(measure(acts), mask)
        total = jnp.matmul(member.T, x, precision=jax.lax.Precision.HIGHEST)  # [K, D]
        mean = total / jnp.maximum(count, 1.0)[:, None]
        return {"count": count.astype(jnp.int32), "mean": mean}

    return _merging(batch, lambda a, b: _merged_means(a, b)[0])


def with_head(statistic: Statistic, finalize: Callable[..., Any]) -> Statistic:
    """Lets `finalize` read the classifier head: a statistic carries it along.

    Args:
      statistic: statistic that carries the head along.
      finalize: (the finalized statistic, kernel float64 [D, K], bias [K]) -> fitted.
    """

    def init(acts: Activations) -> State:
        head = (jnp.zeros(acts.kernel.shape), jnp.zeros(acts.bias.shape))
        inner = statistic.init(acts)
        return {"inner": inner, "head": head, "seen": jnp.zeros((), bool)}

    def update(state: State, acts: Activations, mask: jax.Array) -> State:
        inner = statistic.update(state["inner"], acts, mask)
        head = (acts.kernel, acts.bias)
        return {"inner": inner, "head": head, "seen": jnp.ones((), bool)}

    def merge(a: State, b: State) -> State:
        # An empty state has seen no head; all others have seen the same.
        head = jax.tree.map(
            lambda x, y: jnp.where(a["seen"], x, y), a["head"], b["head"]
        )
        inner = statistic.merge(a["inner"], b["inner"])
        return {"inner": inner, "head": head, "seen": a["seen"] | b["seen"]}

    def finish(state: State) -> Any:
        return finalize(statistic.finalize(state["inner"]), *_float64(state["head"]))

    return Statistic(init, update, merge, finish)


def check_classes(count: Any, method: str, needed: int, consequence: str) -> None:
    """Warns of the classes with fewer than `needed` training examples.

    Args:
      count: int [K], examples per class.
      method: name of the method, for messages.
      needed: number of examples that a class needs.
      consequence: sentence on what is done about such classes.

    Raises:
      ValueError: no class has enough.
    """
    few = np.flatnonzero(np.asarray(count) < needed)
    if len(few) == np.size(count):
        raise ValueError(
            f"{method} needs at least {needed} training example(s) of a class, but "
            f"none of the {len(few)} classes has as many. Fit on more labelled data."
        )
    if len(few):
        shown = ", ".join(str(k) for k in few[:8]) + ", ..." * (len(few) > 8)
        warnings.warn(
            f"{method} needs at least {needed} training example(s) per class; "
            f"{len(few)} of {np.size(count)} classes have fewer (class {shown}). "
            f"{consequence}",
            stacklevel=2,
        )


def variance(state: State) -> np.ndarray:
    """Returns the variance m2 / count, float64 [D], of a `moments` state."""
    return np.asarray(state["m2"], np.float64) / max(int(state["count"]), 1)


def _merging(
    batch: Callable[[Activations, jax.Array], Any], merge: Callable[[Any, Any], Any]
) -> Statistic:
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


def _centred(x: jax.Array, mask: jax.Array) -> tuple[State, jax.Array]:
    """Count and mean of x [B, D], and x - mean with padded rows at 0."""
    x = _unpadded(x, mask)
    count = mask.sum()
    mean = x.sum(0) / jnp.maximum(count, 1.0)
    centred = (x - mean[None]) * mask[:, None]  # the mask is 0 or 1
    return {"count": count.astype(jnp.int32), "mean": mean}, centred


def _merged_means(a: State, b: State) -> tuple[State, jax.Array, jax.Array]:
    """Count and mean of both, the difference of the means, and b's share."""
    count = a["count"] + b["count"]
    share = (b["count"] / jnp.maximum(count, 1))[..., None]
    delta = b["mean"] - a["mean"]
    return {"count": count, "mean": a["mean"] + delta * share}, delta, share


def _unpadded(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns x [B, D] in float32 with padded rows at 0; NaN x 0 would be NaN."""
    return jnp.where(mask[:, None] > 0, x.astype(jnp.float32), 0.0)


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a + b in float32 and exactly what it rounds off (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _float64(state: Any) -> Any:
    def convert(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf

    return jax.tree.map(convert, state)
