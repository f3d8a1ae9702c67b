"""Whether detectors, a network and a benchmark fit together, before hours of work."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any, Protocol

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.core import compose
from jood.core import slot_rules
from jood.core.backbones import Backbone
from jood.core.backbones.linen import Taps
from jood.core.component import Component
from jood.core.ood_head import COLLECTION as OOD_HEAD
from jood.detector import Detector


class _Classes(Protocol):
    """A benchmark, or the training data of one."""

    @property
    def name(self) -> str: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...


def check_classes(
    model: nn.Module, class_names: Sequence[str] | None, benchmark: _Classes
) -> None:
    """Checks that a network's classes are those of a benchmark, in its order.

    Args:
      model: the network; its `num_classes` is compared if it has any.
      class_names: the network's own; None if unknown.
      benchmark: a benchmark or its training data.

    Raises:
      ValueError: another number of classes, or the same names in another order.
    """
    wanted = benchmark.class_names
    classes = getattr(model, "num_classes", None)
    if wanted and classes and classes != len(wanted):
        raise ValueError(
            f"the network has {classes} classes, but {benchmark.name} has "
            f"{len(wanted)}; launch/train.py --new_head trains a new classifier on it."
        )
    if class_names and set(class_names) == set(wanted) and tuple(class_names) != wanted:
        raise ValueError(
            f"the network's classes are those of {benchmark.name} in another order: "
            f"{', '.join(class_names[:3])}, ... there, {', '.join(wanted[:3])}, ... "
            "here. Convert it with the order of its own training."
        )


def head(model: nn.Module) -> str | None:
    """Returns where the classifier is; a backbone of 0 classes has none."""
    return "head" if getattr(model, "num_classes", 1) else None


def stage_shapes(detector: Detector, image_size: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a network's stages for one square image, by sorted name."""
    used = detector.preprocessing
    channels = 3 if used is None else len(used.mean)
    images = jax.ShapeDtypeStruct((1, image_size, image_size, channels), jnp.float32)
    observe = detector.backbone.observe_normalised
    stages = jax.eval_shape(observe, dict(detector.variables), images).stages
    return {name: stages[name].shape for name in sorted(stages)}


def possible(
    detectors: Mapping[str, Component], model: nn.Module, variables: Mapping[str, Any]
) -> tuple[dict[str, Component], dict[str, str]]:
    """Returns the detectors that a network can be asked, and why not the others.

    Skips what reads a classifier or an OOD head that the network lacks; all by name.
    """
    out = {}
    for name, part in detectors.items():
        if head(model) is None and slot_rules.reads_classifier(part):
            out[name] = "the network has no classifier"
        elif OOD_HEAD in part.reads and OOD_HEAD not in variables:
            out[name] = "the network has no OOD head, which --objective=ssod trains"
    return {name: part for name, part in detectors.items() if name not in out}, out


def check(
    detectors: Mapping[str, Component],
    model: nn.Module,
    image_size: int,
    variables: Mapping[str, Any] | None = None,
    channels: int = 3,
) -> None:
    """Checks, before hours of training, that detectors fit a network.

    Args:
      detectors: components by name.
      model: the network.
      image_size: side of its square images, in pixels.
      variables: those of a trained network; None takes those that the model begins
        with, which hold no OOD head.
      channels: those of its images.

    Raises:
      ValueError: a detector does not end in a score, or reads what the network lacks
        (a stage, an OOD head); the message says which.
    """
    images = jax.ShapeDtypeStruct((2, image_size, image_size, channels), jnp.float32)
    if variables is None:
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
    labels = jax.ShapeDtypeStruct((2,), jnp.int32)
    compose.bundle(**detectors)  # refuses what does not end in a score
    backbone = Backbone(model, None, Taps(head=head(model)))

    def run(component: Component, variables: Any, images: Any, labels: Any) -> Any:
        acts = backbone.asked_by(component, variables, images, labels)
        if not component.passes:
            return component.apply((), acts)
        statistic = component.passes[0](())
        return statistic.update(statistic.init(acts), acts, jnp.ones(2))

    for component in detectors.values():
        if backbone.taps.head is None:
            slot_rules.check_without_head(component)
        one = functools.partial(run, component)
        jax.eval_shape(one, dict(variables), images, labels)
