"""CIDER: prototypes on the sphere, far from each other, with their classes around them.

The prototypes are moving means of projected features. Dispersion's gradient goes
through this step's moves to the features, compactness sees the prototypes as fixed.
"""

import math

import chex
import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives import projection
from jood.training.objectives import views
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

COLLECTION = "prototypes"
# Of the authors' code, which the paper does not have.
DISPERSION_BASE, COMPACTNESS_BASE = 0.1, 0.07


def moved(
    prototypes: jax.Array, features: jax.Array, labels: jax.Array, momentum: float
) -> jax.Array:
    """μ_y <- normalise(m μ_y + (1 - m) u_i), for one example after the other.

    Classes do not depend on each other, so that the examples are sorted by class and
    one vector is carried along: memory is that of the features, not B x K x P.

    Args:
      prototypes: μ, float32 [K, P].
      features: u, float32 [N, P], of length 1, in the order of the batch.
      labels: y, int32 [N].
      momentum: m in [0, 1).
    """
    chex.assert_rank([prototypes, features, labels], [2, 2, 1])
    order = jnp.argsort(labels, stable=True)
    u, y = features[order], labels[order]
    begins = jnp.concatenate([jnp.ones(1, bool), y[1:] != y[:-1]])  # [N]

    def move(
        previous: jax.Array, now: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        first, start, u = now
        mu = jnp.where(first, start, previous)
        mu = projection.unit(momentum * mu + (1 - momentum) * u)
        return mu, mu

    steps = (begins, prototypes[y], u)
    _, chain = jax.lax.scan(move, jnp.zeros(u.shape[-1]), steps)  # [N, P]
    ends = jnp.concatenate([begins[1:], jnp.ones(1, bool)])
    where = jnp.where(ends, y, len(prototypes))  # out of bounds: dropped
    return prototypes.at[where].set(chain, mode="drop")


def dispersion(prototypes: jax.Array, temperature: float) -> jax.Array:
    """(T / 0.1) · mean_i log( 1/(K-1) Σ_{j≠i} exp(μ_i·μ_j / T) ), float32 [].

    Args:
      prototypes: μ, float32 [K, P].
      temperature: T > 0.
    """
    classes = len(prototypes)
    highest = jax.lax.Precision.HIGHEST
    logits = jnp.matmul(prototypes, prototypes.T, precision=highest) / temperature
    others = jnp.where(jnp.eye(classes, dtype=bool), -jnp.inf, logits)  # [K, K]
    mean = jax.nn.logsumexp(others, axis=-1) - math.log(classes - 1)
    return temperature / DISPERSION_BASE * mean.mean()


def compactness(
    features: jax.Array, labels: jax.Array, prototypes: jax.Array, temperature: float
) -> jax.Array:
    """(T / 0.07) · CE(u·μᵀ / T, y), μ of length 1 and without gradient, float32 [].

    Args:
      features: u, float32 [N, P], of length 1.
      labels: y, int32 [N].
      prototypes: μ after the move, float32 [K, P].
      temperature: T > 0.
    """
    fixed = projection.unit(jax.lax.stop_gradient(prototypes))
    logits = jnp.matmul(features, fixed.T, precision=jax.lax.Precision.HIGHEST)
    loss = softmax_cross_entropy(logits / temperature, labels)
    return temperature / COMPACTNESS_BASE * loss


def check_classes(classes: int) -> None:
    """Raises ValueError if there is no pair of prototypes to tell apart."""
    if classes < 2:
        raise ValueError(
            f"dispersion needs two classes or more, the network has {classes}."
        )


def cider(
    lam: float = 2.0,
    temperature: float = 0.1,
    momentum: float = 0.95,
    width: int = 128,
) -> Objective:
    """L = λ L_comp + L_disp on two views; scored with `knn()`.

    The prototypes begin at 0, where the first example of a class sets their direction
    (the authors': means of a pass over the training set).

    Args:
      lam: λ >= 0; the authors' is 2 for CIFAR-10, 1 for CIFAR-100.
      temperature: T > 0.
      momentum: m in [0, 1); the authors' is 0.95 for CIFAR-10, 0.5 for CIFAR-100.
      width: P, of the projection.

    References:
      Ming, Sun, Dia, Li, CIDER (How to Exploit Hyperspherical Embeddings for
      Out-of-Distribution Detection?), ICLR 2023, Sec. 3; its code for the base
      temperatures.
    """
    arguments.check_at_least("lam", lam, 0)
    arguments.check_positive("temperature", temperature)
    arguments.check_share("momentum", momentum)
    arguments.check_count("width", width)
    values = {"lam": float(lam), "temperature": float(temperature)}
    momentum = float(momentum)

    def init(key: jax.Array, features: int, classes: int) -> dict[str, object]:
        check_classes(classes)
        parts = projection.mlp_layers(key, features, features, width)
        start = {"direction": jnp.zeros([classes, width])}
        return {projection.COLLECTION: parts, COLLECTION: start}

    def now(outputs: TrainingPass) -> jax.Array:
        before = outputs.added[COLLECTION]["direction"]
        u, y = projection.projected(outputs), projection.labels_of_views(outputs)
        return moved(before, u, y, momentum)

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        prototypes, T = now(outputs), values["temperature"]
        u, y = projection.projected(outputs), projection.labels_of_views(outputs)
        apart = dispersion(prototypes, T)
        around = compactness(u, y, prototypes, T)
        beside, one = projection.classifier_loss(outputs), jnp.float32(1)
        return values["lam"] * around + apart + beside, {
            "compactness": Part(around, one),
            "dispersion": Part(apart, one),
            "classifier_loss": Part(beside, one),
        }

    def update(outputs: TrainingPass) -> dict[str, object]:
        return {COLLECTION: {"direction": jax.lax.stop_gradient(now(outputs))}}

    spec = component.call_spec("cider", **values, momentum=momentum, width=width)
    return Objective(
        spec,
        loss,
        init=init,
        state=(COLLECTION,),
        update=update,
        images=views.two_views,
        rows={"KNN": "knn()"},
    )
