"""Layouts: the mapping between a file's tensors and our variables.

A layout lists pairs of modules (ours, the file's), as a function of the model; leaves
below them follow by their kind and the file's convention, which is PyTorch's for most:

    ours                              PyTorch
    kernel [h, w, in, out] (conv)     weight [out, in, h, w]
    kernel [in, out] (Dense)          weight [out, in]
    scale (BatchNorm, LayerNorm)      weight
    bias                              bias
    mean, var (batch_stats)           running_mean, running_var

In Flax's convention names are joined with '/', and leaves and axes are ours.

A pair may also name a single parameter (ViT's 'class_token', 'cls_token'); its axes
are moved only if it is one of the kernels above.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jood.models import layers

Pairs = Iterable[tuple[str, str]]
Tensors = Mapping[str, np.ndarray]
Change = Callable[[Any, Tensors], Tensors]  # (model, tensors) -> tensors


class Convention(NamedTuple):
    """How a framework names what a module holds, and orders its axes.

    Attributes:
      separator: Text between the names of a module and of a leaf.
      leaves: The framework's names of leaves by ours.
      axes: Our axes in the framework's order, by our leaf and the number of its axes;
        others are as ours.
    """

    separator: str
    leaves: Mapping[str, str]
    axes: Mapping[tuple[str, int], tuple[int, ...]]


PYTORCH = Convention(
    ".",
    {
        "kernel": "weight",
        "scale": "weight",
        "bias": "bias",
        "mean": "running_mean",
        "var": "running_var",
    },
    {("kernel", 4): (3, 2, 0, 1), ("kernel", 2): (1, 0)},
)
FLAX = Convention("/", {name: name for name in PYTORCH.leaves}, {})


def _as_they_are(_: Any, tensors: Tensors) -> Tensors:
    return tensors


def _as_it_is(_model: Any, _name: str, tensor: np.ndarray) -> np.ndarray:
    return tensor


class Layout(NamedTuple):
    """How a code base names the tensors of a family.

    Attributes:
      modules: Maps a model to pairs (path of our module, name of the file's), such as
        ('C2/block1/conv1', 'layer1.0.conv1'). Modules that a model lacks may be
        listed; a layout that does not list all that it has is not of this model.
      ignored: Prefixes of tensors that are not of this network, such as the decode
        head of a segmentation model.
      convention: The framework's.
      joined: Joins the tensors that a file keeps for one of ours; its names are those
        of `modules`. It leaves other tensors as they are.
      split: The inverse of `joined`.
      fitted: (model, our name, the file's tensor) -> the tensor as this model takes
        it, where that depends on the size of the images.
    """

    modules: Callable[[Any], Pairs]
    ignored: tuple[str, ...] = ()
    convention: Convention = PYTORCH
    joined: Change = _as_they_are
    split: Change = _as_they_are
    fitted: Callable[[Any, str, np.ndarray], np.ndarray] = _as_it_is


def torch_names(layout: Layout, model: Any, ours: Iterable[str]) -> dict[str, str]:
    """Returns a file's names by ours, such as 'params/C2/block1/conv1/kernel'.

    Raises:
      ValueError: The layout does not list a module (it is not of this model), or
        gives one name to two variables (it is wrong).
    """
    modules = dict(layout.modules(model))
    separator, leaves, _ = layout.convention
    names, unlisted = {}, []
    for name in ours:
        path = name.split("/", 1)[1]  # without the collection
        module, _, leaf = path.rpartition("/")
        if path in modules:
            names[name] = modules[path]
        elif module in modules and leaf in leaves:
            names[name] = f"{modules[module]}{separator}{leaves[leaf]}"
        else:
            unlisted.append(path)
    if unlisted:
        raise ValueError(
            f"this layout does not list {len(unlisted)} variables of a "
            f"{type(model).__name__}: {', '.join(unlisted[:6])}."
        )
    twice = [n for n, times in collections.Counter(names.values()).items() if times > 1]
    if twice:
        raise ValueError(f"this layout gives one name to several variables: {twice}.")
    return names


def to_torch(name: str, array: Any, convention: Convention = PYTORCH) -> np.ndarray:
    """Returns one of our variables in a framework's order of axes."""
    array = np.asarray(array)
    order = convention.axes.get((name.rpartition("/")[2], array.ndim))
    return array if order is None else array.transpose(order)


def torch_shape(
    name: str, shape: tuple[int, ...], convention: Convention = PYTORCH
) -> tuple[int, ...]:
    """Returns the shape that one of our variables has in a framework."""
    return to_torch(name, np.broadcast_to(0, shape), convention).shape


def from_torch(
    name: str, tensor: np.ndarray, convention: Convention = PYTORCH
) -> np.ndarray:
    """Returns a framework's tensor in the order of axes of our variable `name`."""
    order = convention.axes.get((name.rpartition("/")[2], tensor.ndim))
    return tensor if order is None else tensor.transpose(np.argsort(order))


def blocks(sizes: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Yields (path of our block, number of its stage, its own), counted from 0."""
    for stage, name in enumerate(layers.stages(len(sizes))):
        for block in range(sizes[stage]):
            yield f"{name}/block{block + 1}", stage, block


def below(
    ours: str, theirs: str, parts: Sequence[str], names: Sequence[str | int] = ()
) -> Pairs:
    """Yields the pairs of parts of two modules, which are called alike by default."""
    for part, name in zip(parts, names or parts, strict=True):
        yield f"{ours}/{part}", f"{theirs}.{name}"


def renamed(layout: Layout, *changes: tuple[str, str]) -> Layout:
    """Returns a layout whose PyTorch names have parts replaced, in this order."""

    def modules(model: Any) -> Pairs:
        for ours, theirs in layout.modules(model):
            for old, new in changes:
                theirs = theirs.replace(old, new)
            yield ours, theirs

    return layout._replace(modules=modules)


def prefixed(layout: Layout, prefix: str, ignored: tuple[str, ...] = ()) -> Layout:
    """Returns a layout whose PyTorch names begin with `prefix`."""

    def modules(model: Any) -> Pairs:
        return ((ours, prefix + theirs) for ours, theirs in layout.modules(model))

    return layout._replace(modules=modules, ignored=layout.ignored + ignored)
