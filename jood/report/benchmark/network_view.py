"""A network's answer and last map for a few images, for the pictures of a report."""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jood.core import compose
from jood.core.backbones.linen import Taps
from jood.core.backbones.linen import observe
from jood.data.benchmarks.spec import Benchmark
from jood.evaluation import preflight
from jood.methods.scores.feature_map import feature_sim
from jood.methods.scores.feature_map import mean_absolute_deviation
from jood.methods.transforms.ta import ta

_AT_ONCE = 8  # images per step: one compilation serves any number


class NetworkView(NamedTuple):
    """What a network makes of n images; None is what it has not.

    Attributes:
      prediction: int32 [n], the class; None without a classifier.
      plain: float32 [n, h, w], the last map summed over channels (Feature Sim,
        App. C.1).
      edited: the same with Threshold Activation.
      plain_score: float32 [n], Feature Sim of the plain pass.
      edited_score: of the pass with Threshold Activation.
    """

    prediction: Any
    plain: Any = None
    edited: Any = None
    plain_score: Any = None
    edited_score: Any = None


Look = Callable[[np.ndarray], NetworkView]  # images, uint8 [n, H, W, C] -> what is seen


def has_maps(model: nn.Module, benchmark: Benchmark) -> bool:
    """Whether a model has maps [B, H, W, C] at C4 and C5 (a transformer has tokens)."""
    size = benchmark.image_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    taps = Taps(head=preflight.head(model))
    look = functools.partial(observe, model, taps=taps)
    stages = jax.eval_shape(look, variables, images).stages
    return all(name in stages and stages[name].ndim == 4 for name in ("C4", "C5"))


def reader(
    benchmark: Benchmark, model: nn.Module, variables: Mapping[str, Any], k: float
) -> Look:
    """Returns a function from images to what the network makes of them.

    Args:
      benchmark: gives the preprocessing.
      model: the network.
      variables: its parameters and statistics.
      k: TA's threshold.
    """
    component = compose.chain(ta(k=k), feature_sim())
    (edit,) = component.edits[0]
    edits = component.edits if has_maps(model, benchmark) else ()
    head = preflight.head(model)

    @jax.jit
    def look(images: jax.Array) -> NetworkView:
        inputs = benchmark.preprocessing(images)
        acts = observe(model, variables, inputs, edits=edits, taps=Taps(head=head))
        prediction = None if head is None else acts.prediction
        if not edits:
            return NetworkView(prediction)
        plain, edited = acts.stage("C5"), acts.edit(edit.spec).stage("C5")
        return NetworkView(
            prediction,
            plain.sum(-1),
            edited.sum(-1),
            mean_absolute_deviation(plain),
            mean_absolute_deviation(edited),
        )

    def whole(images: np.ndarray) -> NetworkView:
        parts = []
        for start in range(0, len(images), _AT_ONCE):
            part = images[start : start + _AT_ONCE]
            missing = _AT_ONCE - len(part)
            padded = np.pad(part, [(0, missing), (0, 0), (0, 0), (0, 0)])
            parts.append(jax.device_get(look(padded)))
        joined = jax.tree.map(lambda *each: np.concatenate(each), *parts)
        return jax.tree.map(lambda rows: rows[: len(images)], joined)

    return whole
