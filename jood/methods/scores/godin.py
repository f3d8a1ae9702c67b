"""Generalized ODIN: the score is the numerator h, or the denominator g, of the logits.

G-ODIN (`jood.training.objectives.godin`) trains logits h_k(x) / g(x). The numerator
measures how near the feature is to a class, in one of three ways; the network's
classifier holds its weights. g, one number an image, is a head beside it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from jood._utils import arguments
from jood.core import component
from jood.core import input_perturbation
from jood.core.activations import Activations
from jood.core.activations import linear
from jood.core.component import Component

Distance = Literal["inner", "euclid", "cosine"]
DISTANCES: tuple[str, ...] = get_args(Distance)
HEAD, STATISTICS = "godin_head", "godin_head_stats"
EPSILON = 1e-5  # of the normalisation of g, as PyTorch's
_SMALL = 1e-4  # that the published code adds to a norm


def inner(features: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """h_k = h·w_k + b_k, float32 [N, K]."""
    return linear(features, kernel, bias)


def euclid(features: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """h_k = -mean over D of (h - w_k)², float32 [N, K]; the bias is not read."""
    cross = linear(features, kernel, jnp.zeros_like(bias))
    squares = jnp.square(features).sum(-1)[:, None] + jnp.square(kernel).sum(0)[None]
    return (2 * cross - squares) / len(kernel)


def cosine(features: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """h_k = h / (‖h‖₂ + 1e-4) · w_k / (‖w_k‖₂ + 1e-4), float32 [N, K]; without bias."""
    rows, columns = (
        x / (optax.safe_norm(x, 0.0, axis=axis, keepdims=True) + _SMALL)
        for x, axis in ((features, -1), (kernel, 0))
    )
    return linear(rows, columns, jnp.zeros_like(bias))


_NUMERATORS: dict[str, Callable[..., jax.Array]] = {
    "inner": inner, "euclid": euclid, "cosine": cosine,
}  # fmt: skip


def numerator(
    distance: str, features: jax.Array, kernel: jax.Array, bias: jax.Array
) -> jax.Array:
    """Returns h of features [N, D] and a classifier [D, K], [K]: float32 [N, K]."""
    return _NUMERATORS[distance](features, kernel, bias)


def denominator(
    head: Mapping[str, Any], mean: jax.Array, variance: jax.Array, features: jax.Array
) -> jax.Array:
    """G = sigmoid((G·h + c - m) / √(v + 1e-5) γ + β), float32 [N].

    Args:
      head: 'kernel' G [D, 1], 'bias' c [1], 'scale' γ [1] and 'offset' β [1].
      mean: m, of the batch in training and the running one in evaluation, [1].
      variance: v, [1].
      features: h, float32 [N, D].
    """
    raw = linear(features, head["kernel"], head["bias"])  # [N, 1]
    normalised = (raw - mean[None]) / jnp.sqrt(variance + EPSILON)[None]
    scaled = normalised * head["scale"][None] + head["offset"][None]
    return jax.nn.sigmoid(scaled)[:, 0]


@component.row("G-ODIN")
def godin(
    distance: Distance = "cosine",
    of: Literal["h", "g"] = "h",
    eps: float = 0.0,
    confidence: Literal["raw", "softmax"] = "raw",
) -> Component:
    """G-ODIN: S = max_k h_k(x̃), or g(x̃), x̃ = x + ε · s(∇_x S) / std.

    s is +1 where the gradient is >= 0, else -1: the step raises the score. ε is chosen
    by the mean score of ID images in the paper; the default runs the network once.

    Args:
      distance: The distance in training: 'inner', 'euclid' or 'cosine'.
      of: Whether the numerator 'h' or the denominator 'g' is the score.
      eps: ε >= 0, in units of the normalised image times std.
      confidence: 'raw', the paper's, or OpenOOD's 'softmax': the step raises max_k h_k
        and the score is max softmax(h); for g, a single number, it would always be 1.

    Returns:
      A score component; it needs a network that G-ODIN trained.

    Raises:
      ValueError: a name is unknown, eps is negative, or the softmax of g is asked for.

    References:
      Hsu, Shen, Jin, Kira, Generalized ODIN, CVPR 2020, Eq. 4-8; OpenOOD's code for
      'softmax'.
    """
    known = {"distance": DISTANCES, "of": ("h", "g"), "confidence": ("raw", "softmax")}
    choices = {"distance": distance, "of": of, "confidence": confidence}
    for name, value in choices.items():
        if value not in known[name]:
            names = ", ".join(map(repr, known[name]))
            raise ValueError(f"{name} must be one of {names}, got {value!r}.")
    arguments.check_at_least("eps", eps, 0)
    if of == "g" and confidence == "softmax":
        raise ValueError(
            "the softmax of the one number g is always 1, got of='g' with "
            "confidence='softmax'. Choose confidence='raw'."
        )
    still = not isinstance(eps, jax.core.Tracer) and float(eps) == 0

    def numerators(acts: Activations) -> jax.Array:
        acts.head(HEAD)  # refuses a network that G-ODIN did not train
        return numerator(distance, acts.penultimate, acts.kernel, acts.bias)

    def raw(acts: Activations) -> jax.Array:
        if of == "h":
            return numerators(acts).max(-1)
        stats = acts.head(STATISTICS)
        return denominator(
            acts.head(HEAD), stats["mean"], stats["var"], acts.penultimate
        )

    def score(acts: Activations) -> jax.Array:
        if not still:
            # A step of -ε against the loss is one of ε along the score.
            acts = input_perturbation.perturbed(acts, raw, -eps)
        if confidence == "raw":
            return raw(acts)
        return jax.nn.softmax(numerators(acts), axis=-1).max(-1)

    spec = component.call_spec("godin", **choices, eps=eps)
    return component.stateless(
        spec,
        "score",
        score,
        reads=("feature", "head", HEAD),
        needs_network=not still,
    )
