"""How the fuzzers run: the same inputs each time, counted, from seeds that Hypothesis
draws and shrinks. One seed stands for a batch of inputs, which keeps its share of the
time small."""

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

# Inputs by file of tests/fuzzing; `counted` refuses a file that has other numbers.
INPUTS = {
    "records": 4_000,
    "texts": 30_000,
    "calibration": 40_000,
    "folders": 22_000,
    "metrics": 3_500,
    "quantiles": 500,
}


def seeds(kind, each):
    """Calls a test with a `seed`, as often as `each` inputs a call make INPUTS."""
    calls, rest = divmod(INPUTS[kind], each)
    assert not rest, f"{each} inputs a call do not make {INPUTS[kind]}"
    options = settings(
        max_examples=calls, derandomize=True, deadline=None, database=None
    )
    return lambda test: options(given(seed=st.integers(0, 2**62))(test))
