"""SHE: how well the feature matches the stored pattern of the predicted class.

A modern Hopfield network stores patterns and gives an energy to a query; with one
pattern per class, the class's mean feature, the energy is an inner product.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component

Metric = Literal["inner_product", "euclidean", "cosine"]
METRICS = get_args(Metric)


@component.row("SHE")
def she(metric: Metric = "inner_product") -> Component:
    """Simplified Hopfield Energy: S = ⟨h, s_c⟩, c the predicted class.

    The pattern s_k is the mean feature of the training images that have the label k
    and are predicted as k. A class without such an image takes the mean of its
    labelled images, or without any the mean of all; `fit` warns of it. (The authors'
    code and its copies give NaN or fail there.)

    Args:
      metric: 'inner_product' is the paper's; 'euclidean' is -‖h - s_c‖₂ and
        'cosine' cos(h, s_c), with which the paper compares it.

    Returns:
      A score component. It fits the patterns, float32 [K, D], in one pass, and needs
      labels.

    Raises:
      ValueError: metric is none of the three.

    References:
      Zhang et al., SHE (In-Distribution Data Patterns Memorization with Modern
      Hopfield Energy), ICLR 2023, the simplified energy and its ablation of metrics.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric=}.")
    spec = component.call_spec("she", metric=metric)

    means = stats.class_means(lambda acts: with_correct(acts, acts.penultimate))

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        stored = jnp.asarray(fitted[0])[acts.prediction]  # [B, D]
        return match(acts.penultimate, stored, metric)

    statistic = means._replace(finalize=lambda s: patterns(spec, **means.finalize(s)))
    return component.build(
        spec,
        "score",
        apply,
        (lambda _: statistic,),
        reads=("feature",),
        needs_labels=True,
    )


def with_correct(acts: Activations, x: jax.Array) -> jax.Array:
    """X [B, D], again where the prediction is right, and whether it is: [B, 2D + 1].

    `patterns` makes means of correctly classified images from its class means.
    """
    right = (stats.by_label(acts) == acts.prediction).astype(x.dtype)[:, None]
    return jnp.concatenate([x, x * right, right], axis=-1)


def patterns(method: str, count: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Patterns [K, D] from class means [K, 2D + 1] of `with_correct`."""
    width = mean.shape[-1] // 2
    labelled, correct, share = np.split(mean, [width, 2 * width], axis=-1)
    method = f"{method}, which averages correctly classified images,"
    consequence = "The mean of its labelled images, or else of all, takes its place."
    stats.check_classes(np.rint(share[:, 0] * count), method, 1, consequence)
    overall = (count / count.sum()) @ labelled  # [D]
    fallback = np.where(count[:, None] > 0, labelled, overall[None])
    correct = correct / np.where(share > 0, share, 1.0)
    return np.where(share > 0, correct, fallback).astype(np.float32)


def match(h: jax.Array, stored: jax.Array, metric: Metric) -> jax.Array:
    """Compares each feature [B, D] with its pattern [B, D]; float32 [B]."""
    if metric == "euclidean":
        return -norms.l2(h - stored)
    if metric == "inner_product":
        return (h * stored).sum(-1)
    return norms.cosine(h, stored)
