"""Do these variables belong to this model? All differences in one message."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp

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
    images = jnp.zeros([1, *image_shape])
    wanted = _shapes(jax.eval_shape(model.init, jax.random.key(0), images))
    found = _shapes(variables)
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "unexpected": sorted(found.keys() - wanted.keys()),
        "of another shape": [
            f"{name} (model {wanted[name]}, file {found[name]})"
            for name in sorted(wanted.keys() & found.keys())
            if wanted[name] != found[name]
        ],
    }
    if any(problems.values()):
        lines = [
            f"  {kind}: {', '.join(names[:_SHOWN])}"
            + f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
            for kind, names in problems.items()
            if names
        ]
        raise ValueError(
            f"{where} was made for another architecture than this "
            f"{type(model).__name__}:\n" + "\n".join(lines)
        )


def _shapes(variables: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}
