"""KNN: the distance to the k-th nearest training feature, all of length 1."""

from collections.abc import Mapping
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import norms
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.stats import reservoir
from jood.methods import nearest_neighbors


@component.row("KNN", "knn(k={knn})")
def knn(
    k: int = 50,
    capacity: int = reservoir.CAPACITY,
    bank: str | os.PathLike[str] | None = None,
) -> Component:
    """Distance to the k-th nearest neighbour: S = -‖ĥ - ĥ_(k)‖₂, ĥ = h / ‖h‖₂.

    The paper's KNN+ is the same score on a network trained with SupCon.

    Args:
      k: rank of the neighbour among all N training features, counted from 1; 50 on
        CIFAR-10, 200 on CIFAR-100, 1000 on ImageNet.
      capacity: number of training features that are kept, at least k, a uniform sample
        of all. Of M < N the neighbour k' = max(1, round(k M / N)) is taken, as the
        paper does (10 of 1 % of ImageNet): 39 of ImageNet with the default. A capacity
        of N keeps all, on the device; `bank` keeps all on disk.
      bank: path of a .npy file with all training features, float32 [N, D], of any
        length. They stay on disk and are read block by block for each batch, on the
        host. Then nothing is fitted, and a saved detector refers to the file.

    Returns:
      A score component, in [-2, 0]. It fits a bank of unit features,
      float32 [min(N, capacity), D], and k' in one pass unless `bank` is given.

    Raises:
      ValueError: see `nearest_neighbors.bank`; or capacity and bank are both given;
        while scoring, if the file is missing, holds something else, fewer than k rows
        or features of another width.

    References:
      Sun, Ming, Zhu, Li, KNN, ICML 2022, Sec. 3.
    """
    if bank is not None:
        if capacity != reservoir.CAPACITY:
            raise ValueError(
                "knn takes capacity or bank, not both: a bank on disk is used whole; "
                f"got {capacity=}, {bank=}."
            )
        return _on_disk(k, bank)
    statistic = nearest_neighbors.proportional_bank(_unit, k, capacity)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        kept = fitted[0]
        if not isinstance(kept, Mapping):  # saved before k shrank with the bank
            kept = {"rows": kept, "k": k}
        query, rows = _unit(acts), jnp.asarray(kept["rows"])  # [B, D], [M, D]
        index = nearest_neighbors.kth(query, rows, k, kept["k"])
        # From the product, 2 - 2s would lose all digits near 0.
        return -norms.l2(query - rows[index])

    spec = component.call_spec("knn", k=k, capacity=capacity)
    reads = ("feature",)
    return component.build(spec, "score", apply, (lambda _: statistic,), reads=reads)


def _unit(acts: Activations) -> jax.Array:
    return nearest_neighbors.normalised(acts.penultimate)


def _on_disk(k: int, bank: Any) -> Component:
    if not isinstance(bank, str | os.PathLike):
        raise ValueError(f"bank must be the path of a .npy file, got {bank=}.")
    arguments.check_count("k", k)
    path = os.path.abspath(bank)  # a saved detector may be loaded from elsewhere

    def on_host(query: Any) -> np.ndarray:
        rows = nearest_neighbors.open_bank(path)
        return -nearest_neighbors.kth_distance_on_disk(np.asarray(query), rows, k)

    def function(acts: Activations) -> jax.Array:
        query = _unit(acts)
        # Not before: a text is read without opening what it names.
        rows = nearest_neighbors.open_bank(path)
        nearest_neighbors.check_bank(rows.shape, query.shape[1], k)
        shape = jax.ShapeDtypeStruct(query.shape[:1], jnp.float32)
        return jax.pure_callback(on_host, shape, query)

    spec = component.call_spec("knn", k=k, bank=path)
    return component.score(spec, function, reads=("feature",))
