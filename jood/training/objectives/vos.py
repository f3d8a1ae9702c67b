"""VOS: outliers drawn at the rim of Gaussians of the classes, separated by energy.

A queue of features for each class gives their means and one covariance. The least
likely of many draws are virtual outliers, which a logistic regression on a weighted
energy learns to tell from ID images.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import activations
from jood.core import added_heads
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives import class_queues
from jood.training.objectives import projection
from jood.training.objectives.cross_entropy import classification_loss
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

COLLECTION = "vos"
_RIDGE = 1e-4  # on the diagonal of the covariance, as in the authors' code
_HIGHEST = jax.lax.Precision.HIGHEST


def gaussians(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means [K, D], and the lower Cholesky factor [D, D] of the shared covariance.

    Σ = 1/(K n) Σ_k Σ_i (q_ki - μ_k)(q_ki - μ_k)^T + 1e-4 I.

    Args:
      rows: q, the queues' features, float32 [K, n, D].
    """
    chex.assert_rank(rows, 3)
    classes, length, width = rows.shape
    means = rows.mean(1)
    centred = (rows - means[:, None]).reshape(classes * length, width)
    covariance = jnp.matmul(centred.T, centred, precision=_HIGHEST) / len(centred)
    return means, jnp.linalg.cholesky(covariance + _RIDGE * jnp.eye(width))


def least_likely(
    mean: jax.Array, factor: jax.Array, draws: jax.Array, select: int
) -> jax.Array:
    """The samples μ + L ε of lowest density, float32 [select, D], the lowest first.

    All classes share Σ, so log p = -‖ε‖² / 2 + const: those of the longest ε.

    Args:
      mean: μ of a class, float32 [D].
      factor: L of `gaussians`, float32 [D, D].
      draws: ε, standard normal, float32 [m, D].
      select: Number of the m that are kept.
    """
    _, chosen = jax.lax.top_k(jnp.square(draws).sum(-1), select)
    return mean[None] + jnp.matmul(draws[chosen], factor.T, precision=_HIGHEST)


def weighted_energy(logits: jax.Array, weight: jax.Array) -> jax.Array:
    """E = log Σ_k relu(w_k) exp f_k, float32 [N]; the sign of the authors' code.

    Args:
      logits: f, float32 [N, K].
      weight: w, float32 [K].
    """
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    total = (jax.nn.relu(weight)[None] * jnp.exp(logits - largest)).sum(-1)
    floor = jnp.finfo(jnp.float32).tiny  # reached if no weight is above 0
    return largest[:, 0] + jnp.log(jnp.maximum(total, floor))


def regulariser(
    inside: jax.Array, outside: jax.Array, layer: dict[str, jax.Array]
) -> jax.Array:
    """CE of φ(E) = E a + c with target 1 for ID images and 0 for outliers, float32 [].

    The mean is over all B + M of them.

    Args:
      inside: f of ID images, float32 [B, K].
      outside: f of virtual outliers, float32 [M, K].
      layer: 'weight' w [K], 'kernel' a [1, 2] and 'bias' c [2].
    """
    energy = weighted_energy(jnp.concatenate([inside, outside]), layer["weight"])
    ones, zeros = (jnp.full(len(f), i) for f, i in ((inside, 1), (outside, 0)))
    targets = jnp.concatenate([ones, zeros])
    return softmax_cross_entropy(added_heads.linear(layer, energy[:, None]), targets)


def vos(
    lam: float = 0.1,
    start: float = 40.0,
    queue: int = 1000,
    draws: int = 10000,
    select: int = 1,
) -> Objective:
    """L = CE(f, y) + λ L_reg on virtual outliers; scored with Energy.

    OpenOOD's variant differs: its energy has new random weights in each call and gives
    the network no gradient. Here the authors' code is followed.

    Args:
      lam: λ >= 0; the paper's is 0.1.
      start: Epochs before L_reg begins; until then, and until all queues are full,
        L = CE. The authors' is 40 of 100.
      queue: n, features that are kept of each class.
      draws: m, samples of each class in a step.
      select: Number of them, the least likely ones, that are outliers.

    References:
      Du, Wang, Cai, Li, VOS (Learning What You Don't Know by Virtual Outlier
      Synthesis), ICLR 2022, Eq. 2-7.
    """
    arguments.check_at_least("lam", lam, 0)
    arguments.check_at_least("start", start, 0)
    for name, value in {"queue": queue, "draws": draws, "select": select}.items():
        arguments.check_count(name, value)
    if select > draws:
        raise ValueError(f"select must be at most draws, got {select=}, {draws=}.")
    lam, start = float(lam), float(start)

    def init(key: jax.Array, width: int, classes: int) -> dict[str, Any]:
        first, second = jax.random.split(key)
        weight = jax.random.uniform(first, (classes,))
        layer = {"weight": weight, **projection.linear_layer(second, 1, 2)}
        queues = class_queues.empty(classes, queue, width)
        return {COLLECTION: layer, class_queues.COLLECTION: queues}

    def pushed(outputs: TrainingPass) -> dict[str, Any]:
        before = outputs.added[class_queues.COLLECTION]
        return class_queues.pushed(before, outputs.acts.penultimate, outputs.labels)

    def outliers(rows: jax.Array, key: jax.Array) -> jax.Array:
        means, factor = gaussians(rows)

        def of_class(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
            mean, key = inputs
            noise = jax.random.normal(key, (draws, len(mean)))
            return least_likely(mean, factor, noise, select)

        # One class at a time: all draws at once are K x m x D.
        virtual = jax.lax.map(of_class, (means, jax.random.split(key, len(means))))
        return virtual.reshape(-1, means.shape[1])  # [K select, D]

    def loss(
        outputs: TrainingPass, key: jax.Array
    ) -> tuple[jax.Array, dict[str, Part]]:
        acts, layer = outputs.acts, outputs.added[COLLECTION]
        before = outputs.added[class_queues.COLLECTION]

        def active() -> jax.Array:
            virtual = outliers(pushed(outputs)["rows"], key)
            logits = activations.linear(virtual, acts.kernel, acts.bias)
            return regulariser(acts.logits, logits, layer)

        is_active = class_queues.are_full(before) & (outputs.epoch >= start)
        outlier_term = jax.lax.cond(is_active, active, lambda: jnp.float32(0))
        one = jnp.float32(1)
        return classification_loss(outputs) + lam * outlier_term, {
            "virtual_outliers": Part(outlier_term, is_active.astype(jnp.float32)),
            "queue_filled": Part(class_queues.filled(before), one),
        }

    values = {"queue": queue, "draws": draws, "select": select}
    return Objective(
        component.call_spec("vos", lam=lam, start=start, **values),
        loss,
        init=init,
        state=(class_queues.COLLECTION,),
        update=lambda outputs: {class_queues.COLLECTION: pushed(outputs)},
        rows={"Energy": "energy()"},
        advice=class_queues.advice,
    )
