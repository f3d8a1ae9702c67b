"""The k largest inner products of queries with a bank of rows, exactly.

On the device: a matrix product, then a selection that reads each product once. The
bank is split into groups; a row among the k best lies in one of the k groups with
the best maxima, so the maxima of groups decide which few rows are sorted. From a
file: blockwise in NumPy, for a bank that does not fit into memory.
"""

from collections.abc import Callable
import functools
import logging
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import norms
from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.stats import Measure
from jood.core.stats import reservoir
from jood.methods import top_k

_LOGGER = logging.getLogger(__name__)
# Products held at a time, in floats: 64 MB. Queries are split to keep to it.
_PRODUCTS = 1 << 24
_GROUP = 16  # rows; one vector register of maxima at a time
# Below this many groups per neighbour, sorting them costs more than it saves.
_GROUPS_PER_NEIGHBOUR = 8


def normalised(x: Any, xp: Any = jnp) -> Any:
    """Returns rows of length 1, float32 [B, D], in JAX or `xp`; zeros stay zero."""
    return norms.unit(x, xp=xp)


def best(queries: jax.Array, bank: Any, k: int) -> tuple[jax.Array, jax.Array]:
    """Finds the k rows of a bank with the largest inner product.

    Args:
      queries: floating [B, D].
      bank: float32 [M, D].
      k: number of rows, 1 <= k <= M.

    Returns:
      The products, float32 [B, k], largest first, and the rows' indices, int32 [B, k].
      Among rows that tie for the last place, any may be returned.

    Raises:
      ValueError: k > M, or the widths differ.
    """
    return _blockwise(_best, queries, bank, k)


def kth(queries: jax.Array, bank: Any, k: int, rank: Any = None) -> jax.Array:
    """Index int32 [B] of the row with the k-th largest inner product; see `best`.

    For a k of hundreds faster than `best`, which sorts the k. A rank in [1, k], which
    may be traced, asks for that one in place of the k-th.
    """
    search = functools.partial(_kth, rank=k if rank is None else rank)
    return _blockwise(search, queries, bank, k)


def _blockwise(
    search: Callable[..., Any], queries: jax.Array, bank: Any, k: int
) -> Any:
    """Searches with as many queries at a time as `_PRODUCTS` allows.

    All at once in an exported program, where the number of queries is a symbol.
    """
    bank, queries = jnp.asarray(bank), queries.astype(jnp.float32)
    count, width = queries.shape
    check_bank(bank.shape, width, k)
    blocks = -(-count * bank.shape[0] // _PRODUCTS) if isinstance(count, int) else 1
    if blocks <= 1 or count <= 1:
        return search(queries, bank, k)
    size = -(-count // blocks)
    split = jnp.pad(queries, ((0, size * blocks - count), (0, 0)))
    split = split.reshape(blocks, size, width)
    neighbors = jax.lax.map(lambda block: search(block, bank, k), split)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], neighbors)


def _kth(queries: jax.Array, bank: jax.Array, k: int, rank: Any) -> jax.Array:
    if bank.shape[0] // _GROUP >= _GROUPS_PER_NEIGHBOUR * k:
        return jnp.take(_best(queries, bank, k)[1], rank - 1, axis=1)
    keys = top_k.ordered_bits(jnp.matmul(queries, bank.T, precision="highest"))
    return jnp.argmax(keys == top_k.kth_largest_bits(keys, rank), axis=-1)


def _best(queries: jax.Array, bank: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    products = jnp.matmul(queries, bank.T, precision="highest")  # [B, M]
    groups = products.shape[1] // _GROUP
    if groups < _GROUPS_PER_NEIGHBOUR * k:
        return jax.lax.top_k(products, k)
    # Group j holds the rows j, j + G, j + 2G, ...: maxima of whole slices.
    inside = _GROUP * groups
    whole = products[:, :inside].reshape(-1, _GROUP, groups)
    _, chosen = jax.lax.top_k(whole.max(axis=1), k)  # [B, k]
    few = jnp.take_along_axis(whole, chosen[:, None, :], axis=2)  # [B, 16, k]
    rows = chosen[:, None, :] + groups * jnp.arange(_GROUP)[None, :, None]
    # Those few rows that fill no group of their own are always looked at.
    batch, rest = products.shape[0], jnp.arange(inside, products.shape[1])[None]
    few = jnp.concatenate([few.reshape(batch, -1), products[:, inside:]], axis=1)
    others = jnp.broadcast_to(rest, (batch, rest.size))
    rows = jnp.concatenate([rows.reshape(batch, -1), others], axis=1)
    values, place = jax.lax.top_k(few, k)
    return values, jnp.take_along_axis(rows, place, axis=1)


def bank(measure: Measure, k: int, capacity: Any) -> Statistic:
    """A statistic that keeps `capacity` rows [B, D], of which k are neighbours.

    Raises:
      ValueError: k or capacity is not an integer >= 1, or capacity is below k; while
        fitting, if the data have fewer than k examples.
    """
    arguments.check_count("k", k)
    arguments.check_count("capacity", capacity)
    if k > capacity:
        raise ValueError(f"capacity must be at least k, got {k=} and {capacity=}.")
    statistic = reservoir.bank(measure, capacity)

    def finalize(state: Any) -> np.ndarray:
        rows = statistic.finalize(state)
        check_bank(rows.shape, rows.shape[1], k)
        return rows

    return statistic._replace(finalize=finalize)


def proportional_bank(measure: Measure, k: int, capacity: int) -> Statistic:
    """A `bank` that keeps, of the k, the share that it keeps of the examples.

    The k-th nearest of N examples lies about as far away as the k'-th nearest of a
    uniform sample of M, k' = max(1, round(k M / N)): `proportional`.

    Returns:
      A statistic that finalizes to {'rows': float32 [M, D], 'k': int32 []}, k'.

    Raises:
      ValueError: see `bank`.
    """
    rows = bank(measure, k, capacity)

    def update(state: Any, acts: Activations, mask: jax.Array) -> Any:
        count = (mask > 0).sum(dtype=jnp.int32)
        kept = rows.update(state["bank"], acts, mask)
        return {"bank": kept, "count": state["count"] + count}

    def merge(a: Any, b: Any) -> Any:
        kept = rows.merge(a["bank"], b["bank"])
        return {"bank": kept, "count": a["count"] + b["count"]}

    def finalize(state: Any) -> dict[str, Any]:
        kept, count = rows.finalize(state["bank"]), int(state["count"])
        rank = proportional(k, len(kept), count)
        if len(kept) < count:
            _LOGGER.info(
                "nearest neighbours: %s of %s training features are kept, so k = %s "
                "becomes %s (capacity=%s keeps all)",
                *(f"{n:,}" for n in (len(kept), count, k, rank)),
                count,
            )
        return {"rows": kept, "k": np.int32(rank)}

    def init(acts: Activations) -> Any:
        return {"bank": rows.init(acts), "count": jnp.zeros((), jnp.int32)}

    return Statistic(init, update, merge, finalize)


def proportional(k: int, kept: int, count: int) -> int:
    """Returns k' = max(1, round(k · kept / count)); halves round to even."""
    return max(1, round(k * kept / count))


def check_bank(shape: tuple[int, ...], width: int, k: int) -> None:
    """Raises ValueError unless rows [M, D] hold k neighbours of queries [B, D]."""
    if shape[1] != width:
        raise ValueError(
            f"the bank's rows have {shape[1]} entries, but the features {width}. Fill "
            "the bank with features of this network."
        )
    if k > shape[0]:
        raise ValueError(
            f"k = {k} neighbours were asked for, but the bank has {shape[0]} row(s). "
            "Lower k, or fit on more data."
        )


def open_bank(path: str) -> np.ndarray:
    """Opens a bank on disk, a .npy file of float32 [N, D]; reads its header only.

    Raises:
      ValueError: there is no such file, or it holds something else.
    """
    try:
        if not os.path.isfile(path):  # opening a pipe would wait for ever
            raise OSError("there is no such file")
        rows = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"cannot open the bank {path!r}: {error}. It must be a file written with "
            "numpy.save that holds features as float32 [N, D]."
        ) from None
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise ValueError(
            f"the bank {path!r} must hold features as float32 [N, D], got "
            f"{rows.dtype} {rows.shape}."
        )
    return rows


def kth_distance_on_disk(queries: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Distance of each query to the k-th nearest row, both L2-normalised; [B].

    Args:
      queries: float32 [B, D], normalised.
      rows: float32 [N, D], as `open_bank` gives it; normalised here, block by block.
      k: rank of the row, counted from 1, at most N.
    """
    count, width = queries.shape
    size = max(_PRODUCTS // max(count, width), 1)  # rows at a time
    values = np.full((count, k), -np.inf, np.float32)
    indices = np.zeros((count, k), np.int64)
    for start in range(0, len(rows), size):
        block = normalised(rows[start : start + size], np)
        products = np.concatenate([values, queries @ block.T], axis=1)  # [B, k + size]
        fresh = np.tile(np.arange(start, start + len(block)), (count, 1))
        place = np.argpartition(products, -k, axis=1)[:, -k:]
        values = np.take_along_axis(products, place, axis=1)
        indices = np.concatenate([indices, fresh], axis=1)
        indices = np.take_along_axis(indices, place, axis=1)
    last = np.take_along_axis(indices, values.argmin(axis=1)[:, None], axis=1)[:, 0]
    difference = queries - normalised(rows[last], np)
    return norms.l2(difference, xp=np)
