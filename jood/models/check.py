"""Checks that variables belong to a model; one message has all differences."""

from collections.abc import Mapping, Sequence
import functools
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp

from jood.core.ood_head import COLLECTION as OOD_HEAD

_SHOWN = 6  # names per kind of difference
_OF_A_MODEL = ("params", "batch_stats")  # which no objective adds


def check_variables(
    model: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],
    where: str,
) -> None:
    """Compares the names and shapes of variables with what a model expects.

    Collections beside those of a model ('params', 'batch_stats' and what its `init`
    makes) belong to the objective that trained it and may hold anything; for those that
    scores read, the shapes are checked too.

    Args:
      model: A Linen module.
      variables: Nested dict of arrays, by collection.
      image_shape: (H, W, C) to initialise the model with; nothing is computed.
      where: The file or folder that the variables came from, for the message.

    Raises:
      ValueError: A variable is missing, unexpected or of another shape.
    """
    wanted = expected_shapes(model, image_shape)
    own = {*_OF_A_MODEL, *(name.partition("/")[0] for name in wanted), OOD_HEAD}
    given = _shapes({name: variables[name] for name in variables if name in own})
    if OOD_HEAD in variables:  # of SSOD, as wide as the model's head
        kernel = f"{OOD_HEAD}/kernel"
        like = wanted.get("params/head/kernel") or given.get(kernel, (0, 1))
        wanted = {**wanted, kernel: (like[-2], 1), f"{OOD_HEAD}/bias": (1,)}
    problems = differences(wanted, given)
    if any(problems.values()):
        raise ValueError(
            f"{where} was made for another architecture than this "
            f"{type(model).__name__}:\n{listed(problems)}"
        )


def expected_shapes(
    model: nn.Module, image_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's variables by names like 'params/head/kernel'.

    Nothing is computed; `image_shape` is (H, W, C) to initialise the model with.
    """
    return shapes_for(model, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))


def shapes_for(model: nn.Module, inputs: Any) -> dict[str, tuple[int, ...]]:
    """Returns what `expected_shapes` does, for a model that takes these inputs."""
    like = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
    try:
        hash(model)
    except TypeError:  # a field of it is an array, say
        return _traced(model, like)
    return dict(_known(model, like))


def _traced(model: nn.Module, inputs: Any) -> dict[str, tuple[int, ...]]:
    return _shapes(jax.eval_shape(model.init, jax.random.key(0), inputs))


# A conversion asks several times, and a deep network takes seconds to trace.
_known = functools.lru_cache(maxsize=64)(_traced)


def shape_of_images(
    model: nn.Module, variables: Mapping[str, Any], size: int
) -> tuple[int, int, int]:
    """Returns (size, size, C), with the channels C that some variables are for."""
    rgb = expected_shapes(model, (size, size, 3))
    return size, size, image_channels(model, _shapes(variables), size, rgb)


def image_channels(
    model: nn.Module,
    given: Mapping[str, tuple[int, ...]],
    size: int,
    wanted: Mapping[str, tuple[int, ...]],
) -> int:
    """Returns how many channels the images of a network have.

    Args:
      model: A Linen module, whose first layer fits whatever it is given first.
      given: Shapes of its variables by names like 'params/conv1/kernel'.
      size: Side in pixels of images to initialise the model with.
      wanted: The shapes that three channels give.

    Returns:
      The length in `given` of the one axis that depends on the channels; 3 if there is
      no such variable in `given`, or several.
    """
    # The model is traced again only for what is not of three channels.
    others = [n for n in given if n in wanted and given[n] != wanted[n]]
    if not others:
        return 3
    gray = expected_shapes(model, (size, size, 1))
    axes = {
        (name, axis)
        for name in others
        for axis, (one, three) in enumerate(zip(gray[name], wanted[name], strict=True))
        if (one, three) == (1, 3) and len(given[name]) == len(wanted[name])
    }
    if len(axes) != 1:
        return 3
    ((name, axis),) = axes
    return given[name][axis]


def differences(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> dict[str, list[str]]:
    """Compares the shapes of a model with those in a file, by name.

    Returns:
      Names by what is wrong: those missing, unexpected and of another shape.
    """
    return {
        "missing": sorted(wanted.keys() - given.keys()),
        "unexpected": sorted(given.keys() - wanted.keys()),
        "of another shape": [
            f"{name} (model {wanted[name]}, file {given[name]})"
            for name in sorted(wanted.keys() & given.keys())
            if wanted[name] != given[name]
        ],
    }


def listed(problems: Mapping[str, Sequence[str]]) -> str:
    """Returns a line for each kind of problem that there is, shortened."""
    return "\n".join(
        f"  {kind}: {', '.join(names[:_SHOWN])}"
        + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
        for kind, names in problems.items()
        if names
    )


def _shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}
