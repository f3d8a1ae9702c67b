"""What an objective is: pure functions over a training-mode forward pass.

    seen, batch_stats = look(model, variables, images, labels)
    loss, parts = objective.loss(seen, key)

An objective reads the record that detectors read (`jood.Activations`). All that the
jobs need to know of one stands in the record below.
"""

from collections.abc import Callable, Mapping
import types
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jood.core.component import Component
from jood.training.forward import TrainingPass
from jood.training.objectives.patches import Patches
from jood.training.objectives.patches import sample_patches


class Part(NamedTuple):
    """A mean that is still a sum, so that those of several batches can be joined.

    Attributes:
      total: The sum, float32 [].
      count: The number of summands, float32 [].
    """

    total: Any
    count: Any

    @property
    def mean(self) -> Any:
        """The mean; 0 if there is nothing to average."""
        return self.total / jnp.maximum(self.count, 1.0)


class Objective(NamedTuple):
    """A loss, and what it adds to a network, to its validation and to its tables.

    Attributes:
      spec: Its own text; `objectives.parse(objective.spec)` gives it back.
      loss: (pass over a batch, key of the step) -> the loss, float32 [], and what it
        consists of, by name, for the log.
      init: (key, D) -> collections beside the network's own, by name, such as
        {'ood_head': {'kernel': [D, 1], 'bias': [1]}}; `loss` finds them in
        `seen.added`.
      state: Names of the collections among them that the optimiser leaves alone.
      update: (pass over a batch) -> the next values of these, by name.
      reference: (pass over the same images in evaluation mode, of the network that the
        run began with) -> what `loss` wants of it, a pytree that it finds in
        `seen.reference`; no gradient. None runs no such pass.
      sample: p_j(y) [B, HW] -> the locations that it takes for ID and for background,
        for pictures; by default those of SSOD with the paper's γ.
      validation: Scores to measure while training beside the usual ones, by name:
        texts, or components that fit nothing. By default the last rates checkpoints.
      rows: Texts of detectors that only its networks can be asked, by name.
      fine_tuning_rate: Its own usual learning rate for fine-tuning.
    """

    spec: str
    loss: Callable[[TrainingPass, jax.Array], tuple[jax.Array, dict[str, Part]]]
    init: Callable[[jax.Array, int], Mapping[str, Any]] = lambda key, width: {}
    state: tuple[str, ...] = ()
    update: Callable[[TrainingPass], Mapping[str, Any]] = lambda seen: {}
    reference: Callable[[TrainingPass], Any] | None = None
    sample: Callable[[jax.Array], Patches] = lambda p: sample_patches(p, 0.95)
    validation: Mapping[str, str | Component] = types.MappingProxyType({})
    rows: Mapping[str, str] = types.MappingProxyType({})
    fine_tuning_rate: float | None = None
