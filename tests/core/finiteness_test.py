"""NaN and infinite values do not end in a finite score, and the message says where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood.core import finiteness

IMAGES, LABELS = testing.toy_images(16, seed=0)
BLIND = [  # what gave finite and equal scores of a head with a NaN
    "dice(q=0.7)|energy()",
    "react(clip=1.0)|dice(q=0.1)|energy()",
    "line()|energy()",
    "line()|prototype_smoothing()|energy()",
    "she()",
    "nci()",
]


def broken(part, value=np.nan):
    variables = jax.tree.map(np.array, testing.toy_variables())
    variables["params"]["head"][part].flat[0] = value
    return variables


@pytest.mark.parametrize("part", ["kernel", "bias"])
@pytest.mark.parametrize("text", BLIND)
def test_a_damaged_head_is_refused_before_anything_runs(part, text):
    with pytest.raises(
        ValueError, match="classifier head's kernel or bias holds NaN or infinite"
    ):
        jood.Detector(text, testing.ToyNet(), broken(part))


def test_what_was_learned_is_finite_or_refused():
    acts = jood.Activations.of(
        np.full((8, 4), 1e25, "f") * np.eye(8, 4, dtype="f"), np.ones((4, 2), "f")
    )
    for text in ("bats()|energy()", "vim(dim=1)"):
        with pytest.raises(ValueError, match=f"{text[:3]}.* learned NaN or infinite"):
            jood.fit(jood.parse(text), [acts])


def test_minus_infinity_may_be_learned():
    finiteness.check_learned("own()", {"least": np.array([-np.inf, 1], "f")})
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"own\(\) learned NaN or infinite"):
            finiteness.check_learned("own()", (np.int32(1), np.array([bad], "f")))


def test_maps_and_edited_runs_are_looked_at():
    acts = jood.Activations.of(
        np.ones((3, 2), "f"), np.ones((2, 2), "f"), stages={"C5": np.ones((3, 1, 1, 2))}
    )
    holed = acts.replace(stages={"C5": acts.stages["C5"].at[1].set(jnp.nan)})
    assert finiteness.of_rows(finiteness.report(holed)).all()
    report = finiteness.report(holed, ["C5", "C4"])
    assert finiteness.of_rows(report).tolist() == [True, False, True]
    with pytest.raises(ValueError, match=r"maps of C5 at index 11 \(1 of 3"):
        finiteness.check(report, first=10)
    nested = acts.replace(edited={"ta(k=1)": holed})
    with pytest.raises(ValueError, match=r"maps of C5 after ta\(k=1\) at index 1"):
        finiteness.check(finiteness.report(nested, ["C5"]))
