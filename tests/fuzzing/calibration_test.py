"""Random calibration sets: thresholds and p-values keep the conformal promise."""

from helpers import fuzzing
import numpy as np
import pytest

from jood.detector.calibration import Calibration
from jood.detector.calibration import images_needed

pytestmark = pytest.mark.slow
DRAWS = 400  # calibration sets a call


def draw(rng, shape):
    kind = rng.integers(4)
    scores = rng.normal(size=shape)
    if kind == 1:
        scores = np.round(scores, int(rng.integers(0, 3)))
    elif kind == 2:
        scores = rng.standard_cauchy(shape)
    elif kind == 3:
        scores = scores * 1e-38
    return scores.astype(np.float32)


@fuzzing.seeds("calibration", each=DRAWS)
def test_false_alarms_are_as_rare_as_promised(seed):
    rng = np.random.default_rng(seed)
    tpr = float(rng.choice([0.5, 0.8, 0.9, 0.95, rng.uniform(0.05, 0.97)]))
    count = images_needed(tpr) + int(rng.integers(0, 30))
    alarms = []
    for scores in draw(rng, (DRAWS, count + 20)):
        fitted = Calibration(tpr, {"s": np.sort(scores[:count])})
        new, threshold = scores[count:], fitted.thresholds()["s"]
        p = fitted.p_values({"s": new})["s"]
        np.testing.assert_array_equal(p <= 1 - tpr + 1e-9, new < threshold)
        # Obvious counting, for one of them.
        assert p[0] == (1 + sum(s <= new[0] for s in scores[:count])) / (1 + count)
        alarms.append(np.mean(new < threshold))
    # 5 standard errors: Hypothesis looks for the worst of a hundred seeds.
    slack = 5 * np.std(alarms) / np.sqrt(DRAWS) + 1e-3
    assert np.mean(alarms) <= 1 - tpr + slack
