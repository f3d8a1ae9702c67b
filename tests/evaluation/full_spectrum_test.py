"""Covariate-shifted ID sets: scored in the same pass, counted as ID afterwards."""

import dataclasses
import math

from helpers import tiny_benchmark
from helpers.tiny_network import MODEL
import numpy as np

from jood.data.sources import ArraySource
from jood.evaluation import benchmark_run

IMAGES, LABELS = tiny_benchmark.IMAGES[:8] // 2 + 60, np.arange(8) % 3
BENCHMARK = dataclasses.replace(
    tiny_benchmark.BENCHMARK, shifted={"grey": ArraySource(IMAGES, LABELS)}
)


def run(benchmark):
    """Scores a benchmark with MSP and a score that is fitted."""
    detector = benchmark_run.make_detector(
        {"MSP": "msp", "KNN": "knn(k=2)"}, benchmark, MODEL, tiny_benchmark.variables()
    )
    return benchmark_run.evaluate(detector, benchmark, batch_size=8, progress=False)


def test_shifted_sets_are_scored_and_count_as_id_in_the_full_spectrum():
    fitted, found = run(BENCHMARK)
    assert list(found.ood_scores) == ["dark", "flat"]
    scores = fitted(IMAGES)
    np.testing.assert_allclose(found.shifted["grey"]["KNN"], scores["KNN"], atol=1e-5)
    full = found.full_spectrum()
    joined = [found.id_scores["KNN"], found.shifted["grey"]["KNN"]]
    np.testing.assert_array_equal(full.id_scores["KNN"], np.concatenate(joined))
    right = (np.asarray(fitted.run(IMAGES).prediction) == LABELS).sum()
    count = len(tiny_benchmark.IMAGES[20:])
    expected = (found.accuracy * count + right) / (count + len(LABELS))
    np.testing.assert_allclose(full.accuracy, expected)
    assert not full.shifted


def test_without_shifted_sets_there_is_no_accuracy_of_the_full_spectrum():
    _, found = run(tiny_benchmark.BENCHMARK)
    assert math.isnan(found.spectrum)
    assert not found.shifted
