"""GradUncertainty: how far would the head move if the image were of every class?

The gradient of the head is an outer product, so its norm needs no backward pass.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jood.core import component
from jood.core.activations import Activations
from jood.core.component import Component

Parameters = Literal["weight_bias", "weight"]


@component.row("GradUncertainty")
def grad_uncertainty(parameters: Parameters = "weight_bias") -> Component:
    """Squared norm of the head's gradient for the label 'every class'.

    The loss is the binary cross-entropy of p = softmax(f) and a vector of ones, so
    S = ‖K p - 1‖² ‖h‖² for the weights, and ‖K p - 1‖² (‖h‖² + 1) with the bias.
    PyTorch's cross-entropy divides by at least 1e-12 where p (1 - p) stands, so that
    there a class with p below that counts nothing, and a very confident image scores
    like a very uncertain one. Here every class counts.

    Args:
      parameters: The head's parameters: 'weight_bias', all, or 'weight'.

    Returns:
      A score component, >= 0.

    Raises:
      ValueError: parameters is neither.

    References:
      Lee, AlRegib, Gradients as a Measure of Uncertainty in Neural Networks, ICIP 2020,
      the confounding label of all classes.
    """
    if parameters not in get_args(Parameters):
        raise ValueError(
            f"parameters must be 'weight_bias' or 'weight', got {parameters=}."
        )
    bias = float(parameters == "weight_bias")

    def function(acts: Activations) -> jax.Array:
        gradient = acts.logits.shape[-1] * jax.nn.softmax(acts.logits) - 1  # [B, K]
        length = jnp.square(acts.penultimate).sum(-1) + bias
        return jnp.square(gradient).sum(-1) * length

    return component.score(
        component.call_spec("grad_uncertainty", parameters=parameters), function
    )
