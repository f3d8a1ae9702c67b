"""Metrics against scikit-learn, obvious counting and eleven published codes."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from jood import metrics

RNG = np.random.default_rng(0)
CASES = {
    "overlapping": (RNG.normal(1, 1, 200), RNG.normal(0, 1, 150)),
    "few id": (RNG.normal(1, 1, 7), RNG.normal(0, 1, 500)),
    "few ood": (RNG.normal(1, 1, 500), RNG.normal(0, 1, 7)),
    "ties": (RNG.integers(1, 6, 60), RNG.integers(0, 5, 40)),
    "binary": (RNG.integers(0, 2, 60), RNG.integers(0, 2, 40)),
    "all equal": (np.zeros(20), np.zeros(30)),
    "perfect": (np.arange(10.0) + 20, np.arange(10.0)),
    "inverted": (np.arange(10.0), np.arange(10.0) + 20),
    "one each": (np.array([1.0]), np.array([0.0])),
    "float32": (RNG.normal(1, 1, 50).astype("f"), RNG.normal(0, 1, 50).astype("f")),
    "tiny": (1e-12 * RNG.normal(1, 1, 50), 1e-12 * RNG.normal(0, 1, 50)),
}
each_case = pytest.mark.parametrize(
    ("inside", "outside"), CASES.values(), ids=list(CASES)
)


def slow_auroc(inside, outside):
    wins = [(i > o) + 0.5 * (i == o) for i in inside for o in outside]
    return sum(wins) / len(wins)


def slow_fpr(positive, negative, tpr=0.95):
    """False positives at the largest threshold that keeps `tpr` of the positives."""
    for threshold in sorted(set(positive), reverse=True):
        if sum(p >= threshold for p in positive) >= tpr * len(positive) - 1e-9:
            return sum(n >= threshold for n in negative) / len(negative)
    raise AssertionError


def slow_average_precision(positive, negative):
    """Σ (R_n - R_{n-1}) P_n over the distinct thresholds, from high to low."""
    area, recall = 0.0, 0.0
    for threshold in sorted({*positive, *negative}, reverse=True):
        hits = sum(p >= threshold for p in positive)
        alarms = sum(n >= threshold for n in negative)
        area += (hits / len(positive) - recall) * hits / (hits + alarms)
        recall = hits / len(positive)
    return area


@each_case
def test_every_metric_equals_obvious_counting(inside, outside):
    got = metrics.evaluate(inside, outside)
    expected = {
        "AUROC": slow_auroc(inside, outside),
        "FPR95": slow_fpr(inside, outside),
        "AUPR-in": slow_average_precision(inside, outside),
        "AUPR-out": slow_average_precision(-outside, -inside),
        "FPR95-OOD-positive": slow_fpr(-outside, -inside),
    }
    assert got == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in got.values())


@each_case
def test_fpr_is_the_first_point_of_sklearns_roc_curve_at_the_tpr(inside, outside):
    labels = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    fpr, tpr, _ = sklearn_metrics.roc_curve(
        labels, np.r_[inside, outside], drop_intermediate=False
    )
    for target in (0.5, 0.8, 0.95, 1.0):
        expected = fpr[np.argmax(tpr >= target)]
        assert metrics.fpr_at_tpr(inside, outside, target) == pytest.approx(expected)


# Which of the published codes shares our convention, by column, and where not.
DROPPED = "sklearn's roc_curve(drop_intermediate=True) drops the point of equal slope"
GOLDEN = [
    *[
        ("auroc", metrics.auroc, peer, {})
        for peer in (
            *("openood", "pytorch_ood", "sklearn", "wisc", "gradnorm", "vim"),
            *("hendrycks_oodpos", "hendrycks_idpos", "nnguide", "oodeel"),
        )
    ],
    ("fpr95_idpos", metrics.fpr_at_tpr, "sklearn", {}),
    (
        "fpr95_idpos",
        metrics.fpr_at_tpr,
        "openood_fpr_recall",
        {"equal_slope_ties40": DROPPED},
    ),
    ("fpr95_oodpos", metrics.fpr95_ood_positive, "sklearn", {}),
    ("fpr95_oodpos", metrics.fpr95_ood_positive, "pytorch_ood", {}),
    (
        "fpr95_oodpos",
        metrics.fpr95_ood_positive,
        "openood",
        {"equal_slope_ties40": DROPPED},
    ),
    *[
        ("ap_in", metrics.aupr_in, peer, {})
        for peer in ("sklearn", "gradnorm", "hendrycks_idpos", "nnguide")
    ],
    *[
        ("ap_out", metrics.aupr_out, peer, {})
        for peer in ("sklearn", "gradnorm", "hendrycks_oodpos", "nnguide")
    ],
]


@pytest.mark.parametrize(
    ("column", "metric", "peer", "exceptions"),
    GOLDEN,
    ids=[f"{column}-{peer}" for column, _, peer, _ in GOLDEN],
)
def test_golden_cases(golden_dir, column, metric, peer, exceptions):
    with np.load(golden_dir / "metrics.npz") as golden:
        cases = [str(case) for case in golden["case_names"]]
        table = golden["table"][
            :,
            list(golden["impl_names"]).index(peer),
            list(golden["columns"]).index(column),
        ]
        inputs = {c: (golden[f"{c}__id"], golden[f"{c}__ood"]) for c in cases}
    assert cases
    expected = dict(zip(cases, table.tolist(), strict=True))
    got = {case: metric(*inputs[case]) for case in cases}
    different = {c for c in cases if got[c] != pytest.approx(expected[c], abs=1e-12)}
    assert different == set(exceptions) & set(cases)


def test_the_two_fpr95_differ_on_equal_scores():
    # 60 of 100 OOD scores lie far below the ID scores, the other 40 among them, so
    # 40 are accepted; but to reject 95 of them, most ID images must go as well.
    inside = np.linspace(0.4, 0.6, 100)
    outside = np.r_[np.linspace(-5, 0, 60), np.linspace(0.42, 0.58, 40)]
    assert metrics.fpr_at_tpr(inside, outside) == pytest.approx(0.4)
    assert metrics.fpr95_ood_positive(inside, outside) == pytest.approx(0.79)


def test_ties_count_against_the_detector():
    assert metrics.auroc([0.5, 0.5], [0.5]) == 0.5
    assert metrics.fpr_at_tpr([0.5, 0.5], [0.5]) == 1.0
    assert metrics.fpr95_ood_positive([0.5, 0.5], [0.5]) == 1.0
    assert metrics.aupr_in([0.5, 0.5], [0.5]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], {"AUROC": 1, "FPR95": 0, "FPR95-OOD-positive": 0}),
        ([0.0, 1.0], [2.0, 3.0], {"AUROC": 0, "FPR95": 1, "FPR95-OOD-positive": 1}),
        ([1.0], [0.0], {"AUROC": 1, "FPR95": 0, "AUPR-in": 1, "AUPR-out": 1}),
        ([0.0], [1.0], {"AUROC": 0, "FPR95": 1, "AUPR-in": 0.5, "AUPR-out": 0.5}),
        ([np.inf, 1.0], [-np.inf, 0.0], {"AUROC": 1, "FPR95": 0, "AUPR-in": 1}),
    ],
)
def test_perfect_inverted_single_and_infinite_scores(inside, outside, expected):
    got = metrics.evaluate(inside, outside)
    assert {name: got[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("count", "rejected"), [(1, 0), (19, 0), (20, 1), (21, 1), (40, 2), (1000, 50)]
)
def test_threshold_rejects_as_many_as_the_tpr_allows_and_no_more(count, rejected):
    scores = np.random.default_rng(count).permutation(count).astype(float)
    threshold = metrics.threshold_at_tpr(scores)
    assert threshold == rejected  # the scores are 0, 1, ..., count - 1
    assert np.mean(scores >= threshold) >= 0.95


def test_threshold_at_tpr_one_is_the_smallest_score():
    assert metrics.threshold_at_tpr([3.0, 1.0, 2.0], tpr=1.0) == 1.0


@pytest.mark.parametrize("tpr", [0, -0.1, 1.01, 95, float("nan")])
def test_tpr_must_be_a_fraction(tpr):
    with pytest.raises(ValueError, match=r"tpr must be a fraction in \(0, 1\].*tpr="):
        metrics.threshold_at_tpr([1.0, 2.0], tpr=tpr)
    with pytest.raises(ValueError, match="tpr must be a fraction"):
        metrics.fpr_at_tpr([1.0, 2.0], [0.0], tpr=tpr)


each_metric = pytest.mark.parametrize("name", metrics.COLUMNS)


@each_metric
def test_bad_scores_name_the_side_and_the_index(name):
    metric, good = metrics.COLUMNS[name].metric, [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"^ID score at index 1 is NaN"):
        metric([1.0, np.nan, np.nan], good)
    with pytest.raises(ValueError, match=r"^OOD score at index 2 is NaN"):
        metric(good, [1.0, 2.0, np.nan])
    with pytest.raises(ValueError, match=r"^ID scores must be a non-empty vector"):
        metric([], good)
    with pytest.raises(ValueError, match=r"^OOD scores must be a non-empty vector"):
        metric(good, [])
    with pytest.raises(ValueError, match=r"^ID scores .* got shape \(3, 1\)"):
        metric(np.ones((3, 1)), good)


@each_metric
def test_metrics_leave_their_arguments_alone(name):
    inside, outside = np.array([3.0, 1.0, 2.0]), np.array([1.5, 0.0, 5.0])
    metrics.COLUMNS[name].metric(inside, outside)
    np.testing.assert_array_equal(inside, [3.0, 1.0, 2.0])
    np.testing.assert_array_equal(outside, [1.5, 0.0, 5.0])


def test_lower_is_better_names_metrics_that_are_zero_when_perfect():
    perfect = metrics.evaluate([2.0, 3.0], [0.0, 1.0])
    zero = {name for name, value in perfect.items() if value == 0}
    assert zero == {c.name for c in metrics.COLUMNS.values() if c.lower_is_better}


def test_a_registered_column_needs_a_name_of_its_own(monkeypatch):
    monkeypatch.setattr(metrics, "COLUMNS", dict(metrics.COLUMNS))
    gap = metrics.Column("Gap", lambda inside, outside: inside[0] - outside[0])
    metrics.register(gap)
    assert metrics.evaluate([1.0], [0.25])["Gap"] == 0.75
    assert [column.name for column in metrics.shown()] == ["AUROC", "FPR95"]
    with pytest.raises(ValueError, match="'Gap' is taken; columns: AUROC"):
        metrics.register(gap)


@each_metric
@pytest.mark.parametrize(
    ("scores", "match"),
    [
        (np.ma.masked_less([1.0, 2.0], 1.5), "masked array, whose mask would be lost"),
        (["1.0", "2.0"], r"must be real numbers, got <U3"),
        ([1.0 + 2j, 3.0], "must be real numbers, got complex128"),
        (np.array([1.0, None]), "must be real numbers, got object"),
    ],
)
def test_scores_that_a_cast_would_change_are_refused(name, scores, match):
    with pytest.raises(ValueError, match=f"^ID scores .*{match}"):
        metrics.COLUMNS[name].metric(scores, [0.0])
    with pytest.raises(ValueError, match=f"^OOD scores .*{match}"):
        metrics.COLUMNS[name].metric([0.0], scores)


def test_infinity_is_above_the_largest_number():
    largest = np.finfo(np.float64).max
    assert metrics.auroc([np.inf], [largest]) == 1.0
    assert metrics.aupr_in([-largest, np.inf], [-np.inf, largest]) < 1.0
