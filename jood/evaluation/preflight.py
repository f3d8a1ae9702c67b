"""Checks, before hours of work, that detectors, network and benchmark fit together."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.core import added_heads
from jood.core import compose
from jood.core import slot_rules
from jood.core.activations import Activations
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones import blocks
from jood.core.backbones.protocol import Taps
from jood.core.component import Component
from jood.core.ood_head import COLLECTION as OOD_HEAD
from jood.data.sources import Source
from jood.data.sources.absent import Absent
from jood.detector import Detector
from jood.weights.checkpoint import TrainedNetwork


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
            f"{len(wanted)}; jood train --new_head trains a new classifier on it."
        )
    if class_names and set(class_names) == set(wanted) and tuple(class_names) != wanted:
        raise ValueError(
            f"the network's classes are those of {benchmark.name} in another order: "
            f"{', '.join(class_names[:3])}, ... there, {', '.join(wanted[:3])}, ... "
            "here. Convert it with the order of its own training."
        )


def check_alike(networks: Mapping[str, TrainedNetwork]) -> None:
    """Checks that networks differ in their weights alone, so that means make sense.

    Raises:
      ValueError: a model, its classes, its preprocessing or what it was trained on is
        another than the first one's; the message names all that differs.
    """

    def facts(network: TrainedNetwork) -> dict[str, Any]:
        return {
            "model": network.name,
            "image size": network.image_size,
            "classes": network.class_names,
            "preprocessing": network.preprocessing,
            "benchmark": network.source.get("benchmark"),
        }

    first, *others = networks
    wanted = facts(networks[first])
    wrong = [
        f"{name}: {what} {value}, but {first} has {wanted[what]}"
        for name in others
        for what, value in facts(networks[name]).items()
        if value != wanted[what]
    ]
    if wrong:
        raise ValueError(
            "checkpoints that are averaged must be of the same model and benchmark; "
            f"{'; '.join(wrong)}. Evaluate them one by one."
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
    detectors: Mapping[str, Component],
    model: nn.Module,
    variables: Mapping[str, Any],
    training: Source | None = None,
) -> tuple[dict[str, Component], dict[str, str]]:
    """Returns the detectors that a network allows, and why not the others.

    Skips what reads a classifier, an OOD head or blocks that the network lacks, and
    what learns from training images, or from their labels, that are absent; by name.
    """
    out, labelled = {}, _labelled(training)
    for name, part in detectors.items():
        if head(model) is None and slot_rules.reads_classifier(part):
            out[name] = "the network has no classifier"
        elif OOD_HEAD in part.reads and OOD_HEAD not in variables:
            out[name] = "the network has no OOD head, which --objective=ssod trains"
        elif lacking := added_heads.lacking(part.reads, variables):
            maker = added_heads.maker(lacking[0])
            out[name] = f"the network has no {lacking[0]}, {maker}"
        elif blocks.READS in part.reads and not blocks.are_in(variables):
            out[name] = "the network has no residual blocks (modules named so)"
        elif part.passes and isinstance(training, Absent):
            out[name] = "it learns from ID training images, which are absent"
        elif part.needs_labels and not labelled:
            out[name] = "it learns per class, and the ID training images have no labels"
    return {name: part for name, part in detectors.items() if name not in out}, out


def reasons(out: Mapping[str, str]) -> list[str]:
    """Returns a line for each reason for which `possible` left detectors out."""
    return [
        f"left out, since {reason}: "
        + ", ".join(name for name, why in out.items() if why == reason)
        for reason in sorted(set(out.values()))
    ]


def _labelled(training: Source | None) -> bool:
    """Whether images have labels, as far as is known."""
    return training is None or not len(training) or "label" in training[0]


def check_forward(detectors: Mapping[str, Component]) -> None:
    """Checks that detectors look at the given images only, and only forward.

    Raises:
      ValueError: some run the network on other images or through its gradient, so that
        what stands beside forward passes cannot be measured.
    """
    if again := [name for name, part in detectors.items() if part.needs_network]:
        raise ValueError(
            f"{', '.join(again)}: run(s) the network again on other images, or through "
            "its gradient; this job measures what stands beside forward passes."
        )


def check_training(detectors: Mapping[str, Component], training: Source) -> None:
    """Checks that training images have what detectors learn from.

    Raises:
      FileNotFoundError: They are absent; the message says where they were looked for.
      ValueError: They have no labels, and detectors learn something per class.
    """
    learning = [name for name, part in detectors.items() if part.passes]
    if learning and isinstance(training, Absent):
        raise FileNotFoundError(
            f"{', '.join(learning)} learn from ID training images; without them leave "
            f"these rows out of --detectors. {training.why}"
        )
    per_class = [name for name, part in detectors.items() if part.needs_labels]
    if per_class and not _labelled(training):
        raise ValueError(
            f"{', '.join(per_class)} learn something per class, but the ID training "
            "images have no labels: put them into one folder per class, named as the "
            "network's classes, or leave these methods out."
        )


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
      variables: variables of a trained network; None takes those that the model
        begins with, which hold no OOD head.
      channels: number of channels of its images.

    Raises:
      ValueError: a detector does not end in a score, or reads what the network lacks
        (a stage, an OOD head); the message says which.
    """
    images = jax.ShapeDtypeStruct((2, image_size, image_size, channels), jnp.float32)
    if variables is None:
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
    labels = jax.ShapeDtypeStruct((2,), jnp.int32)
    together = compose.bundle(**detectors)  # refuses what does not end in a score
    backbone = PreprocessedNetwork(model, None, Taps(head=head(model)))
    if backbone.taps.head is None:
        for component in detectors.values():
            slot_rules.check_without_head(component)

    def run(variables: Any, images: Any, labels: Any) -> list[Any]:
        acts = backbone.asked_by(together, variables, images, labels)
        return [_first_step(component, acts) for component in detectors.values()]

    jax.eval_shape(run, dict(variables), images, labels)


def _first_step(component: Component, acts: Activations) -> Any:
    """What a component does first with activations: a step of fitting, or scores."""
    if not component.passes:
        return component.apply((), acts)
    statistic = component.passes[0](())
    return statistic.update(statistic.init(acts), acts, jnp.ones(2))
