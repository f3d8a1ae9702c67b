"""Yeo-Johnson's power transformation, and its λ of maximum likelihood, in two passes.

    ψ_λ(x) = ((1 + x)^λ - 1) / λ                  x >= 0
    ψ_λ(x) = -((1 - x)^(2 - λ) - 1) / (2 - λ)     x < 0

λ makes each of D values as Gaussian as it can be. A pass sums what the likelihood's
derivative needs at a grid of λ; the next grid lies where its sign turns.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Statistic
from jood.core.stats import Measure

_COARSE = np.sinh(np.linspace(-4.0, 4.0, 65))  # λ from -27 to 27, dense near 0
_POINTS = 33  # of the second grid
_STEEPEST = 30.0  # exponents up to it: its square times a million is a float32


def transform(x: jax.Array, lam: jax.Array) -> jax.Array:
    """ψ_λ of x [B, D] for λ [D]; float32 [B, D]."""
    y, exponent, sign = _parts(x, lam)
    return sign * y * _expm1_ratio(exponent)


def brackets(measure: Measure) -> Statistic:
    """Pass 0: between which λ the optimum of each value lies, float32 [2, D].

    Args:
      measure: activations -> float [B, D].
    """

    def ends(grid: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        turn = _turns(slopes)
        columns = np.arange(slopes.shape[1])
        return np.stack([grid[turn - 1, columns], grid[turn, columns]])

    return _slopes(measure, lambda width: np.tile(_COARSE[:, None], (1, width)), ends)


def best(measure: Measure, bracket: Any) -> Statistic:
    """Pass 1: the λ of maximum likelihood of each value, float32 [D].

    Args:
      measure: the one of `brackets`.
      bracket: values that `brackets` fitted.
    """
    share = np.linspace(0.0, 1.0, _POINTS)[:, None]
    low, high = np.asarray(bracket, np.float64)
    points = low[None] + share * (high - low)[None]  # [G, D]

    def zero(grid: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        turn, columns = _turns(slopes), np.arange(slopes.shape[1])
        a, b = slopes[turn - 1, columns], slopes[turn, columns]
        start, end = grid[turn - 1, columns], grid[turn, columns]
        share = np.where(a > b, a / np.where(a > b, a - b, 1.0), 0.5)
        return start + np.clip(share, 0.0, 1.0) * (end - start)

    return _slopes(measure, lambda width: points, zero)


def _turns(slopes: np.ndarray) -> np.ndarray:
    """The grid's first index at which the slope is no longer positive, int [D]."""
    falling = np.concatenate([slopes <= 0, np.ones_like(slopes[:1], bool)])
    return np.clip(falling.argmax(0), 1, len(slopes) - 1)


def _slopes(measure: Measure, grid_of: Any, finish: Any) -> Statistic:
    """∂/∂λ of the mean log-likelihood at a grid of λ [G, D], for `finish`.

    With a = ψ_λ(x) and b = ∂ψ_λ(x)/∂λ it is -cov(a, b) / var(a) + mean of
    sign(x) log(1 + |x|). One grid point at a time: no array is B x G x D.
    """

    def moments(lam: Any) -> Statistic:
        def columns(acts: Activations) -> jax.Array:
            x = measure(acts).astype(jnp.float32)
            y, exponent, sign = _parts(x, lam)
            a = sign * y * _expm1_ratio(exponent)
            b = jnp.square(y) * _derivative_ratio(exponent)
            return jnp.concatenate([a, a + b, a - b, sign * y], axis=-1)  # [B, 4 D]

        return stats.moments(columns)

    def init(acts: Activations) -> Any:
        width = jax.eval_shape(measure, acts).shape[-1]
        grid = jnp.asarray(grid_of(width), jnp.float32)
        empty = moments(grid[0]).init(acts)
        return jax.tree.map(lambda x: jnp.zeros((len(grid), *x.shape), x.dtype), empty)

    def update(state: Any, acts: Activations, mask: jax.Array) -> Any:
        width = jax.eval_shape(measure, acts).shape[-1]
        grid = jnp.asarray(grid_of(width), jnp.float32)

        def one(pair: Any) -> Any:
            return moments(pair[0]).update(pair[1], acts, mask)

        return jax.lax.map(one, (grid, state))

    def finalize(state: Any) -> np.ndarray:
        mean, m2 = (np.asarray(state[k], np.float64) for k in ("mean", "m2"))
        a, plus, minus, _ = np.split(m2, 4, axis=-1)
        logs = np.split(mean, 4, axis=-1)[3]
        covariance = (plus - minus) / 4
        slopes = logs - covariance / np.where(a > 0, a, 1.0)
        slopes = np.where(a > 0, slopes, 0.0)  # a value that does not vary
        grid = np.asarray(grid_of(a.shape[-1]), np.float64)
        return finish(grid, slopes).astype(np.float32)

    return Statistic(init, update, jax.vmap(moments(0.0).merge), finalize)


def _parts(x: jax.Array, lam: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log(1 + |x|), its product with λ or 2 - λ, and the sign of x; each [B, D]."""
    positive = x >= 0
    y = jnp.log1p(jnp.abs(x))
    lam = jnp.broadcast_to(lam, x.shape[-1:])[None]
    exponent = jnp.where(positive, lam, 2 - lam) * y
    sign = jnp.where(positive, 1.0, -1.0)
    return y, jnp.clip(exponent, -_STEEPEST, _STEEPEST), sign


def _expm1_ratio(s: jax.Array) -> jax.Array:
    """(exp(s) - 1) / s, 1 at 0."""
    safe = jnp.where(s == 0, 1.0, s)
    return jnp.where(s == 0, 1.0, jnp.expm1(safe) / safe)


def _derivative_ratio(s: jax.Array) -> jax.Array:
    """(s exp(s) - exp(s) + 1) / s², by its series near 0, where it is 1/2."""
    near = jnp.abs(s) < 0.1
    safe = jnp.where(near, 1.0, s)
    series = 1 / 2 + s * (1 / 3 + s * (1 / 8 + s * (1 / 30 + s * (1 / 144 + s / 840))))
    return jnp.where(near, series, (safe * jnp.exp(safe) - jnp.expm1(safe)) / safe**2)
