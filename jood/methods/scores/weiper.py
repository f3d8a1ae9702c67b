"""WeiPer + KLD: does this image's histogram of activations look like the usual one?

An image has many activations: those of its feature, and of its logits under many
randomly perturbed heads. Their histogram is compared with the mean one of the training
images.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

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
_ROWS = 1024  # of turned features in one product

Draws = Literal["independent", "shared"]


@component.row("WeiPer+KLD", "weiper_kld(draws='shared')")
def weiper_kld(
    r: int = 100,
    delta: float = 1.8,
    lam1: float = 2.5,
    lam2: float = 0.1,
    s1: int = 4,
    s2: int = 15,
    seed: int = 0,
    draws: Draws = "independent",
) -> Component:
    """Histograms against the usual ones: S = -(D_h + λ₁ D_W - λ₂ MSP_W).

    W̃_i = W + δ ‖W_k‖ n_ik / ‖n_ik‖ for the columns k, i = 1 ... r, n standard normal,
    drawn once from the seed. D_h is the symmetric Kullback-Leibler divergence between
    the histogram of the entries of h and its mean over the training images, D_W that of
    the r K logits of all W̃_i, and MSP_W the mean over i of their largest softmax. The
    histograms have 100 equal bins between the training minimum and maximum. The image's
    is smoothed, and ε is added to both (0.01 for h, 0.025 for W̃).

    To draw 100 heads of 1000 classes takes longer than a ResNet-50. Shared draws need
    one n_k a class: n_ik = shift_i(ε_i ⊙ n_k), with signs ε_i and a cyclic shift of the
    entries drawn for each head. Each W̃_i has the distribution that it had, but they are
    not independent; all logits are those of turned features under one head.

    The authors' post-processor draws W̃ anew for each batch, so that its scores cannot
    be repeated, and weighs blocks of 1000 entries alike, also the last, shorter one.

    Args:
      r: number of perturbed heads. They are rebuilt from the seed, a few at a time, and
        not kept.
      delta: size δ >= 0 of the perturbation, relative to the weights.
      lam1: weight λ₁ >= 0 of the perturbed histogram; may be traced.
      lam2: weight λ₂ >= 0 of the perturbed MSP; may be traced.
      s1: width of the moving average over the latent histogram, in bins.
      s2: that over the perturbed one. The defaults are the authors' example values.
      seed: Seed of the perturbation.
      draws: Whether the heads' normal numbers are 'independent', as the paper's, or
        'shared': one draw in place of r, and one product.

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
    if draws not in get_args(Draws):
        raise ValueError(
            f"draws must be one of {', '.join(get_args(Draws))}, got {draws=}."
        )
    values = {"r": r, "delta": delta, "lam1": lam1, "lam2": lam2, "s1": s1, "s2": s2}
    kind = None if draws == "independent" else draws
    spec = component.call_spec("weiper_kld", **values, seed=seed, draws=kind)
    heads = _Heads(r, delta, seed, draws)

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


def turned(seed: int, index: Any, h: jax.Array) -> jax.Array:
    """h, shifted cyclically, with other signs: [B, D], as head `index` has drawn.

    Its inner product with a draw is that of h with the draw turned back.
    """
    key = jax.random.fold_in(jax.random.key(seed), 1 + index)
    signs, shift = jax.random.split(key)
    by = jax.random.randint(shift, (), 0, h.shape[-1])
    sign = jax.random.rademacher(signs, (h.shape[-1],), h.dtype)
    return jnp.roll(h, by, axis=-1) * sign[None]


class _Heads:
    """The perturbed heads of a detector."""

    def __init__(self, r: int, delta: Any, seed: int, draws: Draws):
        self._r, self._delta, self._seed, self._draws = r, delta, seed, draws

    def each(self, acts: Activations, measure: Callable[[jax.Array], Any]) -> Any:
        """Stacks measure(logits [B, K] of a head) over all heads: arrays [r, ...]."""
        logits = self._independent(acts)
        size = None  # one head after another
        if self._draws == "shared":
            count = acts.penultimate.shape[0]  # a symbol in an exported program
            size = max(_ROWS // count, 1) if isinstance(count, int) else None
            logits = self._shared(acts)
        heads = jnp.arange(self._r)
        return jax.lax.map(lambda i: measure(logits(i)), heads, batch_size=size)

    def _independent(self, acts: Activations) -> Callable[[Any], jax.Array]:
        length = norms.l2(acts.kernel, axis=0, keepdims=True)  # [1, K]

        def logits(index: Any) -> jax.Array:
            drawn = norms.unit(noise(self._seed, index, acts.kernel.shape), axis=0)
            kernel = acts.kernel + self._delta * length * drawn
            return activations.linear(acts.penultimate, kernel, acts.bias)

        return logits

    def _shared(self, acts: Activations) -> Callable[[Any], jax.Array]:
        with jax.ensure_compile_time_eval():  # drawn once, not for each batch
            drawn = norms.unit(noise(self._seed, 0, acts.kernel.shape), axis=0)
        length = norms.l2(acts.kernel, axis=0, keepdims=True)  # [1, K]
        moved = self._delta * length * drawn  # [D, K]
        usual = activations.linear(acts.penultimate, acts.kernel, acts.bias)

        def logits(index: Any) -> jax.Array:
            h = turned(self._seed, index, acts.penultimate)
            return usual + jnp.matmul(h, moved, precision="highest")

        return logits

    def histograms(
        self, acts: Activations, ranges: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Shares of h's and of all logits' entries by bin, [2, B, bins], and MSP_W."""

        def measure(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
            return _counts(logits, ranges[1]), jax.nn.softmax(logits).max(-1)

        counts, msp = self.each(acts, measure)  # [r, B, bins], [r, B]
        total = self._r * acts.logits.shape[-1]
        latent = _counts(acts.penultimate, ranges[0]) / acts.penultimate.shape[-1]
        return jnp.stack([latent, counts.sum(0) / total]), msp.mean(0)


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
        per_head = heads.each(acts, lambda logits: extremes(logits, mask))  # [r, 2]
        perturbed = jnp.stack([per_head[:, 0].min(), per_head[:, 1].max()])
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
