"""WeiPer + KLD: does this image's histogram of activations look like the usual one?

An image has many activations: those of its feature, and of its logits under many
randomly perturbed heads. Their histogram is compared with the mean one of the training
images.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import activations
from jood.core import component
from jood.core import norms
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic

_BINS = 100
_FLOORS = (0.01, 0.025)  # ε of the latent and of the perturbed histogram


@component.row("WeiPer+KLD")
def weiper_kld(
    r: int = 100,
    delta: float = 1.8,
    lam1: float = 2.5,
    lam2: float = 0.1,
    s1: int = 4,
    s2: int = 15,
    seed: int = 0,
) -> Component:
    """Histograms against the usual ones: S = -(D_h + λ₁ D_W - λ₂ MSP_W).

    W̃_i = W + δ ‖W_k‖ n_ik / ‖n_ik‖ for the columns k, i = 1 ... r, n standard normal,
    drawn once from the seed. D_h is the symmetric Kullback-Leibler divergence between
    the histogram of the entries of h and its mean over the training images, D_W that of
    the r K logits of all W̃_i, and MSP_W the mean over i of their largest softmax. The
    histograms have 100 equal bins between the training minimum and maximum. The image's
    is smoothed, and ε is added to both (0.01 for h, 0.025 for W̃).

    The authors' post-processor draws W̃ anew for each batch, so that its scores cannot
    be repeated, and weighs blocks of 1000 entries alike, also the last, shorter one.

    Args:
      r: how many perturbed heads. They are rebuilt from the seed one after another, so
        memory does not grow with r, but time does.
      delta: size δ >= 0 of the perturbation, relative to the weights.
      lam1: weight λ₁ >= 0 of the perturbed histogram; may be traced.
      lam2: weight λ₂ >= 0 of the perturbed MSP; may be traced.
      s1: width of the moving average over the latent histogram, in bins.
      s2: that over the perturbed one. The defaults are the authors' example values.
      seed: Seed of the perturbation.

    Returns:
      A score component. It fits the ranges, float32 [2, 2], and the mean histograms,
      float32 [2, 100], in two passes.

    Raises:
      ValueError: a value is out of its range; while fitting, if the activations do not
        vary.

    References:
      Granz, Heurich, Landgraf, WeiPer, NeurIPS 2024, the perturbed class projections
      and WeiPer+KLD.
    """
    for name, count in {"r": r, "s1": s1, "s2": s2}.items():
        arguments.check_count(name, count)
    for name, value in {"delta": delta, "lam1": lam1, "lam2": lam2}.items():
        arguments.check_at_least(name, value, 0)
    arguments.check_at_least("seed", seed, 0)
    spec = component.call_spec(
        "weiper_kld", r=r, delta=delta, lam1=lam1, lam2=lam2, s1=s1, s2=s2, seed=seed
    )
    heads = _Heads(r, delta, seed)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        ranges, usual = (jnp.asarray(value) for value in fitted)
        shares, msp = heads.histograms(acts, ranges)  # [2, B, bins], [B]
        divergences = [
            _divergence(_smoothed(shares[i], width), usual[i][None], _FLOORS[i])
            for i, width in enumerate((s1, s2))
        ]
        return -(divergences[0] + lam1 * divergences[1] - lam2 * msp)

    passes = (
        lambda _: _ranges(heads, spec),
        lambda fitted: _usual(heads, jnp.asarray(fitted[0])),
    )
    return component.build(spec, "score", apply, passes)


def noise(seed: int, index: Any, shape: tuple[int, ...]) -> jax.Array:
    """The standard normal numbers of perturbed head `index`, float32 [D, K]."""
    return jax.random.normal(jax.random.fold_in(jax.random.key(seed), index), shape)


class _Heads:
    """The perturbed heads of a detector, built one after another."""

    def __init__(self, r: int, delta: Any, seed: int):
        self._r, self._delta, self._seed = r, delta, seed

    def logits(self, acts: Activations, index: Any) -> jax.Array:
        """The logits of perturbed head `index`, [B, K]."""
        length = norms.l2(acts.kernel, axis=0, keepdims=True)  # [1, K]
        drawn = norms.unit(noise(self._seed, index, acts.kernel.shape), axis=0)
        kernel = acts.kernel + self._delta * length * drawn
        return activations.linear(acts.penultimate, kernel, acts.bias)

    def reduce(self, acts: Activations, start: Any, step: Any) -> Any:
        """Folds step(carry, logits) over all heads."""

        def body(index: Any, carry: Any) -> Any:
            return step(carry, self.logits(acts, index))

        return jax.lax.fori_loop(0, self._r, body, start)

    def histograms(
        self, acts: Activations, ranges: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Shares of h's and of all logits' entries by bin, [2, B, bins], and MSP_W."""
        h = acts.penultimate
        batch = h.shape[0]
        start = (jnp.zeros((batch, _BINS)), jnp.zeros(batch))

        def step(carry: Any, logits: jax.Array) -> Any:
            counts, msp = carry
            top = jax.nn.softmax(logits).max(-1)
            return counts + _counts(logits, ranges[1]), msp + top

        counts, msp = self.reduce(acts, start, step)
        total = self._r * acts.logits.shape[-1]
        latent = _counts(h, ranges[0]) / h.shape[-1]
        return jnp.stack([latent, counts / total]), msp / self._r


def _counts(values: jax.Array, ends: jax.Array) -> jax.Array:
    """How many entries of each row of [B, n] lie in each bin, float32 [B, bins].

    Bins are half-open: what is at the upper end or outside is in none.
    """
    low, high = ends
    place = jnp.floor((values - low) * (_BINS / (high - low)))
    inside = (values >= low) & (values < high)
    index = jnp.clip(jnp.where(inside, place, 0), 0, _BINS - 1).astype(jnp.int32)
    rows = jnp.arange(values.shape[0])[:, None]
    zeros = jnp.zeros((values.shape[0], _BINS))
    return zeros.at[rows, index].add(inside.astype(jnp.float32))


def _smoothed(shares: jax.Array, width: int) -> jax.Array:
    """The moving average over bins of [B, bins], whose ends are repeated."""
    left = (width - 1) // 2
    padded = jnp.pad(shares, ((0, 0), (left, width - 1 - left)), mode="edge")
    shifted = [padded[:, i : i + _BINS] for i in range(width)]
    return jnp.stack(shifted).mean(0)


def _divergence(p: jax.Array, q: jax.Array, floor: float) -> jax.Array:
    """KL(p ‖ q) + KL(q ‖ p) after a floor is added, [B]."""
    p, q = p + floor, q + floor
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    return ((p - q) * (jnp.log(p) - jnp.log(q))).sum(-1)


def _ranges(heads: _Heads, name: str) -> Statistic:
    """Pass 0: minimum and maximum of h and of the perturbed logits, float32 [2, 2]."""

    def extremes(x: jax.Array, mask: jax.Array) -> jax.Array:
        there = mask[:, None] > 0
        low = jnp.where(there, x, jnp.inf).min()
        return jnp.stack([low, jnp.where(there, x, -jnp.inf).max()])

    def joined(a: jax.Array, b: jax.Array) -> jax.Array:
        low = jnp.minimum(a[..., 0], b[..., 0])
        return jnp.stack([low, jnp.maximum(a[..., 1], b[..., 1])], axis=-1)

    def empty() -> jax.Array:
        return jnp.stack([jnp.full(2, jnp.inf), jnp.full(2, -jnp.inf)], axis=-1)

    def update(state: jax.Array, acts: Activations, mask: jax.Array) -> jax.Array:
        perturbed = heads.reduce(
            acts,
            jnp.stack([jnp.inf, -jnp.inf]),
            lambda carry, logits: joined(carry, extremes(logits, mask)),
        )
        batch = jnp.stack([extremes(acts.penultimate, mask), perturbed])
        return joined(state, batch)

    def finalize(state: Any) -> np.ndarray:
        ranges = np.asarray(state, np.float32)
        if not (ranges[:, 0] < ranges[:, 1]).all():
            raise ValueError(
                f"{name}: the training features or logits do not vary, so they have no "
                "histogram. Are the network's weights loaded?"
            )
        return ranges

    return Statistic(lambda acts: empty(), update, joined, finalize)


def _usual(heads: _Heads, ranges: jax.Array) -> Statistic:
    """Pass 1: the mean histograms of the training images, float32 [2, bins]."""

    def flat(acts: Activations) -> jax.Array:
        shares, _ = heads.histograms(acts, ranges)
        return jnp.concatenate(list(shares), axis=-1)  # [B, 2 bins]

    mean = stats.mean(flat)
    return mean._replace(finalize=lambda s: mean.finalize(s).reshape(2, _BINS))
