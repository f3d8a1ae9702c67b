"""Classifiers in Flax Linen whose stages are modules named C2..C5.

`create(name, num_classes)` builds one, `names()` lists them; `describe` and `build`
turn a model into JSON values and back, for detectors and networks that are saved.
"""

import dataclasses
from typing import Any

from flax import linen as nn
import numpy as np

from jood._utils import unknown_name
from jood.models import clip_image
from jood.models import densenet
from jood.models import efficientnet_lite
from jood.models import mobilenet_v2
from jood.models import mobilenet_v3
from jood.models import regnet
from jood.models import resnet
from jood.models import resnet_cifar
from jood.models import swin
from jood.models import vit
from jood.models import wide_resnet
from jood.models.family import Family as Family

_FAMILIES = {
    family.module_class.__name__: family
    for family in (
        resnet.FAMILY,
        resnet_cifar.FAMILY,
        wide_resnet.FAMILY,
        densenet.FAMILY,
        mobilenet_v2.FAMILY,
        mobilenet_v3.FAMILY,
        efficientnet_lite.FAMILY,
        regnet.FAMILY,
        vit.FAMILY,
        swin.FAMILY,
        clip_image.FAMILY,
    )
}


def register(family: Family) -> None:
    """Makes a family's models known by name, and saved networks of its class.

    `jood.weights.register` does this and says how other code bases name its tensors.

    Raises:
      ValueError: The name of the class, or of a model, is taken.
    """
    unknown_name.check_new("model family", family.module_class.__name__, _FAMILIES)
    for name in family.models:
        unknown_name.check_new("model", name, names())
    _FAMILIES[family.module_class.__name__] = family


def names() -> tuple[str, ...]:
    """Returns the names that `create` knows."""
    return tuple(name for family in _FAMILIES.values() for name in family.models)


def create(name: str, num_classes: int, **options: Any) -> nn.Module:
    """Builds a model.

    Args:
      name: One of `names()`.
      num_classes: K, the width of the logits; for a ResNet, ViT or Swin also 0, a
        backbone without a head, which returns the penultimate feature [B, D].
      **options: Fields of the model's class, such as `width` or `dtype`.

    Returns:
      A Linen module: `model.apply(variables, images)` maps float [B, H, W, 3] to
      logits float32 [B, K] in evaluation mode.

    Raises:
      ValueError: The name or an option is unknown; the near ones are listed.

    Example:
      >>> type(create('resnet18_cifar', num_classes=10)).__name__
      'ResNet'
    """
    family = next((f for f in _FAMILIES.values() if name in f.models), None)
    if family is None:
        raise unknown_name.unknown("model", name, names())
    if isinstance(num_classes, np.integer):
        num_classes = int(num_classes)
    try:
        model = family.models[name](num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f"{error}; in models.create({name!r}).") from None
    fewest = family.fewest_classes
    if type(num_classes) is not int or num_classes < fewest:
        raise ValueError(
            f"num_classes must be an integer >= {fewest}, got {num_classes!r}."
        )
    return model


def describe(model: nn.Module) -> dict[str, Any] | None:
    """Returns a model of ours as JSON values; None for a class that is not ours."""
    family = type(model).__name__
    if family not in _FAMILIES or _FAMILIES[family].module_class is not type(model):
        return None
    fields = [field.name for field in dataclasses.fields(model)]
    own = {n: getattr(model, n) for n in fields if n not in ("parent", "name")}
    return {"family": family, **own}


def title(model: nn.Module) -> str:
    """Returns the name that `create` knows a model by, else that of its class.

    The compute type does not matter.

    Example:
      >>> title(create('resnet32', num_classes=10, dtype='bfloat16'))
      'resnet32'
    """
    described = describe(model)
    if described is None:
        return type(model).__name__
    classes = described["num_classes"]
    for name, make in _FAMILIES[described["family"]].models.items():
        other = describe(make(num_classes=classes))
        if other is not None and {**other, "dtype": described.get("dtype")} == {
            "dtype": None,
            **described,
        }:
            return name
    return type(model).__name__


def build(description: dict[str, Any]) -> nn.Module:
    """Builds the model that `describe` described.

    Raises:
      ValueError: The family is unknown or a field does not fit it.
    """
    family = description.get("family")
    if family not in _FAMILIES:
        known = ", ".join(_FAMILIES)
        raise ValueError(
            f"unknown model family {family!r}; known: {known}. Import the module that "
            "registers another one (jood.register) first; a job does with --plugins."
        )
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in description.items()}
    del fields["family"]
    try:
        return _FAMILIES[family].module_class(**fields)
    except TypeError as error:
        raise ValueError(f"{error}; in a model of family {family}.") from None
