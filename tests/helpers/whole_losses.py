"""An objective as a step calls it, against recorded losses and gradients."""

import jax

from helpers import golden_training as golden


def check(objective, given, group, inputs, make, names=None):
    """Compares loss and gradients; returns the pass, of NumPy arrays.

    Args:
      objective: What is checked.
      given: The arrays of a group.
      group: Its name.
      inputs: Names of the arrays that the loss is differentiated by.
      make: (arrays by these names) -> the pass.
      names: Parts whose sum is subtracted.
    """

    def loss(**inner):
        total, parts = objective.loss(make(**inner), jax.random.key(0))
        return total - sum(parts[name].total for name in names or ())

    inner = {name: given[name] for name in inputs}
    golden.check(loss, inner, given, group, rtol=2e-5 if names else 1e-5)
    return jax.device_get(jax.jit(lambda inner: make(**inner))(inner))
