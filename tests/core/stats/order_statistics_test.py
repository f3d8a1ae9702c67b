"""Exact quantiles against NumPy's, on streams of all kinds."""

import numpy as np
import pytest

import jood
from jood.core.stats import order_statistics

QS = (0.0, 0.001, 0.25, 0.5, 0.9, 0.999, 1.0)


def quantiles(rows):
    acts = [
        jood.Activations.of(part, np.ones((rows.shape[1], 1), "f"))
        for part in np.array_split(rows, 3)
    ]

    def measure(record):
        return record.penultimate

    component = jood.component.build(
        "quantiles()",
        "score",
        lambda fitted, record: record.penultimate[:, 0],
        (
            lambda _: order_statistics.brackets(measure, QS),
            lambda fitted: order_statistics.within(measure, fitted[0]),
        ),
    )
    return jood.fit(component, acts)[1]


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "rows",
    [
        RNG.normal(size=(31, 7)),
        np.maximum(RNG.normal(size=(40, 5)), 0),
        -RNG.gamma(0.3, size=(30, 6)),
        RNG.normal(size=(20, 6)) * 10.0 ** RNG.integers(-6, 6, (20, 6)),
        RNG.integers(-3, 3, (50, 4)),
        np.repeat([-2.5, 0.0, 1e30], 6).reshape(9, 2),
    ],
    ids=["normal", "sparse", "negative", "many scales", "ties", "three values"],
)
def test_they_are_numpys(rows):
    rows = rows.astype("f")
    expected = np.quantile(rows.astype(np.float64).ravel(), QS)
    np.testing.assert_allclose(quantiles(rows), expected, rtol=1e-12, atol=0)
