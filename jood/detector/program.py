"""The jitted program of a detector: images in, scores and predictions out."""

from collections.abc import Callable, Iterable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import batch_sizes
from jood._utils import compiling
from jood.core import assumptions
from jood.core import finiteness
from jood.core import slot_rules
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
    """Returns (variables, fitted, images) -> output, what is finite, what is assumed.

    Args:
      backbone: the network with its preprocessing.
      component: a score or a bundle.

    Returns:
      The program compiled for a network's forward pass, and as usual. It looks at the
      features, the maps that are read, the logits and all scores; see
      `finiteness.of_run`.
    """

    def score(
        variables: Mapping[str, Any], fitted: tuple[Any, ...], images: jax.Array
    ) -> tuple[Output, finiteness.Report, dict[str, jax.Array]]:
        acts = backbone.asked_by(component, variables, images)
        stages = slot_rules.maps_read(component, acts.stages)
        finite = finiteness.of_run(acts, stages)
        with assumptions.collected() as violated:
            scores = component.apply(fitted, acts)
        each = [jnp.isfinite(one) for one in jax.tree.leaves(scores)]
        finite["scores"] = functools.reduce(jnp.logical_and, each)
        return Output(scores, acts.prediction), finite, violated

    return {False: compiling.jit(score), True: jax.jit(score)}


def run(programs: Programs, variables: Any, fitted: Any, images: jax.Array) -> Output:
    """Scores images on the device; returns scores on the host, always by name.

    Images on the host are padded to one of a few sizes of batch, so that not every
    size is compiled for; those on the device have the size that was chosen for them.

    Raises:
      ValueError: the head, or something of an image, is NaN or infinite.
    """
    with channel_errors():
        score = programs[compiling.holds_large(fitted)]
        results = score(variables, fitted, batch_sizes.padded(images))
        output, finite, violated = jax.device_get(results)
        rows = len(images)  # the rest is padding
        finiteness.check({k: v[:rows] if v.ndim else v for k, v in finite.items()})
    assumptions.warn(violated)
    output = jax.tree.map(lambda values: values[:rows], output)
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
