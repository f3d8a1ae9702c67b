"""Whether the parts of a `Detector` fit together, before anything runs."""

from collections.abc import Mapping
from typing import Any

from jood.core import slot_rules
from jood.core.backbones import Backbone
from jood.core.backbones import linen_checks
from jood.core.component import Component
from jood.methods import detector_text


def checked(
    component: Component | str,
    backbone: Backbone,
    variables: Mapping[str, Any],
    class_names: tuple[str, ...] | None,
) -> Component:
    """Returns the component, read if it is a text; see `jood.Detector` for the parts.

    Raises:
      TypeError: The model is no Linen module, or the variables are no dict.
      ValueError: The text cannot be read, the component does not end in a score or
        reads a classifier that the network lacks, the variables lack 'params', the
        model needs more than images, or class names are not one per class.
    """
    if isinstance(component, str):
        component = detector_text.parse(component)
    slot_rules.check_detector(component)
    head = backbone.taps.head
    if head is None:
        slot_rules.check_without_head(component)
    linen_checks.check(backbone.model, variables)
    classes = backbone.num_classes(variables)
    backbone.check_head(variables)
    linen_checks.check_class_names(class_names, classes, head)
    return component
