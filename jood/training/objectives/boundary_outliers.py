"""NPOS's outliers: noise around the features of a class that have few neighbours.

All is of one class, whose features are the rows q of a queue; a distance is that of
vectors of length 1, squared, and its k-th neighbour counts the vector itself if that
is a row.
"""

from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp

from jood.methods import nearest_neighbors
from jood.training.objectives.projection import unit

Selection = Literal["published", "intended"]
SELECTIONS: tuple[str, ...] = get_args(Selection)


def kth_distance(vectors: jax.Array, rows: jax.Array, k: int) -> jax.Array:
    """‖v̂ - q̂_(k)‖₂² of each vector and its k-th nearest row, float32 [N].

    Args:
      vectors: v, float32 [N, D].
      rows: q, float32 [n, D].
      k: Rank of the neighbour, counted from 1.
    """
    bank, queries = unit(rows), unit(vectors)
    # From the product, 2 - 2s would lose all digits near 0.
    nearest = bank[nearest_neighbors.kth(queries, bank, k)]  # [N, D]
    return jnp.square(queries - nearest).sum(-1)


def at_the_boundary(
    rows: jax.Array, k: int, select: int
) -> tuple[jax.Array, jax.Array]:
    """The rows with the farthest k-th neighbours: their places, and the distances.

    Args:
      rows: q, float32 [n, D].
      k: Rank of the neighbour, the row itself included.
      select: Number of rows.

    Returns:
      int32 [select] and float32 [select], by decreasing distance.
    """
    distance, place = jax.lax.top_k(kth_distance(rows, rows, k), select)
    return place, distance


def candidates(picked: jax.Array, noise: jax.Array, scale: float) -> jax.Array:
    """Rows q + σ ε, all of the first q, then of the second: [R m, D].

    Args:
      picked: q, rows at the boundary as they are, float32 [R, D].
      noise: ε, standard normal, float32 [m, D], the same for every class.
      scale: σ > 0.
    """
    chex.assert_rank([picked, noise], 2)
    moved = picked[:, None] + scale * noise[None]  # [R, m, D]
    return moved.reshape(-1, picked.shape[-1])


def farthest(
    distance: jax.Array, picks: int, points: int, selection: Selection
) -> jax.Array:
    """Places of the candidates that are kept, int32 [R · points].

    'intended': for each picked row, the candidates with the farthest k-th neighbour.
    'published': the authors' code reshapes the distances, which run over the m
    candidates of a row first, as if they ran over the R rows first, and then reads the
    places that it finds there in the right order. Hardly one of those is the farthest.

    Args:
      distance: Distances of all candidates, float32 [R m].
      picks: R, the number of picked rows.
      points: Number of candidates that are kept of each row's m.
      selection: One of `SELECTIONS`.
    """
    chex.assert_rank(distance, 1)
    draws = len(distance) // picks
    if selection == "published":
        table = distance.reshape(draws, picks).T
    else:
        table = distance.reshape(picks, draws)
    _, place = jax.lax.top_k(table, points)  # [R, points]
    return (place + draws * jnp.arange(picks)[:, None]).ravel()


def outliers(
    rows: jax.Array,
    pick: jax.Array,
    noise: jax.Array,
    *,
    k: int,
    select: int,
    points: int,
    scale: float,
    selection: Selection,
) -> tuple[jax.Array, jax.Array]:
    """Outliers of one class, float32 [R · points, D], and their places.

    Args:
      rows: q, the queue's features, float32 [n, D].
      pick: Indices of R of the `select` rows at the boundary, int32 [R], none twice.
      noise: ε, float32 [m, D].
      k: Rank of the neighbour that counts.
      select: Number of rows at the boundary.
      points: Number of outliers of each of the R.
      scale: σ of the noise.
      selection: One of `SELECTIONS`; see `farthest`.
    """
    boundary, _ = at_the_boundary(rows, k, select)
    every = candidates(rows[boundary[pick]], noise, scale)
    distance = kth_distance(every, rows, k)
    place = farthest(distance, len(pick), points, selection)
    return every[place], place
