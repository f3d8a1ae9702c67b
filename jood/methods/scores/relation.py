"""Relation: how strongly is an image related to the training images?

Two images are related if their features point the same way and their softmax outputs
agree. An OOD image has few relatives.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jood._utils import arguments
from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.stats import reservoir
from jood.methods import nearest_neighbors

CAPACITY = 10_000  # training images, each with D + K numbers
_PRODUCTS = 1 << 24  # held at a time, in floats: 64 MB


@component.row("Relation")
def relation(
    power: float = 1.0, least: float = 0.03, capacity: int = CAPACITY
) -> Component:
    """Sum of the relations to training images: S = Σ_i r_i^power over r_i > least.

    r_i = max(cos(h, h_i), 0) · ⟨p, p_i⟩, p = softmax(f). The authors return
    1 / (S + 1e-6), higher for OOD.

    Args:
      power: exponent above 0: a large one lets near relatives count most; may be
        traced.
      least: relations up to it do not count; in [0, 1), may be traced.
      capacity: number of training images that are kept, a uniform sample of all.

    Returns:
      A score component, in [0, capacity]. It fits a bank of unit features and softmax
      outputs, float32 [min(N, capacity), D + K], in one pass.

    Raises:
      ValueError: a value is out of its range.

    References:
      Kim, Yun, Song, Neural Relation Graph, NeurIPS 2023, the relation function and the
      OOD score.
    """
    arguments.check_positive("power", power)
    arguments.check_share("least", least)
    arguments.check_count("capacity", capacity)
    statistic = reservoir.bank(_feature_and_softmax, capacity)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        width = acts.penultimate.shape[-1]
        query, bank = _feature_and_softmax(acts), jnp.asarray(fitted[0])
        feature = (jnp.arange(query.shape[-1]) < width)[None]
        # [2B, D + K], zero in one part: its columns of the bank need no copy of them.
        halves = jnp.concatenate([query * feature, query * ~feature])

        def strength(rows: jax.Array) -> jax.Array:
            """Sums the relations to a block of the bank [R, D + K] -> [B]."""
            products = jnp.matmul(halves, rows.T, precision="highest")  # [2B, R]
            cosine, agreement = jnp.split(products, 2)
            r = jnp.maximum(cosine, 0.0) * agreement  # [B, R]
            counts = r > least
            return jnp.where(counts, jnp.where(counts, r, 1.0) ** power, 0.0).sum(-1)

        count = query.shape[0]  # a symbol in an exported program
        rows = _PRODUCTS // (2 * count) if isinstance(count, int) else len(bank)
        size = max(rows, 1)
        starts = range(0, len(bank), size)
        blocks = [strength(bank[start : start + size]) for start in starts]
        return sum(blocks[1:], start=blocks[0])

    spec = component.call_spec("relation", power=power, least=least, capacity=capacity)
    reads = ("feature", "logit")
    return component.build(spec, "score", apply, (lambda _: statistic,), reads=reads)


def _feature_and_softmax(acts: Activations) -> jax.Array:
    unit = nearest_neighbors.normalised(acts.penultimate)
    return jnp.concatenate([unit, jax.nn.softmax(acts.logits)], axis=-1)  # [B, D + K]
