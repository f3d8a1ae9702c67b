"""OpenMax: a class of its own for what is unusually far from every class's mean.

The largest distances of a class's training images to their mean follow a Weibull
distribution. An image that is far out on it takes logit from its class, and gives it to
the class 'unknown'.
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
from jood.methods.scores.she import patterns
from jood.methods.scores.she import with_correct


@component.row("OpenMax")
def openmax(alpha: int = 3, tail: int = 20) -> Component:
    """Minus the probability of the class 'unknown': S = -p_unknown.

    μ_k is the mean of the logits of the training images with label k that are
    predicted as k, d_k = ‖f - μ_k‖₂, and w_k = 1 - exp(-((d_k - τ_k + 1) / s_k)^c_k), a
    Weibull distribution fitted to the `tail` largest of their distances, the smallest
    of which is τ_k. The alpha largest logits lose f̂_k = f_k (1 - w_k ω_k),
    ω = (alpha - rank) / alpha with ranks from 0, and 'unknown' gets Σ_k f_k w_k ω_k;
    p is the softmax over K + 1 classes.

    A class without correct training images takes the mean of its labelled ones, or of
    all; one with fewer than two distances has w_k = 0. `fit` warns of both.

    Args:
      alpha: number of classes that are revised, at least 1; more than K count as K.
      tail: number of distances that the distribution is fitted to, at least 2.

    Returns:
      A score component, in [-1, 0]. It fits μ, float32 [K, K], and the distributions,
      float32 [K, 3], in two passes, and needs labels.

    Raises:
      ValueError: alpha or tail is too small; while fitting, if there are no labels.

    References:
      Bendale, Boult, OpenMax (Towards Open Set Deep Networks), CVPR 2016, Algorithms 1
      and 2.
    """
    arguments.check_count("alpha", alpha)
    arguments.check_count("tail", tail)
    if tail < 2:
        raise ValueError(f"tail must be at least 2 to have a spread, got {tail=}.")
    spec = component.call_spec("openmax", alpha=alpha, tail=tail)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        f, count = acts.logits, min(alpha, acts.logits.shape[-1])
        _, top = jax.lax.top_k(f, count)  # [B, alpha]
        chosen = jnp.take_along_axis(f, top, axis=-1)
        w = _probabilities(fitted, f, top)
        moved = chosen * w * ((alpha - jnp.arange(count)) / alpha)[None]
        rows = jnp.arange(f.shape[0])[:, None]
        revised = f.at[rows, top].add(-moved)  # [B, K]
        unknown = moved.sum(-1)
        both = jnp.concatenate([revised, unknown[:, None]], axis=-1)
        return -jnp.exp(unknown - jax.nn.logsumexp(both, axis=-1))

    passes = (
        lambda _: _means(spec),
        lambda fitted: _tails(jnp.asarray(fitted[0]), tail, spec),
    )
    return component.build(spec, "score", apply, passes, needs_labels=True)


def _probabilities(
    fitted: tuple[Any, ...], f: jax.Array, classes: jax.Array
) -> jax.Array:
    """w_k of logits [B, K] for some classes int [B, A]; float32 [B, A]."""
    means, weibull = (jnp.asarray(value) for value in fitted)

    def of_one(rank: Any) -> jax.Array:
        k = classes[:, rank]
        scale, shape, start = weibull[k].T  # each [B]
        beyond = jnp.maximum(norms.l2(f - means[k]) - start + 1, 0.0)
        return -jnp.expm1(-((beyond / scale) ** shape))

    return jax.lax.map(of_one, jnp.arange(classes.shape[1])).T


def _means(name: str) -> Statistic:
    """Pass 0: the mean logits of each class, float32 [K, K]."""

    def measure(acts: Activations) -> jax.Array:
        return with_correct(acts, acts.logits)

    means = stats.class_means(measure)
    return means._replace(finalize=lambda s: patterns(name, **means.finalize(s)))


def _tails(means: jax.Array, tail: int, name: str) -> Statistic:
    """Pass 1: [scale, shape, smallest distance] of each class, float32 [K, 3]."""
    classes = len(means)

    def largest(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.top_k(jnp.concatenate([a, b], axis=-1), tail)[0]

    def update(state: jax.Array, acts: Activations, mask: jax.Array) -> jax.Array:
        label = stats.by_label(acts)
        counts = (label == acts.prediction) & (mask > 0)
        distance = norms.l2(acts.logits - means[label])  # [B]
        own = (label[None] == jnp.arange(classes)[:, None]) & counts[None]  # [K, B]
        return largest(state, jnp.where(own, distance[None], -jnp.inf))

    def finalize(state: Any) -> np.ndarray:
        tails = [row[np.isfinite(row)] for row in np.asarray(state, np.float64)]
        few = sum(len(t) < 2 for t in tails)
        if few:
            warnings.warn(
                f"{name} fits a distribution to the distances of a class, which takes "
                f"two correctly classified training images; {few} of {classes} classes "
                "have fewer, and give no image to the unknown class.",
                stacklevel=2,
            )
        return np.array([weibull(t) for t in tails], np.float32)

    def empty(acts: Activations) -> jax.Array:
        return jnp.full((classes, tail), -jnp.inf)

    return Statistic(empty, update, largest, finalize)


def weibull(tail: np.ndarray) -> tuple[float, float, float]:
    """Fits a Weibull distribution to distances d - min d + 1 by maximum likelihood.

    Args:
      tail: the largest distances of a class, float64 [T].

    Returns:
      Scale, shape and min d. For fewer than two distances, or equal ones, of a
      distribution that lies far beyond: its probabilities are 0.
    """
    if len(tail) < 2 or np.ptp(tail) < 1e-6 * max(tail.max(), 1e-6):
        return 1e30, 1.0, float(tail.min()) if len(tail) else 0.0
    logs = np.log(tail - tail.min() + 1)

    def slope(shape: float) -> float:
        """Σ x^c log x / Σ x^c - mean log x - 1 / c, which grows with c."""
        weights = np.exp(shape * (logs - logs.max()))
        return float(weights @ logs / weights.sum() - logs.mean() - 1 / shape)

    low, high = 1e-3, 1.0
    while slope(high) < 0:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    size = np.exp(high * (logs - logs.max())).mean() ** (1 / high)
    return float(size * np.exp(logs.max())), high, float(tail.min())
