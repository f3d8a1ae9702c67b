"""The jitted program of a detector: images in, scores and predictions out."""

from collections.abc import Callable, Mapping
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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
      head, the features, the maps that are read, the logits and all scores; see
      `finiteness.report`.
    """

    def score(
        variables: Mapping[str, Any], fitted: tuple[Any, ...], images: jax.Array
    ) -> tuple[Output, finiteness.Report, dict[str, jax.Array]]:
        acts = backbone.asked_by(component, variables, images)
        stages = slot_rules.maps_read(component, acts.stages)
        finite = finiteness.report(acts, stages)
        with assumptions.collected() as violated:
            scores = component.apply(fitted, acts)
        each = [jnp.isfinite(one) for one in jax.tree.leaves(scores)]
        finite["scores"] = functools.reduce(jnp.logical_and, each)
        return Output(scores, acts.prediction), finite, violated

    return {False: compiling.jit(score), True: jax.jit(score)}


def run(programs: Programs, variables: Any, fitted: Any, images: jax.Array) -> Output:
    """Scores images on the device; returns scores on the host, always by name.

    Raises:
      ValueError: the head, or something of an image, is NaN or infinite.
    """
    with channel_errors():
        score = programs[compiling.holds_large(fitted)]
        output, finite, violated = score(variables, fitted, images)
    finiteness.check(finite)
    assumptions.warn(violated)
    output = jax.device_get(output)
    if not isinstance(output.scores, dict):
        output = output._replace(scores={SINGLE: output.scores})
    return output
