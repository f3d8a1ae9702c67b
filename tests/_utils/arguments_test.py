"""Hyper-parameters that jood cannot compute with, or whose text is not read again."""

import decimal
import fractions

import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood._utils import arguments
from jood.core import component


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "energy(T=1e300)",
            r"T must be .*also in float32.*there it is inf, got T=1e\+30",
        ),
        ("energy(T=1e-300)", "there it is 0, got T=1e-300"),
        ("energy(T=1e-40)", "magnitudes from 1.2e-38 to 3.4e.38"),
        (
            "ash_s(q=0.99999999999)|energy()",
            "fraction.*also in float32.*it is 1, got q",
        ),
        ("react(clip=1e39)|energy()", "it is inf"),
        (
            "react(clip=2147483648)|energy()",
            r"at most 2147483647.*Write it as 2147483648\.0",
        ),
        ("react(clip=-9999999999)|energy()", r"Write it as -9999999999\.0"),
        ("knn(k=2147483648)", "integer from 1 to 2147483647"),
        ("fuse(msp(), energy(), weights=(1, 1e-300))", "weight must be .*it is 0"),
        ("fuse(msp(), energy(), weights=(1, 4294967296))", "Write it as 4294967296.0"),
        ("energy(T=True)", "T must be a finite number above 0, got T=True"),
    ],
)
def test_values_that_float32_or_int32_loses_are_refused(text, match):
    with pytest.raises(ValueError, match=match):
        jood.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "energy(T=3e38)",
        "energy(T=2e-38)",
        "react(clip=2147483647)|energy()",
        "react(clip=2147483648.0)|energy()",
        "fuse(msp(), energy(), weights=(0, -1e-37))",
    ],
)
def test_values_at_the_edge_are_taken_and_score_finitely(text):
    acts = jood.Activations.of(np.eye(3, dtype="f"), np.eye(3, dtype="f"))
    out = jood.parse(text).apply((), acts)
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    "value",
    [
        fractions.Fraction(1, 2),
        decimal.Decimal("0.5"),
        np.True_,
        jnp.asarray(True),
        np.array([0.5]),
        np.longdouble(0.5),
        np.complex64(0.5),
        "0.5",
        b"0.5",
        None,
        [0.5],
    ],
    ids=repr,
)
def test_what_has_no_text_that_reads_back_is_refused(value):
    with pytest.raises(ValueError, match="T must be a finite number above 0, got T="):
        jood.scores.energy(T=value)
    with pytest.raises(ValueError, match=r"k must be an integer >= 1, got k="):
        arguments.check_count("k", value)


@pytest.mark.parametrize(
    "value",
    [0.5, np.float16(0.5), np.float64(0.5), jnp.bfloat16(0.5), jnp.float32(0.5)],
)
def test_numbers_of_numpy_and_jax_are_taken_and_read_back(value):
    part = jood.scores.energy(T=value)
    assert part.spec == "energy(T=0.5)" == jood.parse(part.spec).spec


def test_least_values_are_taken_that_float32_rounds_down():
    arguments.check_at_least("x", 0.7, 0.7)
    arguments.check_at_least("x", 0, 0)
    with pytest.raises(ValueError, match=r"x must be a finite number >= 0\.7"):
        arguments.check_at_least("x", 0.69, 0.7)


@pytest.mark.parametrize("value", [fractions.Fraction(1, 2), {1}, object(), (1, 1j)])
def test_a_user_s_own_hyper_parameter_must_have_a_text(value):
    with pytest.raises(ValueError, match="must be a number, a string or a tuple"):
        component.call_spec("mine", p=value)
