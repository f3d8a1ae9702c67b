"""The temperature of best calibration; slot logit: `fitted_temperature()|msp()`.

The negative log-likelihood is convex in β = 1 / T, so its derivative has one zero. Each
pass sums the derivative at a grid of β; the next grid lies between the two values
where its sign turns.
"""

import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core import component
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.core.component import Statistic

_LOGGER = logging.getLogger(__name__)
COLDEST, HOTTEST = 0.01, 100.0  # the range of T that is searched
_POINTS = 64  # of a grid; after two, T is known to 1e-6 of its value


@component.row("MSP (fitted T)", "fitted_temperature()|msp()")
def fitted_temperature() -> Component:
    """Divides the logits by the T that minimises the training images' NLL.

    T = argmin_T mean of log Σ_k exp(f_k / T) - f_y / T, y the label. A network that
    fits its training images has a small T on them; fit on held-out images to
    calibrate, as the paper does. T is searched in [0.01, 100]; where the optimum lies
    outside, as for a network that makes no mistake, the nearer end is taken, and the
    log says so.

    Returns:
      A component of slot 'logit'. It fits T, float32 [], in two passes, and needs
      labels.

    Raises:
      ValueError: while fitting, if the training data carry no labels.

    References:
      Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML
      2017, Sec. 4.2.
    """

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Activations:
        return acts.with_logits(acts.logits / fitted[1])

    passes = (
        lambda _: _slopes(np.geomspace(1 / HOTTEST, 1 / COLDEST, _POINTS), _bracket),
        lambda fitted: _slopes(
            np.geomspace(fitted[0][0], fitted[0][1], _POINTS), _zero
        ),
    )
    spec = component.call_spec("fitted_temperature")
    return component.build(spec, "logit", apply, passes, needs_labels=True)


def _slopes(betas: np.ndarray, finalize: Any) -> Statistic:
    """The mean of ∂NLL/∂β = Σ_k p_k f_k - f_y at each β, for `finalize`."""
    grid = jnp.asarray(betas, jnp.float32)  # [G]

    def measure(acts: Activations) -> jax.Array:
        label = stats.by_label(acts)[:, None]
        # Relative to f_y, so that nothing large cancels.
        f = acts.logits - jnp.take_along_axis(acts.logits, label, axis=-1)  # [B, K]

        def slope(beta: jax.Array) -> jax.Array:
            return (jax.nn.softmax(beta * f) * f).sum(-1)  # [B]

        return jax.lax.map(slope, grid).T  # [B, G]

    mean = stats.mean(measure)
    return mean._replace(finalize=lambda s: finalize(betas, mean.finalize(s)))


def _turn(slopes: np.ndarray) -> int:
    """The index of the last of two neighbours between which the sign turns."""
    return int(np.clip(np.searchsorted(slopes > 0, True), 1, len(slopes) - 1))


def _bracket(betas: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    index = _turn(slopes)
    return betas[index - 1 : index + 1]


def _zero(betas: np.ndarray, slopes: np.ndarray) -> np.float32:
    """T = 1 / β at the zero of the line between two neighbours."""
    index = _turn(slopes)
    (low, high), (a, b) = betas[index - 1 : index + 1], slopes[index - 1 : index + 1]
    share = np.clip(-a / (b - a), 0.0, 1.0) if b > a else float(b <= 0)
    T = 1 / (low + share * (high - low))
    if not COLDEST * 1.01 < T < HOTTEST / 1.01:
        _LOGGER.warning(
            "fitted_temperature(): the likelihood of the training labels is best at "
            "or beyond the end of the range, T = %.3g. Fit on held-out images.",
            T,
        )
    return np.float32(T)
