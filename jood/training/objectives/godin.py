"""Generalized ODIN: logits h_k(x) / g(x), of which h or g alone is the score.

The quotient lets the network separate "of a class" (h) from "familiar at all" (g). What
h and g are, and the score, stand in `jood.methods.scores.godin`.
"""

from typing import Any, get_args

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core.activations import linear
from jood.methods.scores.godin import HEAD
from jood.methods.scores.godin import STATISTICS
from jood.methods.scores.godin import Distance
from jood.methods.scores.godin import denominator
from jood.methods.scores.godin import numerator
from jood.training.forward import TrainingPass
from jood.training.objectives import projection
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

_MOMENTUM = 0.1  # share of the batch in the running statistics, as PyTorch counts


def batch_statistics(
    head: dict[str, jax.Array], features: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of G·h + c over the batch, float32 [1] each."""
    raw = linear(features, head["kernel"], head["bias"])  # [N, 1]
    mean = raw.mean(0)
    return mean, jnp.square(raw - mean[None]).mean(0)


def running(
    before: dict[str, jax.Array], mean: jax.Array, variance: jax.Array, count: int
) -> dict[str, jax.Array]:
    """The running statistics after a batch; the variance is the unbiased one.

    Args:
      before: 'mean' and 'var', float32 [1] each.
      mean: The batch's mean.
      variance: The batch's biased one.
      count: N of the batch.
    """
    unbiased = variance * count / max(count - 1, 1)
    new = {"mean": mean, "var": unbiased}
    return {k: (1 - _MOMENTUM) * before[k] + _MOMENTUM * new[k] for k in before}


def godin(distance: Distance = "cosine") -> Objective:
    """L = CE(h / g, y); its score is `godin(distance=...)` with the same distance.

    h reads the weights of the network's classifier, whose own prediction, argmax h W +
    b, is that of h where its columns are equally long. The log's accuracy is that of h.
    Weight decay acts on all kernels; the published recipes spare that of h.

    Args:
      distance: Kind of h: 'inner' (a linear layer), 'euclid' or 'cosine'.

    References:
      Hsu, Shen, Jin, Kira, Generalized ODIN, CVPR 2020, Eq. 4-7; no code of theirs is
      public: the details are OpenOOD's and guyera's.
    """
    if distance not in get_args(Distance):
        known = ", ".join(map(repr, get_args(Distance)))
        raise ValueError(f"distance must be one of {known}, got {distance!r}.")

    def init(key: jax.Array, width: int) -> dict[str, Any]:
        layer = projection.linear_layer(key, width, 1)
        layer |= {"scale": jnp.ones(1), "offset": jnp.zeros(1)}
        return {HEAD: layer, STATISTICS: {"mean": jnp.zeros(1), "var": jnp.ones(1)}}

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        acts, head = outputs.acts, outputs.added[HEAD]
        statistics = batch_statistics(head, acts.penultimate)
        h = numerator(distance, acts.penultimate, acts.kernel, acts.bias)
        g = denominator(head, *statistics, acts.penultimate)
        correct = jnp.sum(h.argmax(-1) == outputs.labels, dtype=jnp.float32)
        count = jnp.float32(len(outputs.labels))
        return softmax_cross_entropy(h / g[:, None], outputs.labels), {
            "accuracy": Part(correct, count),
            "denominator": Part(g.sum(), count),
        }

    def update(outputs: TrainingPass) -> dict[str, Any]:
        features = jax.lax.stop_gradient(outputs.acts.penultimate)
        statistics = batch_statistics(outputs.added[HEAD], features)
        return {
            STATISTICS: running(outputs.added[STATISTICS], *statistics, len(features))
        }

    text = f"godin(distance={distance!r})"
    return Objective(
        component.call_spec("godin", distance=distance),
        loss,
        init=init,
        state=(STATISTICS,),
        update=update,
        validation={"godin": text},
        rows={"G-ODIN": text},
    )
