"""Weights that were trained elsewhere, for the models of `jood.models`.

    model = jood.models.create('resnet50', num_classes=1000)
    variables = weights.load('resnet50.safetensors', model)

`load` reads a file of PyTorch's tensors (or a folder of jood's own); `from_torch_names`
and `to_torch_names` map tensors that are in memory. Each code base (torchvision, timm,
OpenOOD, ...) has its own names, given by a `Layout`; jood finds the one that fits.
"""

from collections.abc import Mapping
import os
import pathlib
from typing import Any

from flax import linen as nn
from flax import traverse_util
import numpy as np

from jood import models
from jood._utils import unknown_name
from jood.core import ood_head
from jood.weights import clip_image
from jood.weights import clip_text
from jood.weights import densenet
from jood.weights import efficientnet_lite
from jood.weights import layout as layout_lib
from jood.weights import matching
from jood.weights import mobilenet_v2
from jood.weights import mobilenet_v3
from jood.weights import reading
from jood.weights import regnet
from jood.weights import resnet
from jood.weights import resnet_cifar
from jood.weights import state_dicts
from jood.weights import swin
from jood.weights import vit
from jood.weights import wide_resnet
from jood.weights.layout import Layout as Layout

# How code bases name the tensors of a class; the first is written by default.
_LAYOUTS: dict[type[nn.Module], Mapping[str, Layout]] = {
    family.MODEL: family.LAYOUTS
    for family in (
        resnet,
        resnet_cifar,
        wide_resnet,
        densenet,
        mobilenet_v2,
        mobilenet_v3,
        efficientnet_lite,
        regnet,
        vit,
        swin,
        clip_image,
        clip_text,
    )
}


def register(
    family: models.Family, layouts: Mapping[str, Layout] | None = None
) -> None:
    """Makes a family of models known, as `jood.models.register`, and its layouts.

    Args:
      family: The family's record.
      layouts: Layouts by code base; the first is written by default.

    Raises:
      ValueError: The name of the class, or of a model, is taken.
    """
    models.register(family)
    if layouts:
        _LAYOUTS[family.module_class] = dict(layouts)


def layouts(model: nn.Module) -> dict[str, Layout]:
    """Returns the layouts known for a model's class, by code base.

    Raises:
      ValueError: There are none.
    """
    if type(model) not in _LAYOUTS:
        raise ValueError(
            f"no layout is known for a {type(model).__name__} of "
            f"{type(model).__module__}. Pass a layout=jood.weights.Layout(...) of its "
            "modules, or register it: jood.weights.register(family, layouts)."
        )
    return dict(_LAYOUTS[type(model)])


def find_layout(tensors: Mapping[str, Any], model: nn.Module) -> str:
    """Returns the name of the layout that fits the most tensors, NumPy's or PyTorch's.

    The model's number of classes does not matter.
    """
    tensors = state_dicts.tidy(tensors, "the given tensors")
    shapes = matching.expected_shapes(model)
    return matching.choose(tensors, model, shapes, layouts(model))


def num_classes(
    tensors: Mapping[str, Any], model: nn.Module, layout: str | Layout
) -> int:
    """Returns for how many classes some tensors have a classifier, 0 for none.

    The number of classes of `model` itself does not matter.
    """
    tensors = state_dicts.tidy(tensors, "the given tensors")
    return matching.head_size(tensors, model, _layout(model, layout)) or 0


def from_torch_names(
    tensors: Mapping[str, Any],
    model: nn.Module,
    layout: str | Layout | None = None,
    *,
    where: str = "the given tensors",
) -> dict[str, Any]:
    """Returns PyTorch tensors as variables of a model, for images of their channels.

    Args:
      tensors: Arrays (or PyTorch tensors) by PyTorch's names.
      model: A model of `jood.models`, or any Linen module if `layout` is a `Layout`.
      layout: Name of a code base in `layouts(model)`, a `Layout` of your own, or None
        for the code base that fits the most names.
      where: Origin of the tensors, for messages.

    Returns:
      {'params': ..., 'batch_stats': ...} of contiguous float32 arrays, and SSOD's
      'ood_head' if there are tensors 'ood_head.weight' and 'ood_head.bias'.

    Raises:
      ValueError: The tensors do not fit; the message lists all problems.
    """
    tensors, head = ood_head.from_torch(state_dicts.tidy(tensors, where))
    shapes = matching.expected_shapes(model)
    if layout is None:
        layout = matching.choose(tensors, model, shapes, layouts(model))
        where += f" (layout {layout!r}, the nearest of {', '.join(layouts(model))})"
    elif isinstance(layout, str):
        where += f" (layout {layout!r})"
    layout = _layout(model, layout)
    tensors = layout.joined(model, tensors)
    channels = matching.image_channels(tensors, model, shapes, layout)
    if channels != 3:
        shapes = matching.expected_shapes(model, channels)
    variables = matching.assign(tensors, model, shapes, layout, where)
    return {**variables, **head}


def to_torch_names(
    model: nn.Module, variables: Mapping[str, Any], layout: str | Layout
) -> dict[str, np.ndarray]:
    """Returns variables as contiguous float32 arrays by PyTorch's names.

    Args:
      model: The same as for `from_torch_names`, the inverse.
      variables: The model's; an OOD head becomes 'ood_head.weight' and '.bias'. All
        else that an objective added has no names in PyTorch and is skipped.
      layout: Name of a code base in `layouts(model)`, or a `Layout` of your own.

    Raises:
      ValueError: The layout is unknown; the near ones are listed.
    """
    layout = _layout(model, layout)
    variables, head = ood_head.to_torch(variables)
    own = {name.partition("/")[0] for name in matching.expected_shapes(model)}
    variables = {name: variables[name] for name in variables if name in own}
    flat = traverse_util.flatten_dict(variables, sep="/")
    names = layout_lib.torch_names(layout, model, flat)
    moved = {
        theirs: layout_lib.to_torch(ours, flat[ours], layout.convention)
        for ours, theirs in names.items()
    }
    tensors = layout.split(model, moved)
    return {n: np.array(t, np.float32, order="C") for n, t in tensors.items()} | head


def load(
    path: str | os.PathLike[str], model: nn.Module, layout: str | Layout | None = None
) -> dict[str, Any]:
    """Reads the weights of a model.

    Args:
      path: A file of PyTorch's tensors (see `reading.read`), or a folder: a training
        run of jood, a converted network, or a bare Orbax checkpoint.
      model: The same as for `from_torch_names`, which says what is returned.
      layout: The same; not for a folder, which has jood's own names.

    Raises:
      FileNotFoundError: There is no such file or folder.
      ImportError: PyTorch is needed and not installed.
      ValueError: The file is damaged or does not fit the model.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        if layout is not None:
            raise ValueError(f"{path} is a folder, with jood's own names: {layout=}.")
        from jood.weights import checkpoint  # Orbax takes a second to import

        return checkpoint.load_variables(path, model)
    return from_torch_names(reading.read(path), model, layout, where=str(path))


def _layout(model: nn.Module, layout: str | Layout) -> Layout:
    if isinstance(layout, Layout):
        return layout
    known = layouts(model)
    if layout not in known:
        raise unknown_name.unknown(f"layout of a {type(model).__name__}", layout, known)
    return known[layout]
