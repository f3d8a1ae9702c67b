"""What an objective is: pure functions over a training-mode forward pass.

    seen, batch_stats = look(model, variables, images, labels)
    loss, parts = objective.loss(seen, key)

An objective reads the record that detectors read (`jood.Activations`), so what a
loss shapes and what a score reads have the same names. It is also a text, for flags
and files: `lff(delta=0.1, mu=1.0, lam=1.0)`, which `jood.training.objectives.parse`
reads.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jood.training.forward import TrainingPass
from jood.training.objectives.patches import Patches
from jood.training.objectives.patches import sample_patches


class Part(NamedTuple):
    """A mean that is still a sum, so that those of several batches can be joined.

    Attributes:
      total: float32 [], the sum.
      count: float32 [], of how many.
    """

    total: Any
    count: Any


class Objective(NamedTuple):
    """A loss, with what it trains beside the network.

    Attributes:
      spec: its own text; `losses.parse(objective.spec)` gives it back.
      init: (key, D) -> further collections of trainable variables, such as
        {'ood_head': {'kernel': [D, 1], 'bias': [1]}}; {} for most. They travel with
        the network's variables.
      loss: (what the pass gave, key) -> the loss, float32 [], and what it consists
        of, by name, for the log. The key is another one in every step.
      sample: p_j(y) [B, HW] -> the locations that it takes for ID and for background,
        for pictures; by default those of SSOD with the paper's γ.
    """

    spec: str
    init: Callable[[jax.Array, int], dict[str, Any]]
    loss: Callable[[TrainingPass, jax.Array], tuple[jax.Array, dict[str, Part]]]
    sample: Callable[[jax.Array], Patches] = lambda p: sample_patches(p, 0.95)


def nothing_more(key: jax.Array, width: int) -> dict[str, Any]:
    """The `init` of an objective that trains nothing beside the network."""
    del key, width
    return {}
