"""What an objective is: pure functions over a training-mode forward pass.

    images, drawn = objective.images(augmented, batch, key)
    outputs, batch_stats = look(model, variables, images, labels)
    loss, parts = objective.loss(outputs, key)

An objective reads the record that detectors read (`jood.Activations`). The record below
holds everything that jobs need to know about an objective.
"""

from collections.abc import Callable, Mapping
import inspect
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


# (key, images uint8 [N, H, W, C]) -> images augmented and normalised, [N, H, W, C];
# without images, those of the ID batch.
Augmented = Callable[..., jax.Array]


def one_view(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, Any]:
    """Returns the ID batch, augmented once: what most objectives look at."""
    del batch
    return augmented(key), None


class Objective(NamedTuple):
    """A loss, and what it adds to a network, to its validation and to its tables.

    Attributes:
      spec: Its own text; `objectives.parse(objective.spec)` gives it back.
      loss: (pass over a batch, key of the step) -> the loss, float32 [], and what it
        consists of, by name, for the log.
      init: (key, D) or (key, D, K) -> collections beside the network's own, by name,
        such as {'ood_head': {'kernel': [D, 1], 'bias': [1]}}; `loss` finds them in
        `outputs.added`. Scores find those with '_head' in their name in `acts.heads`.
      state: Names of the collections among them that the optimiser leaves alone.
      update: (pass over a batch) -> the next values of these, by name.
      images: (augmented, batch, key) -> the images [N, H, W, C] that the network is run
        on, and what was drawn for them, a pytree that `loss` finds in `outputs.drawn`.
        `augmented(key)` gives the ID batch, augmented and normalised, for each key
        another view of it; `augmented(key, images)` other uint8 images. The first B
        rows are the labelled ID images, of which the accuracy is taken. By default
        one view.
      outliers: Description of the outliers that it needs, for the error of a run
        without any; '' if it needs none. They are `batch.outliers`, uint8 [M, H, W, C].
      reference: (pass over the same images in evaluation mode, of the network that the
        run began with) -> what `loss` needs of it, a pytree that it finds in
        `outputs.reference`; no gradient. None runs no such pass.
      sample: p_j(y) [B, HW] -> the locations that it takes for ID and for background,
        for pictures; by default those of SSOD with the paper's γ.
      validation: Scores to measure while training beside the usual ones, by name:
        texts, or components that fit nothing. By default the last rates checkpoints.
      rows: Texts of the scores that go with it, by name; some can be asked of its
        networks alone.
      advice: (the log's values of the first epoch's last step, epochs of the run) -> a
        warning; '' for none.
      fine_tuning_rate: Its own usual learning rate for fine-tuning.
    """

    spec: str
    loss: Callable[[TrainingPass, jax.Array], tuple[jax.Array, dict[str, Part]]]
    init: Callable[..., Mapping[str, Any]] = lambda key, width: {}
    state: tuple[str, ...] = ()
    update: Callable[[TrainingPass], Mapping[str, Any]] = lambda outputs: {}
    images: Callable[[Augmented, Any, jax.Array], tuple[Any, Any]] = one_view
    outliers: str = ""
    reference: Callable[[TrainingPass], Any] | None = None
    sample: Callable[[jax.Array], Patches] = lambda p: sample_patches(p, 0.95)
    validation: Mapping[str, str | Component] = types.MappingProxyType({})
    rows: Mapping[str, str] = types.MappingProxyType({})
    advice: Callable[[Mapping[str, float], int], str] = lambda values, epochs: ""
    fine_tuning_rate: float | None = None


def added(
    objective: Objective, key: jax.Array, width: int, classes: int
) -> dict[str, Any]:
    """Returns the collections that an objective begins with.

    Args:
      objective: Its `init` takes D alone, or D and K.
      key: Decides what is drawn.
      width: D, of the penultimate feature.
      classes: K, of the network's classifier.
    """
    takes = len(inspect.signature(objective.init).parameters)
    return dict(objective.init(key, *(width, classes)[: takes - 1]))
