"""CARef and CADRef: how far is the feature from what is usual for its class?

The distance is relative to the feature's own length. CADRef splits it by the sign of
the head's weights: entries that raise the class's logit and entries that lower it.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic
from jood.methods.scores.gen import generalised_entropy

LogitScore = Literal["energy", "max_logit", "msp", "gen"]


def _inverse_gen(logits: jax.Array) -> jax.Array:
    """1 / Σ (p (1 - p))^0.1 over a tenth of the classes, at least ten."""
    count = max(10, logits.shape[-1] // 10)
    return 1 / generalised_entropy(logits, 0.1, count)


_LOGIT_SCORES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "energy": lambda logits: jax.nn.logsumexp(logits, axis=-1),
    "max_logit": lambda logits: logits.max(-1),
    "msp": lambda logits: jax.nn.softmax(logits).max(-1),
    "gen": _inverse_gen,
}


@component.row("CARef")
def caref() -> Component:
    """Relative distance to the mean of the predicted class: S = -‖h - μ_c‖₁ / ‖h‖₁.

    μ_k is the mean feature of the training images that the network *predicts* as k, so
    no labels are needed. A class that is never predicted takes the mean of all, and
    `fit` warns of it. A zero feature is divided by 1.

    Returns:
      A score component, <= 0. It fits μ, float32 [K, D], in one pass.

    References:
      Ling, Chang, Zhao, Zhao, Chow, Deng, CADRef, CVPR 2025, the score of CARef.
    """
    spec = component.call_spec("caref")

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        error = _error(fitted[0], acts)
        return -jnp.abs(error).sum(-1) / _length(acts)

    passes = (lambda _: _class_means(spec, _LOGIT_SCORES["energy"]),)
    return component.build(spec, "score", apply, passes)


@component.row("CADRef")
def cadref(logit: LogitScore = "energy") -> Component:
    """CARef, decoupled: S = -(e₊ / g(f) + e₋ / m).

    e₊ sums the entries of h - μ_c that raise the predicted class's logit by more than
    usual, (h - μ_c)_d sign(W_dc) > 0, and e₋ those that lower it, both over ‖h‖₁. g is
    a score of the logits and m its mean over the training images. μ is that of `caref`.
    Where g <= 0, as an energy may be, the authors' formula turns around; jood keeps it,
    except where |g| < 1e-6, which reads 1e-6.

    Args:
      logit: g: 'energy', the paper's choice, 'max_logit', 'msp', or 'gen', which is
        1 / Σ (p (1 - p))^0.1 over the max(10, K // 10) largest probabilities.

    Returns:
      A score component. It fits μ, float32 [K, D], and m in one pass.

    Raises:
      ValueError: logit is none of the four.

    References:
      Ling, Chang, Zhao, Zhao, Chow, Deng, CADRef, CVPR 2025, the score of CADRef.
    """
    if logit not in get_args(LogitScore):
        choices = ", ".join(get_args(LogitScore))
        raise ValueError(f"logit must be one of {choices}, got {logit=}.")
    g = _LOGIT_SCORES[logit]
    spec = component.call_spec("cadref", logit=logit)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        sign = jnp.sign(acts.kernel[:, acts.prediction].T)  # [B, D]
        pull = _error(fitted[0], acts) * sign / _length(acts)[:, None]
        positive, negative = jnp.maximum(pull, 0.0), jnp.maximum(-pull, 0.0)
        usual = _away_from_zero(jnp.asarray(fitted[0]["logit"]))
        own = _away_from_zero(g(acts.logits))
        return -(positive.sum(-1) / own + negative.sum(-1) / usual)

    passes = (lambda _: _class_means(spec, g),)
    return component.build(spec, "score", apply, passes)


def _class_means(name: str, g: Callable[[jax.Array], jax.Array]) -> Statistic:
    """{'mean': μ, float32 [K, D], 'logit': m, float32 []}, by predicted class."""

    def measure(acts: Activations) -> jax.Array:
        return jnp.concatenate([acts.penultimate, g(acts.logits)[:, None]], axis=-1)

    means = stats.class_means(measure, classes=lambda acts: acts.prediction)

    def finalize(state: Any) -> dict[str, np.ndarray]:
        state = means.finalize(state)
        count, mean = state["count"], state["mean"]
        method = f"{name}, which groups images by their prediction,"
        consequence = "The mean of all images takes its place."
        stats.check_classes(count, method, 1, consequence)
        overall = (count / count.sum()) @ mean  # [D + 1]
        mean = np.where(count[:, None] > 0, mean, overall[None])
        return {
            "mean": mean[:, :-1].astype(np.float32),
            "logit": np.float32(overall[-1]),
        }

    return means._replace(finalize=finalize)


def _error(fitted: dict[str, Any], acts: Activations) -> jax.Array:
    return acts.penultimate - jnp.asarray(fitted["mean"])[acts.prediction]  # [B, D]


def _length(acts: Activations) -> jax.Array:
    length = jnp.abs(acts.penultimate).sum(-1)  # [B]
    return jnp.where(length == 0, 1.0, length)


def _away_from_zero(g: jax.Array) -> jax.Array:
    return jnp.where(jnp.abs(g) < 1e-6, 1e-6, g)
