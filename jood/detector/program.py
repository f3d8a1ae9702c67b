"""The jitted program of a detector: images in, scores and predictions out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import batch_sizes
from jood._utils import compiling
from jood.core import activations
from jood.core import assumptions
from jood.core.backbones import Backbone
from jood.core.backbones import channel_errors
from jood.core.component import Component

SINGLE = "score"  # the name of the score of a detector that has only one

# By whether what was fitted holds large arrays; see `jood._utils.compiling`.
Programs = dict[bool, Callable[..., Any]]


class Output(NamedTuple):
    """What one pass over a batch gives.

    Attributes:
      scores: float32 [B], or a dict of them for a bundle.
      prediction: int32 [B], the class that the unmodified network answers.
    """

    scores: Any
    prediction: Any


def build(backbone: Backbone, component: Component) -> Programs:
    """Returns (variables, fitted, images) -> output, finite rows, broken assumptions.

    Args:
      backbone: the network with its preprocessing.
      component: a score or a bundle.

    Returns:
      The program compiled for a network's forward pass, and as usual. Rows are finite,
      bool [B], if their features and all of their scores are.
    """

    def score(
        variables: Mapping[str, Any], fitted: tuple[Any, ...], images: jax.Array
    ) -> tuple[Output, jax.Array, dict[str, jax.Array]]:
        acts = backbone.asked_by(component, variables, images)
        finite = jnp.isfinite(acts.penultimate).all(-1)
        with assumptions.collected() as violated:
            scores = component.apply(fitted, acts)
        for one in jax.tree.leaves(scores):
            finite &= jnp.isfinite(one)
        return Output(scores, acts.prediction), finite, violated

    return {False: compiling.jit(score), True: jax.jit(score)}


def run(programs: Programs, variables: Any, fitted: Any, images: jax.Array) -> Output:
    """Scores images on the device; returns scores on the host, always by name.

    Images on the host are padded to one of a few sizes of batch, so that not every
    size is compiled for; those on the device have the size that was chosen for them.

    Raises:
      ValueError: features or scores of an image are NaN or infinite.
    """
    with channel_errors():
        score = programs[compiling.holds_large(fitted)]
        results = score(variables, fitted, batch_sizes.padded(images))
    output, finite, violated = jax.device_get(results)
    activations.check_rows(finite[: len(images)], "features or scores")
    assumptions.warn(violated)
    output = jax.tree.map(lambda values: values[: len(images)], output)
    if not isinstance(output.scores, dict):
        output = output._replace(scores={SINGLE: output.scores})
    return output


def warm_up(
    programs: Programs,
    variables: Any,
    fitted: Any,
    images: Iterable[jax.ShapeDtypeStruct],
) -> None:
    """Compiles for batches of given shapes, as `run` pads them, and runs them once."""
    for one in images:
        zeros = batch_sizes.padded(np.zeros(one.shape, one.dtype))
        with channel_errors():
            score = programs[compiling.holds_large(fitted)]
            jax.block_until_ready(score(variables, fitted, zeros))
