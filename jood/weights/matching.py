"""Fits tensors with a file's names to a model: finds the code base and all problems.

One message lists all problems of a file, in its own names and order of axes, because
its author can look these up.
"""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import traverse_util
import numpy as np

from jood.models import check
from jood.weights import layout as layout_lib

Layout = layout_lib.Layout
Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, np.ndarray]

_IMAGE_SIZE = 64  # of models that take any: the shapes do not depend on it
_HEAD = "head"  # the classifier of every model of jood.models
BEFORE_HEAD = "before_head"  # in a layout, a layer of its own that no model has


def expected_shapes(model: nn.Module, channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's variables by names like 'params/head/bias'.

    A model that takes no images has an `example_input` instead.
    """
    if hasattr(model, "example_input"):
        return check.shapes_for(model, model.example_input)
    size = image_size(model)
    return check.expected_shapes(model, (size, size, channels))


def image_size(model: nn.Module) -> int:
    """Returns a side of images, in pixels, to initialise a model with."""
    return getattr(model, "image_size", _IMAGE_SIZE)


def image_channels(
    tensors: Tensors, model: nn.Module, shapes: Shapes, layout: Layout
) -> int:
    """Returns the number of channels of the images that some tensors are for, mostly 3.

    The arguments are those of `assign`.
    """
    if hasattr(model, "example_input"):
        return 3
    names = layout_lib.torch_names(layout, model, shapes)
    file_shapes = {
        ours: layout_lib.from_torch(ours, tensors[theirs], layout.convention).shape
        for ours, theirs in names.items()
        if theirs in tensors
    }
    return check.image_channels(model, file_shapes, image_size(model), shapes)


def choose(
    tensors: Tensors, model: nn.Module, shapes: Shapes, layouts: Mapping[str, Layout]
) -> str:
    """Returns the name of the layout that fits the most tensors of a file.

    Args:
      tensors: Tensors by PyTorch's names.
      model: A Linen module.
      shapes: `expected_shapes(model)`.
      layouts: Layouts by code base; the first of those that fit equally well is taken.
        One of a code base that has no such variant of the model is skipped.

    Raises:
      ValueError: No layout lists all modules of this model.
    """
    fits = {}
    for name, layout in layouts.items():
        try:
            wanted = layout_lib.torch_names(layout, model, shapes).values()
        except ValueError as error:
            reason = error
            continue
        joined = layout.joined(model, tensors)
        given = _belonging(joined, model, shapes, layout).keys()
        matches = len(given & wanted)
        fits[name] = matches, matches - len(given)
    if not fits:
        raise reason
    return max(fits, key=lambda name: fits[name])


def head_size(tensors: Tensors, model: nn.Module, layout: Layout) -> int | None:
    """Returns the number of classes of a file, None if it has no classifier."""
    separator, leaves, _ = layout.convention
    names = (
        f"{name}{separator}{leaves['kernel']}" for name in _head_names(model, layout)
    )
    kernels = [
        layout_lib.from_torch("kernel", tensors[name], layout.convention)
        for name in names
        if name in tensors
    ]
    return int(kernels[0].shape[-1]) if kernels else None


def assign(
    tensors: Tensors, model: nn.Module, shapes: Shapes, layout: Layout, where: str
) -> dict[str, Any]:
    """Returns a file's tensors as variables of a model, contiguous float32 arrays.

    The arguments are those of `choose`, except that the tensors are joined already, and
    for the message the file and its layout.

    Raises:
      ValueError: Tensors are missing, unexpected, of another shape, not of floating
        point or not finite; all are in one message.
    """
    names = layout_lib.torch_names(layout, model, shapes)
    convention = layout.convention
    wanted = {
        names[n]: layout_lib.torch_shape(n, s, convention) for n, s in shapes.items()
    }
    ours = {theirs: n for n, theirs in names.items()}
    given = {
        theirs: layout.fitted(model, ours[theirs], t) if theirs in ours else t
        for theirs, t in _belonging(tensors, model, shapes, layout).items()
    }
    problems = check.differences(wanted, {n: t.shape for n, t in given.items()})
    used = {n: t for n, t in given.items() if n in wanted}
    others = sorted(n for n, t in used.items() if t.dtype.kind != "f")
    problems["of no floating-point type"] = [f"{n} ({used[n].dtype})" for n in others]
    problems["with values that are not finite"] = sorted(
        n for n, t in used.items() if n not in others and not np.isfinite(t).all()
    )
    if any(problems.values()):
        raise ValueError(
            f"{where} does not fit this {type(model).__name__}:\n"
            + check.listed(problems)
            + _advice(problems, tensors, model, layout)
        )
    moved = {
        n: layout_lib.from_torch(n, given[theirs], convention)
        for n, theirs in names.items()
    }
    flat = {n: np.array(array, np.float32, order="C") for n, array in moved.items()}
    return traverse_util.unflatten_dict(flat, sep="/")


def _belonging(
    tensors: Tensors, model: nn.Module, shapes: Shapes, layout: Layout
) -> Tensors:
    """Skips what is not of this network; the classifier, if it has none."""
    ignored = layout.ignored
    if not any(name.startswith(f"params/{_HEAD}/") for name in shapes):
        ignored += _prefixes(model, layout, (_HEAD, BEFORE_HEAD))
    return {name: t for name, t in tensors.items() if not name.startswith(ignored)}


def _head_names(model: nn.Module, layout: Layout) -> list[str]:
    return [theirs for ours, theirs in layout.modules(model) if ours == _HEAD]


def _prefixes(
    model: nn.Module, layout: Layout, modules: tuple[str, ...]
) -> tuple[str, ...]:
    """How a file's names of what some of our modules hold begin."""
    separator = layout.convention.separator
    return tuple(
        theirs + separator for ours, theirs in layout.modules(model) if ours in modules
    )


def _advice(
    problems: Mapping[str, list[str]],
    tensors: Tensors,
    model: nn.Module,
    layout: Layout,
) -> str:
    """What to do if nothing but the number of classes differs."""
    classes = getattr(model, "num_classes", None)
    in_file = head_size(tensors, model, layout)
    head = _prefixes(model, layout, (_HEAD,))
    before = _prefixes(model, layout, (BEFORE_HEAD,))
    named = [name for names in problems.values() for name in names]
    if not head or not named or not all(n.startswith(head + before) for n in named):
        return ""
    if any(n.startswith(before) for n in named if before):
        return (
            "\nThe file's classifier reads a layer of its own, which this network does "
            "not have. Take the network without it, num_classes=0 (--num_classes=0), "
            "and train a new one (--new_head)."
        )
    if classes == in_file:
        return ""
    if in_file is None:
        advice = "a ResNet, ViT or Swin of num_classes=0 has none either"
        advice = getattr(model, "lacks_head", advice)
        return f"\nOnly the classifier is missing: {advice}."
    return (
        f"\nOnly the classifier differs: num_classes={in_file} in the file, {classes} "
        f"in the model. Make the model with num_classes={in_file} (a ResNet, "
        "ViT or Swin also with 0, for the network without its classifier)."
    )
