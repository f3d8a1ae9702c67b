"""Results that depend on parts of an argument: which, and their values."""

import jax
import jax.numpy as jnp
import pytest

from jood._utils import dependence

GIVEN = {"map": jnp.arange(6.0).reshape(2, 3), "feature": jnp.ones(2)}
WATCHED = {"map": True, "feature": False}
PLUS = jnp.float32(1)


def results(given):
    inner = jax.jit(lambda x, y: (x.sum(1), y))
    through, beside = inner(given["map"], given["feature"])
    looped = jax.lax.fori_loop(0, 3, lambda _, x: x + through, given["feature"])
    return {
        "direct": given["map"].max(1),
        "looped": looped,
        "apart": given["feature"] + PLUS,
        "known": jnp.zeros(2),
        "same": given["feature"],
        "maybe": beside,
    }


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["eager", "traced"])
def test_those_that_depend_have_the_values_of_the_function(run):
    def found(given):
        return dependence.dependent(results, given, WATCHED)

    got, expected = run(found)(GIVEN), results(GIVEN)
    assert got.keys() == {"['direct']", "['looped']", "['maybe']"}
    for name in ("direct", "looped", "maybe"):
        assert got[f"['{name}']"].tolist() == expected[name].tolist()
