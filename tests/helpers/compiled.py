"""Running what is tested as one program, not operation by operation.

An operation outside `jit` is compiled by itself for each shape, 20 ms and more.
"""

import jax


def apply(component, fitted, acts):
    """Returns `component.apply(fitted, acts)`."""
    return jax.jit(component.apply)(fitted, acts)


def run(function, *arguments):
    """Returns `function(*arguments)`, of arrays only."""
    return jax.jit(function)(*arguments)
