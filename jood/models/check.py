"""Do these variables belong to this model? All differences in one message."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp

from jood.core.ood_head import COLLECTION as OOD_HEAD

_SHOWN = 6  # names per kind of difference


def check_variables(
    model: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],
    where: str,
) -> None:
    """Compares the names and shapes of variables with what a model expects.

    Args:
      model: a Linen module.
      variables: nested dict of arrays.
      image_shape: (H, W, C) to initialise the model with; nothing is computed.
      where: the file or folder that the variables came from, for the message.

    Raises:
      ValueError: a variable is missing, unexpected or of another shape.
    """
    wanted = expected_shapes(model, image_shape)
    found = _shapes(variables)
    if (
        OOD_HEAD in variables
    ):  # which SSOD trained beside the model; as wide as its head
        kernel = f"{OOD_HEAD}/kernel"
        like = wanted.get("params/head/kernel") or found.get(kernel, (0, 1))
        wanted = {**wanted, kernel: (like[-2], 1), f"{OOD_HEAD}/bias": (1,)}
    problems = differences(wanted, found)
    if any(problems.values()):
        raise ValueError(
            f"{where} was made for another architecture than this "
            f"{type(model).__name__}:\n{listed(problems)}"
        )


def expected_shapes(
    model: nn.Module, image_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's variables by name; nothing is computed.

    Args:
      model: a Linen module.
      image_shape: (H, W, C) to initialise the model with.

    Returns:
      Shapes by names such as 'params/head/kernel'.
    """
    images = jnp.zeros([1, *image_shape])
    return _shapes(jax.eval_shape(model.init, jax.random.key(0), images))


def differences(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> dict[str, list[str]]:
    """Compares shapes by name.

    Args:
      wanted: the model's.
      found: the file's.

    Returns:
      What is wrong, by its kind: names that are missing, unexpected and of another
      shape; empty lists if nothing is.
    """
    return {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{name} (model {wanted[name]}, file {found[name]})"
            for name in sorted(wanted.keys() & found.keys())
            if wanted[name] != found[name]
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
