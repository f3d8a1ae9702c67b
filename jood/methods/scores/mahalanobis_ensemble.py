"""The original Mahalanobis detector: every stage, nudged images, logistic weights.

Passes 0 and 1 fit class-conditional Gaussians (`jood.core.stats.class_gaussians`) to
the pooled map of each stage; pass 2 weighs the stages by a logistic regression of
training images against images of Gaussian noise.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import input_perturbation
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import class_gaussians
from jood.core.stats import reservoir

CAPACITY = 10_000  # training images, and as many of noise, that the weights see


@component.row("Mahalanobis (layers)")
def mahalanobis_ensemble(eps: float = 0.0014) -> Component:
    """Weighted Mahalanobis confidences of all stages: S = Σ_l w_l M_l(x̂_l) + b.

    M_l(x) = -min_k (h_l - μ_lk)^T Σ_l⁻¹ (h_l - μ_lk), where h_l is the mean over
    locations of stage l's map, and x̂_l = x - ε · sign(∇_x min_k d²_lk(x)) / std is the
    image moved towards its nearest class. The paper fits w on OOD or adversarial
    images. Here it is fitted on noise N(0, 1) per preprocessed pixel (drawn anew for
    each training image) against the training images, so that no OOD data is needed;
    logistic regression on standardised M_l, regularised with C = 1.

    Args:
      eps: ε >= 0, in normalised units times the preprocessing's std; may be traced.
        The paper's grid is 0, 0.0005, 0.001, 0.0014, 0.002, 0.0024, 0.005, 0.01,
        0.05, 0.1, 0.2. At 0 no gradient is taken.

    Returns:
      A score component: the logit of "is a training image". It fits
      Gaussians of each stage and their weights, in three passes. It needs labels, and
      costs a run, a gradient and another run of the network per stage and image.

    Raises:
      ValueError: eps is negative or not finite; while fitting, if there are no labels.

    References:
      Lee, Lee, Lee, Shin, Mahalanobis, NeurIPS 2018, Eq. 2-4, Algorithm 1.
    """
    arguments.check_at_least("eps", eps, 0)
    name = component.call_spec("mahalanobis_ensemble", eps=eps)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        _, stages, logistic = fitted
        centred = confidences(stages, acts, eps) - logistic["mean"][None]  # [B, S]
        values = centred * logistic["scale"][None]
        product = jnp.matmul(values, logistic["weights"], precision="highest")
        return product + logistic["bias"]

    def means(stage: str) -> Statistic:
        return class_gaussians.class_means(_pooled(stage), f"{name}, {stage}")

    def tied(classes: dict[str, Any], stage: str) -> Statistic:
        method = f"{name}, {stage}"
        return class_gaussians.tied(_pooled(stage), classes[stage], method)

    passes = (
        lambda _: _per_stage(means),
        lambda fitted: _per_stage(functools.partial(tied, fitted[0])),
        lambda fitted: _logistic(fitted[1], eps),
    )
    return component.build(
        name,
        "score",
        apply,
        passes,
        reads=("stage",),
        needs_network=True,
        needs_labels=True,
    )


def confidences(stages: dict[str, Any], acts: Activations, eps: Any) -> jax.Array:
    """M_l of each image moved against the gradient of its own distance at stage l.

    The stages are {stage: {'within': gaussian}}, as pass 1 fits them. Returns float32
    [B, S], <= 0, stages in sorted order.
    """
    still = not isinstance(eps, jax.core.Tracer) and eps == 0

    def moved(stage: str) -> jax.Array:
        def d2(record: Activations) -> jax.Array:
            gaussian = stages[stage]["within"]
            return class_gaussians.distance(gaussian, _pooled(stage)(record))

        return -d2(acts if still else input_perturbation.perturbed(acts, d2, eps))

    return jnp.stack([moved(stage) for stage in sorted(stages)], axis=-1)


def _pooled(stage: str) -> Callable[[Activations], jax.Array]:
    """Reads the mean over locations of a stage's map (or tokens): float32 [B, C]."""

    def measure(acts: Activations) -> jax.Array:
        x = acts.stage(stage)
        return x.mean(axis=tuple(range(1, x.ndim - 1)))

    return measure


def _per_stage(make: Callable[[str], Statistic]) -> Statistic:
    """One statistic per stage of the network, as a dict by stage."""

    def init(acts: Activations) -> dict[str, Any]:
        acts.check_stages("mahalanobis_ensemble()")
        record = acts.replace(network=None)  # it needs no second look
        return {stage: make(stage).init(record) for stage in sorted(acts.stages)}

    def update(state: Any, acts: Activations, mask: jax.Array) -> dict[str, Any]:
        record = acts.replace(network=None)
        return {s: make(s).update(value, record, mask) for s, value in state.items()}

    return Statistic(
        init,
        update,
        lambda a, b: {s: make(s).merge(a[s], b[s]) for s in a},
        lambda state: {s: make(s).finalize(value) for s, value in state.items()},
    )


def _logistic(stages: dict[str, Any], eps: Any) -> Statistic:
    """Pass 2: weights that separate training images from noise by their confidences."""

    def both(acts: Activations) -> jax.Array:
        records = (acts, _noise(acts))
        return jnp.concatenate([confidences(stages, r, eps) for r in records], -1)

    kept = reservoir.bank(both, CAPACITY)
    # The shape is known beforehand: `init` need not run a network.
    empty = reservoir.bank(lambda _: jnp.zeros((1, 2 * len(stages))), CAPACITY)
    return kept._replace(
        init=empty.init, finalize=lambda state: _weights(kept.finalize(state))
    )


def _noise(acts: Activations) -> Activations:
    """The record of noise images, one drawn per image by the hash of its pixels."""
    network = acts.behind()
    images = network.images
    seeds = reservoir.row_hash(images.reshape(images.shape[0], -1))

    def draw(seed: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(0), seed)
        return jax.random.normal(key, images.shape[1:])

    noise = jax.vmap(draw)(seeds).astype(images.dtype)
    behind = dataclasses.replace(network, images=noise)
    return network.run(noise).replace(network=behind)


def _weights(pairs: np.ndarray) -> dict[str, np.ndarray]:
    """Fits the logistic regression; pairs [M, 2S]: training images, then noise."""
    from sklearn import linear_model  # a second to import, and for this method only

    values = np.concatenate(np.split(pairs.astype(np.float64), 2, axis=1))
    target = np.repeat([1, 0], len(pairs))  # 1 = training image
    mean, spread = values.mean(0), values.std(0)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    model = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-8)
    model.fit((values - mean[None]) * scale[None], target)
    weights, bias = model.coef_[0], model.intercept_[0]
    fitted = {"mean": mean, "scale": scale, "weights": weights, "bias": bias}
    return {name: value.astype(np.float32) for name, value in fitted.items()}
