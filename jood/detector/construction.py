"""Whether the parts of a `Detector` fit together, before anything runs."""

from collections.abc import Mapping
from typing import Any

import jax

from jood.core import slot_rules
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones import linen_checks
from jood.core.component import Component
from jood.detector.class_calibration import AnyCalibration
from jood.detector.class_calibration import ClassCalibration
from jood.methods import detector_text


def checked(
    component: Component | str,
    backbone: PreprocessedNetwork,
    variables: Mapping[str, Any] | None,
    class_names: tuple[str, ...] | None,
    calibration: AnyCalibration | None = None,
) -> tuple[Component, Mapping[str, Any]]:
    """Returns the component, read if it is a text, and the network's variables.

    See `jood.Detector` for the parts.

    Raises:
      TypeError: The model is of no kind that jood knows, or the variables are not a
        dict.
      ValueError: The text cannot be read, the network's weights have no values (yet),
        the component does not end in a score or needs what the network or its kind
        lacks, the variables lack 'params', the model needs more than images, or class
        names or thresholds per class are not one per class.
    """
    if isinstance(component, str):
        component = detector_text.parse(component)
    slot_rules.check_detector(component)
    head, kind, model = backbone.taps.head, backbone.kind, backbone.model
    if head is None:
        slot_rules.check_without_head(component)
    variables = kind.complete(model, variables)
    _check_values(variables, kind.name)
    kind.check(model, variables, backbone.taps)
    classes = backbone.num_classes(variables)
    if classes is None and kind.foreign:
        slot_rules.check_without_head(component)
    if lack := kind.lacks(model, backbone.taps, component):
        raise ValueError(lack)
    backbone.check_head(variables)
    linen_checks.check_class_names(class_names, classes, head)
    own = calibration.classes if isinstance(calibration, ClassCalibration) else None
    if own is not None and len(own) != classes:
        raise ValueError(
            f"the calibration has thresholds for {len(own)} classes, the network has "
            f"{classes}: calibrate this detector itself."
        )
    return component, variables


def _check_values(variables: Any, kind: str) -> None:
    """Raises ValueError if arrays are those of a program that is being traced."""
    leaves = jax.tree.leaves(variables)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise ValueError(
            f"the weights of this {kind} network are traced: the detector is made "
            "inside of jax.jit, nnx.jit, jax.grad or the like. Make it outside, and "
            "inside call the function of detector.function(), which takes the weights "
            "as an argument: function(params, images)."
        )
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        raise ValueError(
            f"the weights of this {kind} network are shapes without values, as "
            "eval_shape makes them. Load or initialise them first."
        )
