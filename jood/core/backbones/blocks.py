"""The maps of a network's residual blocks: finer than its stages, read on demand.

Stages are what most methods read. FeatureNorm chooses among all blocks; those are found
by their modules' names, so that networks from outside jood have them too.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax

READS = "block"  # in `Component.reads` of what reads blocks


def is_block(path: tuple[str, ...]) -> bool:
    """Whether a module's path is that of a block: 'block3', 'ResidualBlock_0'.

    The parts of a block are none, whatever their names.
    """
    named = ["block" in name.lower() for name in path]
    return named[-1:] == [True] and not any(named[:-1])


def are_in(variables: Mapping[str, Any]) -> bool:
    """Whether a network's variables name a block."""
    modules = (path[:-1] for path in traverse_util.flatten_dict(variables["params"]))
    return any(is_block(path[:n]) for path in modules for n in range(1, len(path) + 1))


def maps(run: Callable[[], Any]) -> dict[str, jax.Array]:
    """Returns what each block gives while `run` runs a Linen network once.

    Args:
      run: Applies the network; a block that it calls twice is there with its last map.

    Returns:
      Maps [B, H, W, C] (or tokens [B, L, C]) by module path, 'C5/block2', in the order
      of the calls; {} if no module is named like a block.
    """
    outputs: dict[str, jax.Array] = {}

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = call(*args, **kwargs)
        path = context.module.path
        maps = isinstance(output, jax.Array) and output.ndim in (3, 4)
        if maps and context.method_name == "__call__" and is_block(path):
            outputs["/".join(path)] = output
        return output

    with nn.intercept_methods(intercept):
        run()
    return outputs
