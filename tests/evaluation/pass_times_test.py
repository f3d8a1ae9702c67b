"""Times of detectors beside one forward pass."""

from helpers import tiny_benchmark
import pytest

import jood
from jood.evaluation import pass_times
from jood.weights.checkpoint import TrainedNetwork

NETWORK = TrainedNetwork(
    tiny_benchmark.MODEL, tiny_benchmark.variables(), "resnet_small",
    tiny_benchmark.BENCHMARK.class_names, tiny_benchmark.PREPROCESSING, 16, {},
)  # fmt: skip


@pytest.mark.slow
def test_each_score_takes_a_positive_time_fitted_or_not():
    texts = {"msp": "msp()", "ta": "ta(k=0.2)|energy()", "knn": "knn(k=2)"}
    parts = {name: jood.parse(text) for name, text in texts.items()}
    found = pass_times.ratios(parts, NETWORK, batch_size=8, runs=3)
    assert list(found) == list(texts)
    assert all(0 < ratio < 100 for ratio in found.values())
