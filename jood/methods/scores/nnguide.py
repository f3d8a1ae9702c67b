"""NNGuide: energy, guided by the similarity to confident training features."""

from typing import Any

import jax

from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.stats import reservoir
from jood.methods import nearest_neighbors


@component.row("NNGuide")
def nnguide(k: int = 10, capacity: int = reservoir.CAPACITY) -> Component:
    """Guided energy: S = E(x) · mean of the k largest E(x_i) · <ĥ_i, ĥ>.

    E = log Σ_k exp(f_k) and ĥ = h / ‖h‖₂; x_i are training images.

    Args:
      k: number of neighbours that guide; 10 in the authors' code, on all training
        features.
      capacity: number of training features that are kept, a uniform sample of all.

    Returns:
      A score component, in units of the logits squared. It fits a bank of
      features, float32 [min(N, capacity), D], in one pass.

    Raises:
      ValueError: see `nearest_neighbors.bank`.

    References:
      Park, Jung, Teoh, NNGuide, ICCV 2023, Sec. 3.
    """

    def guides(acts: Activations) -> jax.Array:
        return nearest_neighbors.normalised(acts.penultimate) * _energy(acts)[:, None]

    bank = nearest_neighbors.bank(guides, k, capacity)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        query = nearest_neighbors.normalised(acts.penultimate)
        products, _ = nearest_neighbors.best(query, fitted[0], k)  # [B, k]
        return _energy(acts) * products.mean(axis=-1)

    spec = component.call_spec("nnguide", k=k, capacity=capacity)
    reads = ("feature", "logit")
    return component.build(spec, "score", apply, (lambda _: bank,), reads=reads)


def _energy(acts: Activations) -> jax.Array:
    return jax.nn.logsumexp(acts.logits, axis=-1)  # [B]
