"""Random detector texts: a ValueError, or a component whose text is read again."""

import random

from helpers import fuzzing
import pytest

import jood
from jood.methods import detector_text

pytestmark = pytest.mark.slow
NAMES = sorted(detector_text.factories())
KEYS = (
    "q",
    "k",
    "T",
    "clip",
    "stage",
    "lam",
    "eps",
    "metric",
    "dim",
    "bank",
    "weights",
)
VALUES = (
    *("0.9", "1", "-1", "0", "1e300", "2**31", "None", "True", "'C5'", "'scale'"),
    *("(1, 2)", "()", "[1]", "'mad'", "nan", "1e-400", "0x10", "1_0", "b'C4'", "1j"),
    *(
        "float('inf')",
        "__import__('os')",
        "lambda: 0",
        "'\\ud800'",
        "{}",
        "...",
        "-0.0",
    ),
)
JUNK = (*"()|,='\"{}*[]#\n\t\\:;@é\0 ", "lambda", "import", "**", "|", "jood.")


def value(rng):
    return rng.choice(VALUES)


def call(rng, name=None):
    keys = rng.sample(KEYS, rng.choice([0, 0, 0, 1, 1, 2]))
    inner = ", ".join(f"{key}={value(rng)}" for key in keys)
    return f"{name or rng.choice(NAMES)}({inner})"


def text(rng, depth=2):
    chained = "|".join(call(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    if rng.random() < 0.4:
        chained = f"{call(rng, rng.choice(['react', 'ta', 'ash_s']))}|energy()"
    kind = rng.random()
    if depth and kind < 0.1:
        parts = ", ".join(text(rng, depth - 1) for _ in range(2))
        return f"fuse({parts}, weights={value(rng)})"
    if depth and kind < 0.2:
        return f"bundle(a={text(rng, depth - 1)}, b={text(rng, depth - 1)})"
    return chained


def damaged(rng, whole):
    for _ in range(rng.choice([0, 0, 1, 2])):
        place = rng.randrange(len(whole) + 1)
        end = place + rng.choice([0, 0, 1, 3])
        whole = whole[:place] + rng.choice(JUNK) + whole[end:]
    return whole


@fuzzing.seeds("texts", each=300)
@pytest.mark.filterwarnings("ignore")  # Python's own, of odd escapes and literals
def test_texts(seed):
    rng = random.Random(seed)
    read = 0
    for _ in range(300):
        given = damaged(rng, text(rng))
        try:
            component = jood.parse(given)
        except ValueError:
            continue
        read += 1
        assert jood.parse(component.spec).spec == component.spec, given
    assert read, "no text of this seed is a detector"
