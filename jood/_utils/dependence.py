"""Those results of a function that depend on certain parts of its argument."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def dependent(
    function: Callable[[Any], Any], argument: Any, watched: Any
) -> dict[str, Any]:
    """Returns the leaves of `function(argument)` that may depend on watched ones.

    An operation's results depend on all that goes into it, also where an inner loop
    or function uses it for some of them only. What else the function computes is left
    to the compiler to remove.

    Args:
      function: Pure; what it closes over counts as unwatched. It is traced once.
      argument: Pytree of arrays.
      watched: Pytree of bool like `argument`.

    Returns:
      Arrays by their path in the result, as `jax.tree_util.keystr` writes it.
    """
    traced, shapes = jax.make_jaxpr(function, return_shape=True)(argument)
    program = traced.jaxpr
    marks = zip(program.invars, jax.tree.leaves(watched), strict=True)
    reached = {variable for variable, mark in marks if mark}

    def depends(variable: Any) -> bool:
        return isinstance(variable, core.Var) and variable in reached

    for equation in program.eqns:
        if any(map(depends, equation.invars)):
            reached.update(equation.outvars)
    results = core.jaxpr_as_fun(traced)(*jax.tree.leaves(argument))
    paths, _ = jax.tree_util.tree_flatten_with_path(shapes)
    return {
        jax.tree_util.keystr(path): result
        for (path, _), variable, result in zip(
            paths, program.outvars, results, strict=True
        )
        if depends(variable)
    }
