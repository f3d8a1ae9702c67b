"""Reads what the published code of training objectives gave: a group is one setting.

Arrays are NumPy's, of the types that JAX computes with: what a test does to them before
it calls jood compiles nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jood.training.objectives import class_queues


def groups(folder, name):
    """Yields (group, its arrays and those that all groups share) of a file."""
    with np.load(folder / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    shared, found = {}, {}
    for key, value in arrays.items():
        group, _, array = key.partition("/")
        target = shared if group == "in" else found.setdefault(group, {})
        kind = jax.dtypes.canonicalize_dtype(value.dtype)
        target[array] = value.astype(kind) if value.ndim else value.item()
    for group, own in found.items():
        yield group, {**shared, **own}


def on_device(given):
    """A group with JAX's arrays, for programs that close over what they index."""
    plain = (int, float)
    return {k: v if isinstance(v, plain) else jnp.asarray(v) for k, v in given.items()}


def full_queues(rows):
    """Queues that hold rows [K, n, D], the oldest first."""
    whole = class_queues.empty(*rows.shape)
    count = np.full(len(rows), rows.shape[1], np.int32)
    return {**whole, "rows": jnp.asarray(rows), "count": jnp.asarray(count)}


def layers(name, given):
    """Two linear layers of a file, as jood has them."""
    parts = {"hidden": 1, "output": 2}
    return {
        part: {"kernel": given[f"{name}_W{i}"].T, "bias": given[f"{name}_b{i}"]}
        for part, i in parts.items()
    }


def identity_layers(width, of=None):
    """Two layers W₂ relu(W₁ x) = x of the first `width` of `of` columns."""
    one = np.eye(width if of is None else of, width, dtype="f")
    both = np.concatenate([one, -one], axis=1)
    hidden = {"kernel": both, "bias": np.zeros(2 * width, "f")}
    output = np.concatenate([one[:width], -one[:width]])
    return {
        "hidden": hidden,
        "output": {"kernel": output, "bias": np.zeros(width, "f")},
    }


def close(found, expected, what, rtol=1e-5):
    """Checks losses and scores: relative to the value and to the largest of them."""
    expected = np.asarray(expected)
    atol = rtol * np.abs(expected).max(initial=0) * 1e-1
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=what)


def gradients_close(found, expected, what, share=1e-5):
    """Checks gradients to a share of their largest entry."""
    expected = np.asarray(expected)
    atol = share * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=what)


def check(loss, arguments, given, what, rtol=1e-5, transposed=()):
    """Checks a loss and its gradient to each argument that has one on file.

    Args:
      loss: A function of keyword arguments, float32 [], or (float32 [], anything).
      arguments: The arrays by the names that the file gives them.
      given: The arrays of a group.
      what: For messages.
      rtol: Of the loss.
      transposed: Names of arguments that are given transposed.
    """

    def plain(arguments):
        value = loss(**arguments)
        return value[0] if isinstance(value, tuple) else value

    value, gradients = jax.jit(jax.value_and_grad(plain))(arguments)
    close(value, given["loss"], f"loss of {what}", rtol)
    for name, gradient in gradients.items():
        if f"grad_{name}" in given:
            gradient = gradient.T if name in transposed else gradient
            gradients_close(gradient, given[f"grad_{name}"], f"{name} of {what}")
