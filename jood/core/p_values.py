"""`combine`: detectors joined by their p-values, in place of a weighted sum of scores.

A p-value is the share of training images that a detector finds at least as unusual. It
has no unit, so detectors of any scale can be joined without weights. Combined p-values
are a score again; `Detector.calibrate`, on images that nothing was fitted to, turns
that into one whose false alarms are bounded.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import compose
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.stats import reservoir

Rule = Literal["fisher", "brown", "harmonic"]
_LARGEST = float(np.finfo(np.float32).max)


def combine(
    *parts: Component, rule: Rule = "fisher", capacity: int = reservoir.CAPACITY
) -> Component:
    """Joins detectors by the p-values of their scores; higher = more ID.

    p_i(x) is the share of training images with a score of at most S_i(x), interpolated
    between them, in (0, 1]. With τ = -2 Σ_i log p_i over P parts:

    - fisher: S = P(χ²(2P) >= τ), the p-value if the parts were independent;
    - brown: S = P(χ²(k) >= τ / c), c = v / (2 m), k = 2 m² / v, m and v the mean and
      variance of τ over the training images: parts may depend;
    - harmonic: S = P / Σ_i 1 / p_i, valid up to a factor however they depend.

    Training images were fitted to, so S alone promises nothing of new images. After
    `Detector.calibrate` on held-out ID images, at most a share α of new ID images gets
    a p-value of at most α, whatever the rule and the dependence.

    Args:
      *parts: at least two components that return a score [B].
      rule: one of the three.
      capacity: number of training images whose scores are kept, a uniform sample of
        all.

    Returns:
      A component that returns a score, in [0, 1].

    Raises:
      ValueError: a part returns no score, there are fewer than two, the rule is none of
        the three or the capacity is below 1.

    References:
      Fisher, Statistical Methods for Research Workers, 1932, Sec. 21.1; Brown, A Method
      for Combining Non-Independent, One-Sided Tests of Significance, Biometrics 1975;
      Wilson, The Harmonic Mean p-Value for Combining Dependent Tests, PNAS 2019.

    Example:
      >>> import jax, jood
      >>> component = jood.parse("combine(msp(), energy(), rule='brown')")
      >>> acts = jood.Activations.of(jax.random.normal(jax.random.key(0), (9, 4)),
      ...                            kernel=jax.numpy.eye(4))
      >>> component.apply(jood.fit(component, [acts]), acts).shape
      (9,)
    """
    for part in parts:
        if not isinstance(part, Component):
            raise TypeError(
                f"combine() takes components, got a {type(part).__name__}. p-values "
                "that detectors got by calibrations of their own, on other images, "
                "cannot be combined: combine the components, then fit and calibrate "
                "the one detector that they make, jood.Detector(jood.combine(a, b), "
                "...).fit(train).calibrate(held_out)."
            )
    if len(parts) < 2:
        raise ValueError(f"combine() needs at least two scores, got {len(parts)}.")
    if rule not in get_args(Rule):
        raise ValueError(
            f"rule must be one of {', '.join(get_args(Rule))}, got {rule=}."
        )
    arguments.check_count("capacity", capacity)
    inner = compose.bundle(**{f"part{i}": part for i, part in enumerate(parts)})
    own = len(inner.passes)

    def scores(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        return jnp.stack(list(inner.apply(fitted[:own], acts).values()), axis=-1)

    def p_values(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        """[B, P], each in (0, 1]."""
        support = jnp.asarray(fitted[own])  # [P, M + 2]
        levels = jnp.arange(1, support.shape[1] + 1) / support.shape[1]
        columns = zip(scores(fitted, acts).T, support, strict=True)
        return jnp.stack([jnp.interp(s, x, levels) for s, x in columns], axis=-1)

    def tau(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        return -2 * jnp.log(p_values(fitted, acts)).sum(-1)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        if rule == "harmonic":
            return len(parts) / (1 / p_values(fitted, acts)).sum(-1)
        scale, freedom = fitted[own + 1] if rule == "brown" else (1.0, 2.0 * len(parts))
        return jax.scipy.special.gammaincc(freedom / 2, tau(fitted, acts) / scale / 2)

    passes = [*inner.passes, lambda fitted: _supports(scores, fitted, capacity)]
    if rule == "brown":
        passes.append(lambda fitted: _brown(tau, fitted, len(parts)))
    texts = ", ".join(part.spec for part in parts)
    whole = component.build(
        f"combine({texts}, rule={rule!r}, capacity={capacity})",
        "score",
        apply,
        tuple(passes),
        edits=inner.edits,
        entry=inner.entry,
        reads=inner.reads,
        needs_network=inner.needs_network,
        needs_labels=inner.needs_labels,
    )
    if rule == "harmonic":
        return whole
    # Near 1 and near 0 the probability saturates; τ ranks alike.
    return whole._replace(
        ranking=whole._replace(apply=lambda fitted, acts: -tau(fitted, acts))
    )


def _supports(scores: Any, fitted: tuple[Any, ...], capacity: int) -> Statistic:
    """The training scores of each part, ascending, between two bounds: [P, M + 2].

    The bounds lie far out, where no score of M images has been: at them the p-value
    is 1 / (M + 2) and 1.
    """
    statistic = reservoir.bank(
        lambda acts: scores(fitted, acts),
        capacity,
        hashed=lambda acts: acts.original,  # short rows of scores may be equal
    )

    def finalize(state: Any) -> np.ndarray:
        rows = np.sort(statistic.finalize(state).astype(np.float64), axis=0).T
        count = rows.shape[1]
        low, high = rows[:, :1], rows[:, -1:]
        low = np.where(low < 0, low * count, low / count)
        high = np.where(high > 0, high * count, high / count)
        bounded = np.concatenate([low, rows, high], axis=1)
        return np.clip(bounded, -_LARGEST, _LARGEST).astype(np.float32)

    return statistic._replace(finalize=finalize)


def _brown(tau: Any, fitted: tuple[Any, ...], parts: int) -> Statistic:
    """C and k of Brown's approximation, float32 [2]; Fisher's where τ does not vary."""
    moments = stats.moments(lambda acts: tau(fitted, acts)[:, None])

    def finalize(state: Any) -> np.ndarray:
        mean, variance = float(state["mean"][0]), float(stats.variance(state)[0])
        if not variance > 1e-12 * mean**2:
            return np.array([1.0, 2.0 * parts], np.float32)
        return np.array([variance / (2 * mean), 2 * mean**2 / variance], np.float32)

    return moments._replace(finalize=finalize)
