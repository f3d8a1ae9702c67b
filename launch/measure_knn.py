"""Measures exact nearest neighbours: jood, faiss's flat index, the bare product.

    pip install faiss-cpu    # to compare; without it that row is left out
    jood measure_knn

Random features of length 1. Each row holds the median of several runs in one process,
the ratio to each other row (the product q · bank^T alone is what no exact search can
avoid), and how far the products found are from those of sorting them all. XLA takes all
CPU cores that the process may use, and faiss is set to as many.
"""

from collections.abc import Callable
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from jood import cli
from jood._utils import affinity
from jood._utils import measuring
from jood._utils import turns
from jood.methods import nearest_neighbors

_ROWS = flags.DEFINE_integer("rows", 50_000, "Rows of the bank.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 512, "Width of a feature.", lower_bound=1)
_QUERIES = flags.DEFINE_integer("queries", 1000, "Queries per run.", lower_bound=1)
_K = flags.DEFINE_integer("k", 50, "Neighbours per query.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 9, "Runs of each, in turn.", lower_bound=1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)


def main(argv: list[str]) -> None:
    """Times the searches in turn and compares what they find."""
    del argv
    bank = _random(_ROWS.value, _WIDTH.value, seed=0)
    queries = _random(_QUERIES.value, _WIDTH.value, seed=1)
    searches = _searches(bank, queries, _K.value)
    medians = turns.medians(searches, _RUNS.value)
    few = slice(0, 100)
    exact = -np.sort(-(queries[few] @ bank.T), axis=1)[:, : _K.value]
    rows = []
    for name, search in searches.items():
        row = {"search": name, "ms": 1e3 * medians[name]}
        for other in medians:
            row[f"x {other}"] = medians[name] / medians[other]
        if name != "product":
            products = np.asarray(search()[0])[few]
            row["largest error"] = float(np.abs(products - exact).max())
        rows.append(row)
    what = (
        f"{_QUERIES.value:,} queries, bank of {_ROWS.value:,} x {_WIDTH.value} "
        f"float32, k = {_K.value}, median of {_RUNS.value} runs"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _searches(
    bank: np.ndarray, queries: np.ndarray, k: int
) -> dict[str, Callable[[], Any]]:
    """Functions that search once and return the k products, on the host."""
    rows, asked = jnp.asarray(bank), jnp.asarray(queries)
    best = jax.jit(nearest_neighbors.best, static_argnums=2)
    product = jax.jit(
        lambda a, b: jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    )
    searches: dict[str, Callable[[], Any]] = {
        "product": lambda: product(asked, rows),
        "jood": lambda: best(asked, rows, k),
    }
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: pip install faiss-cpu to compare with it")
        return searches
    faiss.omp_set_num_threads(affinity.cores())
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    searches["faiss"] = lambda: index.search(queries, k)
    return searches


def _random(count: int, width: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    cli.run(main)
