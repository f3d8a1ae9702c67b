"""AdaSCALE: scale each image by a percentile of its own.

SCALE and LTS compare the sum of a feature with that of its largest entries, whose
share is the same for all images. AdaSCALE sets the share by how far the feature moves
when the least important pixels are changed: an OOD feature's largest entries move
more, and it is scaled less. `adascale_a()|energy()` scales the feature (slot feature),
`adascale_l()|energy()` the logits (slot logit).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import input_perturbation
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import reservoir
from jood.methods import top_k
from jood.methods.transforms import lts

CAPACITY = 5000  # training images whose Q' are kept, as the authors' num_samples


class _Values(NamedTuple):
    """The hyper-parameters, checked; see `adascale_a`."""

    low: float
    high: float
    k1: float
    k2: float
    lam: Any
    o: float
    eps: Any


@component.row("AdaSCALE-A", "adascale_a()|energy()")
def adascale_a(
    low: float = 0.75,
    high: float = 0.85,
    k1: float = 0.05,
    k2: float = 0.01,
    lam: float = 10.0,
    o: float = 0.05,
    eps: float = 0.5,
    capacity: int = CAPACITY,
) -> Component:
    """Scales the feature adaptively: ĥ = h exp(s), s = s₁ / s₂(q).

    s₁ is the sum of the positive entries of h and s₂(q) that of the positive ones among
    its D - round(q D) largest, q = low + (1 - F(Q')) (high - low), F the share of
    training images with at most that Q':

        Q' = Σ_{top k1} max(h'_d, 0) + λ Σ_{top k2} |h_d - h'_d|

    over the largest entries of h. h' is the feature of x' = x + ε sign(g), moved only
    where |g|, g = ∇_x f_c, is among the smallest of the image. The authors' own code
    takes k1 for k2 and k2 for k1 when it fits F; jood, as OpenOOD, does not.

    Args:
      low: the fraction q of the most shifted images, in (0, 1).
      high: the fraction q of the least shifted images, in (low, 1).
      k1: fraction in (0, 1) of the entries whose size counts, rounded down, at least
        one entry.
      k2: fraction in (0, 1) of the entries whose shift counts, likewise.
      lam: weight λ >= 0 of the shift; may be traced.
      o: fraction in (0, 1) of the image's entries (H W C) that are moved, likewise.
      eps: step ε > 0 in units of the preprocessed image; may be traced.
      capacity: number of training images whose Q' is kept, a uniform sample of all.

    Returns:
      A component of slot 'feature'. It fits F, float32 [min(N, capacity)], in one
      pass. It runs the network forwards, backwards and forwards again, also to fit.

    Raises:
      ValueError: a value is out of its range.
      MissingStageError: while fitting or scoring, if the record has no network behind
        it.

    References:
      Regmi, AdaSCALE, 2025, the predetermined OOD likelihood Q' and AdaSCALE-A.
    """
    return _adascale(
        "adascale_a",
        "feature",
        lambda acts, s: acts.with_penultimate(
            acts.penultimate * jnp.exp(jnp.minimum(s, 80.0))
        ),
        _Values(low, high, k1, k2, lam, o, eps),
        capacity,
    )


@component.row("AdaSCALE-L", "adascale_l()|energy()")
def adascale_l(
    low: float = 0.75,
    high: float = 0.85,
    k1: float = 0.05,
    k2: float = 0.01,
    lam: float = 10.0,
    o: float = 0.05,
    eps: float = 0.5,
    capacity: int = CAPACITY,
) -> Component:
    """Scales the logits adaptively: f̂ = s² f, s as in `adascale_a`.

    With low = high it would be LTS. The bias is inside f. Arguments, cost and errors
    are those of `adascale_a`.

    Returns:
      A component of slot 'logit'. It fits F, float32 [min(N, capacity)], in one pass.

    References:
      Regmi, AdaSCALE, 2025, the predetermined OOD likelihood Q' and AdaSCALE-L.
    """
    return _adascale(
        "adascale_l",
        "logit",
        lambda acts, s: acts.with_logits(acts.logits * s**2),
        _Values(low, high, k1, k2, lam, o, eps),
        capacity,
    )


def _adascale(
    name: str,
    slot: str,
    rewrite: Callable[[Activations, jax.Array], Activations],
    given: _Values,
    capacity: int,
) -> Component:
    """Returns the component that rewrites a record with its s, [B, 1]."""
    values = _checked(given)
    arguments.check_count("capacity", capacity)
    spec = component.call_spec(name, **values._asdict(), capacity=capacity)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        h, known = acts.penultimate, jnp.asarray(fitted[0])
        below = jnp.searchsorted(known, _shifted(acts, values), side="right")
        kept = _kept_counts(h.shape[-1], len(known), values)[below]  # [B]
        return rewrite(acts, lts.sum_ratio(h, top_k.mask(h, kept[:, None])))

    passes = (lambda _: _distribution(values, capacity),)
    return component.build(spec, slot, apply, passes, needs_network=True)


def _checked(values: _Values) -> _Values:
    for name in ("low", "high", "k1", "k2", "o"):
        arguments.check_fraction(name, getattr(values, name))
    arguments.check_at_least("lam", values.lam, 0)
    arguments.check_positive("eps", values.eps)
    fixed = {n: float(getattr(values, n)) for n in ("low", "high", "k1", "k2", "o")}
    if not fixed["low"] < fixed["high"]:
        raise ValueError(
            f"low must be below high, got low={values.low}, high={values.high}."
        )
    return values._replace(**fixed)


def _distribution(values: _Values, capacity: int) -> Statistic:
    """The training images' Q', ascending; it finalizes to float32 [M]."""
    statistic = reservoir.bank(
        lambda acts: _shifted(acts, values)[:, None],
        capacity,
        hashed=lambda acts: acts.penultimate,
    )
    return statistic._replace(
        finalize=lambda state: np.sort(statistic.finalize(state)[:, 0])
    )


def _shifted(acts: Activations, values: _Values) -> jax.Array:
    """Q' of each image, float32 [B]."""
    h = acts.penultimate
    moved = moved_feature(acts, values.o, values.eps)
    size, shift = jnp.maximum(moved, 0.0), jnp.abs(h - moved)
    largest, larger = (
        top_k.mask(h, _count(h.shape[-1], share)) for share in (values.k1, values.k2)
    )
    sizes = jnp.where(largest, size, 0.0).sum(-1)
    return sizes + values.lam * jnp.where(larger, shift, 0.0).sum(-1)


def moved_feature(acts: Activations, o: float, eps: Any) -> jax.Array:
    """The feature of x + ε sign(g) where |g| is among the smallest; [B, D]."""
    predicted = jnp.argmax(acts.logits, axis=-1)[:, None]

    def top_logit(record: Activations) -> jax.Array:
        return jnp.take_along_axis(record.logits, predicted, axis=-1)[:, 0]

    gradient = input_perturbation.gradient(acts, top_logit)
    flat = jnp.abs(gradient).reshape(gradient.shape[0], -1)  # [B, HWC]
    weakest = top_k.mask(-flat, _count(flat.shape[-1], o)).reshape(gradient.shape)
    step = jnp.where(weakest, eps * jnp.sign(gradient), 0.0)
    return input_perturbation.moved(acts, step).penultimate


def _count(width: int, share: float) -> int:
    """The number of entries that are a share of a width, at least 1."""
    return max(int(width * share + 1e-9), 1)  # 0.29 · 100 is 28.999...


def _kept_counts(width: int, known: int, values: _Values) -> jax.Array:
    """D - round(q D) for every number of training images below, int32 [M + 1].

    In float64, since a rounding there would keep one entry more or less.
    """
    share = 1 - np.arange(known + 1) / known  # 1 - F
    q = values.low + share * (values.high - values.low)
    kept = width - np.round(width * (100 * q) / 100)
    return jnp.asarray(np.maximum(kept, 1), jnp.int32)
