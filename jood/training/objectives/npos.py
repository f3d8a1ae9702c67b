"""NPOS: CIDER, with outliers from where a class has few features.

No distribution is assumed: outliers are noise around features whose neighbours are far
(`boundary_outliers`), and a small classifier learns to tell them from ID features.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jood._utils import arguments
from jood.core import added_heads
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives import boundary_outliers
from jood.training.objectives import class_queues
from jood.training.objectives import projection
from jood.training.objectives import views
from jood.training.objectives.boundary_outliers import Selection
from jood.training.objectives.cider import COLLECTION as PROTOTYPES
from jood.training.objectives.cider import check_classes
from jood.training.objectives.cider import compactness
from jood.training.objectives.cider import dispersion
from jood.training.objectives.cider import moved
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

COLLECTION = "npos"


def outlier_loss(inside: jax.Array, outside: jax.Array) -> jax.Array:
    """Binary cross-entropy, target 1 for ID features, the mean over all, float32 [].

    Args:
      inside: Logits of ID features, float32 [N].
      outside: Logits of outliers, float32 [M].
    """
    logits = jnp.concatenate([inside, outside])
    targets = jnp.concatenate([jnp.ones_like(inside), jnp.zeros_like(outside)])
    return optax.sigmoid_binary_cross_entropy(logits, targets).mean()


def npos(
    lam: float = 0.1,
    start: float = 200.0,
    selection: Selection = "published",
    compact: float = 1.0,
    disperse: float = 0.5,
    temperature: float = 0.1,
    momentum: float = 0.95,
    width: int = 128,
    queue: int = 1000,
    k: int = 300,
    select: int = 200,
    picks: int = 2,
    draws: int = 600,
    points: int = 200,
    scale: float = 0.1,
) -> Objective:
    """L = w_comp L_comp + w_disp L_disp + λ BCE(ID, outliers); scored with `knn()`.

    Args:
      lam: λ >= 0; the authors' is 0.1.
      start: Epochs before the outliers begin, where all queues are full; 200 of 500.
      selection: Candidates that become outliers: as 'published', or as 'intended', the
        farthest; see `boundary_outliers.farthest`.
      compact: w_comp >= 0.
      disperse: w_disp >= 0.
      temperature: T > 0 of both.
      momentum: Momentum of the prototypes; 0.95 for CIFAR-10, 0.5 for CIFAR-100.
      width: P, of the projection and of the classifier's hidden layer.
      queue: n, features that are kept of each class.
      k: Neighbour by which a feature is at the boundary, at most n.
      select: Number of features at the boundary, at most n.
      picks: Number of these, drawn in each step, that get outliers; at most `select`.
      draws: m, candidates of each.
      points: Number of these that are kept, at most m.
      scale: Standard deviation σ > 0 of the noise around a feature.

    References:
      Tao, Du, Zhu, Li, NPOS (Non-parametric Outlier Synthesis), ICLR 2023, Sec. 3; its
      released code for the values and the published selection.
    """
    for name, value in {"lam": lam, "start": start, "compact": compact}.items():
        arguments.check_at_least(name, value, 0)
    arguments.check_at_least("disperse", disperse, 0)
    arguments.check_positive("temperature", temperature)
    arguments.check_positive("scale", scale)
    arguments.check_share("momentum", momentum)
    counts = {
        "width": width, "queue": queue, "k": k, "select": select, "picks": picks,
        "draws": draws, "points": points,
    }  # fmt: skip
    for name, value in counts.items():
        arguments.check_count(name, value)
    _check_order(counts)
    if selection not in boundary_outliers.SELECTIONS:
        known = " or ".join(map(repr, boundary_outliers.SELECTIONS))
        raise ValueError(f"selection must be {known}, got {selection!r}.")
    T, momentum, start = float(temperature), float(momentum), float(start)

    def init(key: jax.Array, features: int, classes: int) -> dict[str, Any]:
        check_classes(classes)
        first, second = jax.random.split(key)
        return {
            projection.COLLECTION: projection.mlp_layers(
                first, features, features, width
            ),
            COLLECTION: projection.mlp_layers(second, features, width, 1),
            PROTOTYPES: {"direction": jnp.zeros([classes, width])},
            class_queues.COLLECTION: class_queues.empty(classes, queue, features),
        }

    def prototypes(outputs: TrainingPass) -> jax.Array:
        before = outputs.added[PROTOTYPES]["direction"]
        u, y = projection.projected(outputs), projection.labels_of_views(outputs)
        return moved(before, u, y, momentum)

    def pushed(outputs: TrainingPass) -> dict[str, Any]:
        before, labels = outputs.added[class_queues.COLLECTION], outputs.labels
        every = projection.of_views(outputs, labels)
        return class_queues.pushed(before, outputs.acts.penultimate, every)

    def sampled(rows: jax.Array, key: jax.Array) -> jax.Array:
        first, second = jax.random.split(key)
        noise = jax.random.normal(first, (draws, rows.shape[-1]))

        def of_class(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
            rows, key = inputs
            pick = jax.random.choice(key, select, (picks,), replace=False)
            return boundary_outliers.outliers(
                rows,
                pick,
                noise,
                k=k,
                select=select,
                points=points,
                scale=scale,
                selection=selection,
            )[0]

        # One class at a time: the distances are R m x n.
        outliers = jax.lax.map(of_class, (rows, jax.random.split(second, len(rows))))
        return outliers.reshape(-1, rows.shape[-1])

    def loss(
        outputs: TrainingPass, key: jax.Array
    ) -> tuple[jax.Array, dict[str, Part]]:
        layers, h = outputs.added[COLLECTION], outputs.acts.penultimate
        before = outputs.added[class_queues.COLLECTION]
        u, y = projection.projected(outputs), projection.labels_of_views(outputs)

        def active() -> jax.Array:
            outside = jax.lax.stop_gradient(sampled(pushed(outputs)["rows"], key))
            logits = (added_heads.mlp(layers, x)[:, 0] for x in (h, outside))
            return outlier_loss(*logits)

        is_active = class_queues.are_full(before) & (outputs.epoch >= start)
        outlier_term = jax.lax.cond(is_active, active, lambda: jnp.float32(0))
        now = prototypes(outputs)
        apart, around = dispersion(now, T), compactness(u, y, now, T)
        beside, one = projection.classifier_loss(outputs), jnp.float32(1)
        return disperse * apart + compact * around + lam * outlier_term + beside, {
            "compactness": Part(around, one),
            "dispersion": Part(apart, one),
            "classifier_loss": Part(beside, one),
            "outlier_loss": Part(outlier_term, is_active.astype(jnp.float32)),
            "queue_filled": Part(class_queues.filled(before), one),
        }

    def update(outputs: TrainingPass) -> dict[str, Any]:
        direction = jax.lax.stop_gradient(prototypes(outputs))
        queues = pushed(outputs)
        return {PROTOTYPES: {"direction": direction}, class_queues.COLLECTION: queues}

    spec = component.call_spec(
        "npos",
        lam=float(lam),
        start=start,
        selection=selection,
        compact=float(compact),
        disperse=float(disperse),
        temperature=T,
        momentum=momentum,
        **counts,
        scale=float(scale),
    )
    return Objective(
        spec,
        loss,
        init=init,
        state=(PROTOTYPES, class_queues.COLLECTION),
        update=update,
        images=views.two_views,
        rows={"KNN": "knn()"},
        advice=class_queues.advice,
    )


def _check_order(counts: dict[str, int]) -> None:
    """Raises ValueError if more items are asked for than there are."""
    pairs = [("k", "queue"), ("select", "queue"), ("picks", "select")]
    for small, large in [*pairs, ("points", "draws")]:
        if counts[small] > counts[large]:
            raise ValueError(
                f"{small} must be at most {large}, got {small}={counts[small]} and "
                f"{large}={counts[large]}."
            )
