"""Measures exact nearest neighbours: jood, faiss's flat index, the bare product.

    pip install faiss-cpu    # to compare; without it that row is left out
    python launch/measure_knn.py

Random features of length 1. Prints the median of several runs in one process, the
ratio to the product q · bank^T alone, which no exact search can avoid, and whether
all three find the same products. CPU threads: XLA takes all that the process may
use, and so is faiss told to.
"""

from collections.abc import Callable
import os
import statistics
import time
from typing import Any

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from jood import cli
from jood.methods import nearest_neighbors

_ROWS = flags.DEFINE_integer("rows", 50_000, "Rows of the bank.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 512, "Width of a feature.", lower_bound=1)
_QUERIES = flags.DEFINE_integer("queries", 1000, "Queries per run.", lower_bound=1)
_K = flags.DEFINE_integer("k", 50, "Neighbours per query.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 9, "Runs of each, in turn.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Times the searches in turn, so that what slows one slows all."""
    del argv
    k = _K.value
    bank = _random(_ROWS.value, _WIDTH.value, seed=0)
    queries = _random(_QUERIES.value, _WIDTH.value, seed=1)
    searches = _searches(bank, queries, k)
    found = {name: search() for name, search in searches.items()}  # compiles, too
    times: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(_RUNS.value):
        for name, search in searches.items():
            start = time.perf_counter()
            search()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(
        f"{_QUERIES.value} queries, bank {_ROWS.value} x {_WIDTH.value} float32, "
        f"k={k}, {_threads()} threads, {jax.default_backend()}, "
        f"median of {_RUNS.value} runs"
    )
    for name, seconds in medians.items():
        ratio = seconds / medians["product"]
        print(f"  {name:8} {1e3 * seconds:9.1f} ms   {ratio:5.2f} x the product")
    _compare(found, medians, queries, bank, k)


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
        "product": lambda: product(asked, rows).block_until_ready(),
        "jood": lambda: jax.device_get(best(asked, rows, k)),
    }
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: pip install faiss-cpu to compare with it")
        return searches
    faiss.omp_set_num_threads(_threads())
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    searches["faiss"] = lambda: index.search(queries, k)
    return searches


def _compare(
    found: dict[str, Any],
    medians: dict[str, float],
    queries: np.ndarray,
    bank: np.ndarray,
    k: int,
) -> None:
    """Prints whether the results are the same, and the ratio to faiss."""
    few = slice(0, 100)
    exact = -np.sort(-(queries[few] @ bank.T), axis=1)[:, :k]
    names = [name for name in found if name != "product"]
    for name in names:
        error = np.abs(np.asarray(found[name][0])[few] - exact).max()
        print(f"  {name}: products differ from sorting them all by at most {error:.1e}")
    if "faiss" in found:
        same = np.asarray(found["jood"][1]) == np.asarray(found["faiss"][1])
        ratio = medians["jood"] / medians["faiss"]
        print(
            f"  jood takes {ratio:.2f} x the time of faiss; "
            f"{same.mean():.2%} of neighbours in the same place"
        )


def _random(count: int, width: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    cli.run(main)
