"""Classifiers in Flax Linen whose stages are modules named C2..C5.

`create(name, num_classes)` builds one, `names()` lists them; `describe` and `build`
turn a model into plain JSON values and back, which is how a saved detector
remembers its network.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

from flax import linen as nn
import numpy as np

from jood._utils import unknown_name
from jood.models import densenet
from jood.models import mobilenet_v2
from jood.models import mobilenet_v3
from jood.models import regnet
from jood.models import resnet
from jood.models import resnet_cifar
from jood.models import vit
from jood.models import wide_resnet

_FAMILIES: dict[str, type[nn.Module]] = {
    "ResNet": resnet.ResNet,
    "CifarResNet": resnet_cifar.CifarResNet,
    "WideResNet": wide_resnet.WideResNet,
    "DenseNet": densenet.DenseNet,
    "MobileNetV2": mobilenet_v2.MobileNetV2,
    "MobileNetV3": mobilenet_v3.MobileNetV3,
    "RegNet": regnet.RegNet,
    "ViT": vit.ViT,
}
_MODELS: dict[str, Callable[..., nn.Module]] = {
    **resnet.MODELS,
    **resnet_cifar.MODELS,
    **wide_resnet.MODELS,
    **densenet.MODELS,
    **mobilenet_v2.MODELS,
    **mobilenet_v3.MODELS,
    **regnet.MODELS,
    **vit.MODELS,
}


def names() -> tuple[str, ...]:
    """Returns the names that `create` knows."""
    return tuple(_MODELS)


def create(name: str, num_classes: int, **options: Any) -> nn.Module:
    """Builds a model.

    Args:
      name: one of `names()`.
      num_classes: K, the width of the logits; of a ResNet also 0, a backbone without
        a head, which returns the pooled feature [B, D].
      **options: fields of the model's class, such as `width` or `dtype`
        ('float32' or 'bfloat16').

    Returns:
      A Linen module: `model.apply(variables, images)` maps float [B, H, W, 3] to
      logits float32 [B, K] in evaluation mode.

    Raises:
      ValueError: the name or an option is unknown; the near ones are listed.

    Example:
      >>> type(create('resnet18_cifar', num_classes=10)).__name__
      'ResNet'
    """
    if name not in _MODELS:
        raise unknown_name.unknown("model", name, _MODELS)
    if isinstance(num_classes, np.integer):
        num_classes = int(num_classes)
    try:
        model = _MODELS[name](num_classes=num_classes, **options)
    except TypeError as error:
        raise ValueError(f"{error}; in models.create({name!r}).") from None
    smallest = 0 if isinstance(model, resnet.ResNet) else 1
    if type(num_classes) is not int or num_classes < smallest:
        raise ValueError(
            f"num_classes must be an integer >= {smallest}, got {num_classes!r}."
        )
    return model


def describe(model: nn.Module) -> dict[str, Any] | None:
    """Returns a model of ours as JSON values; None for a class that is not ours."""
    family = type(model).__name__
    if _FAMILIES.get(family) is not type(model):
        return None
    fields = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("parent", "name")
    }
    return {"family": family, **fields}


def build(description: dict[str, Any]) -> nn.Module:
    """Builds the model that `describe` described.

    Raises:
      ValueError: the family is unknown or a field does not fit it.
    """
    fields = dict(description)
    family = fields.pop("family", None)
    if family not in _FAMILIES:
        raise ValueError(
            f"unknown model family {family!r}; known: {', '.join(_FAMILIES)}."
        )
    known = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    try:
        return _FAMILIES[family](**known)
    except TypeError as error:
        raise ValueError(f"{error}; in a model of family {family}.") from None
