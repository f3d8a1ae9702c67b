"""Which candidate is chosen, and what the choice is doubted for."""

import csv
import io

import numpy as np
import pytest
from scipy import stats

from jood.evaluation import choice
from jood.evaluation.choice import Candidate
from jood.evaluation.choice import Contrast
from jood.evaluation.choice import Selection

RNG = np.random.default_rng(0)


def candidate(values, auroc, separation, error=0.001, degenerate=""):
    against = {"noise": Contrast(auroc, 0.1, separation, error)}
    return Candidate(values, f"energy(T={values})", against, degenerate)


def of_k(*rows, **more):
    """A selection over k = 0, 1, ... of (AUROC, separation)."""
    return Selection(
        "ta(k=k)|energy()",
        tuple(candidate({"k": k}, *row, **more) for k, row in enumerate(rows)),
    )


def test_a_clear_lead_wins_whatever_the_separation():
    assert of_k((0.90, 9.0), (0.95, 1.0), (0.80, 9.0)).best.values == {"k": 1}


def test_among_ties_of_auroc_the_widest_separation_wins():
    """0.001 points between two candidates are chance; their distances are not."""
    assert of_k((0.99990, 3.0), (0.99991, 2.0), (0.9, 9.0)).best.values == {"k": 0}


def test_of_equal_candidates_the_first_wins():
    assert of_k((0.9, 1.0), (0.9, 1.0)).best.values == {"k": 0}


def test_a_degenerate_candidate_is_not_chosen_unless_all_are():
    wrong = candidate({"k": 1}, 0.99, 5.0, degenerate="every feature is 0.")
    sound = candidate({"k": 0}, 0.80, 1.0)
    found = Selection("energy()", (sound, wrong))
    assert found.best is sound
    (doubt,) = found.doubts()
    assert "1 of 2 candidates is degenerate, and cannot be chosen" in doubt
    assert doubt.endswith("every feature is 0.")
    assert [row["chosen"] for row in found.rows()] == ["*", "degenerate"]
    alone = Selection("energy()", (wrong,))
    assert alone.best is wrong
    assert "the choice means nothing" in alone.doubts()[0]


def test_a_sound_choice_is_not_doubted():
    assert of_k((0.90, 1.0), (0.95, 1.5), (0.92, 1.2)).doubts() == []


def test_images_that_are_too_easy_are_told_with_harder_ones():
    (doubt,) = of_k((0.995, 1.0), (0.999, 1.5), (0.92, 1.2)).doubts()
    assert "noise is too easy to rank by: 2 of 3 candidates are at an AUROC of 99" in (
        doubt
    )
    assert "--select_on=" in doubt


def test_ties_are_told_with_the_values_that_are_tied():
    (doubt,) = of_k((0.9, 1.0), (0.9, 2.0), (0.9, 1.5), (0.8, 0)).doubts()
    assert "3 of 4 candidates are within one standard error" in doubt
    assert "k from 0 to 2" in doubt


@pytest.mark.parametrize(
    ("aurocs", "told"),
    [
        ((0.95, 0.9, 0.8), "k=0 is the smallest value tried"),
        ((0.8, 0.9, 0.95), "k=2 is the largest value tried"),
    ],
)
def test_the_edge_of_the_grid_is_told(aurocs, told):
    (doubt,) = of_k(*((auroc, 1.0) for auroc in aurocs)).doubts()
    assert told in doubt


def test_a_stage_has_no_edge():
    stages = [
        candidate({"stage": stage}, auroc, 1.0)
        for stage, auroc in (("C2", 0.95), ("C3", 0.9), ("C4", 0.8))
    ]
    assert Selection("ta(stage=stage)|energy()", tuple(stages)).doubts() == []


def test_several_kinds_are_averaged_and_each_is_told():
    against = {
        "noise": Contrast(1.0, 0, 4.0, 0.01),
        "blur": Contrast(0.8, 0.5, 1, 0.02),
    }
    found = Selection("energy()", (Candidate({"T": 1.0}, "energy()", against),))
    assert found.best.auroc == pytest.approx(0.9)
    assert found.best.separation == pytest.approx(2.5)
    (row,) = found.rows()
    assert (row["AUROC noise"], row["AUROC blur"]) == (100, 80)
    (line,) = csv.DictReader(io.StringIO(found.as_csv()))
    assert float(line["AUROC"]) == pytest.approx(90)


def test_the_separation_is_of_the_scores_and_not_of_their_ranks():
    inside, outside = RNG.normal(3, 1, 500), RNG.normal(0, 1, 400)
    near = choice.contrast(inside, outside)
    far = choice.contrast(inside + 30, outside)
    spread = np.sqrt((inside.var() + outside.var()) / 2)
    np.testing.assert_allclose(
        near.separation, (inside.mean() - outside.mean()) / spread, rtol=1e-6
    )
    assert far.auroc == 1
    assert far.separation > near.separation + 25
    assert far.error > 0  # of 500 images, one could be wrong


@pytest.mark.slow
def test_the_standard_error_is_that_of_repeated_draws():
    draws = [
        choice.contrast(RNG.normal(1, 1, 100), RNG.normal(0, 1, 80)) for _ in range(400)
    ]
    spread = np.std([draw.auroc for draw in draws])
    told = np.mean([draw.error for draw in draws])
    assert told == pytest.approx(spread, rel=0.2)
    assert stats.norm.cdf(1 / np.sqrt(2)) == pytest.approx(
        np.mean([draw.auroc for draw in draws]), abs=0.01
    )


def test_a_score_that_no_longer_looks_at_images_is_degenerate():
    assert choice.degenerate(RNG.normal(size=50), ()) == ""
    assert choice.degenerate(RNG.normal(size=50), ("c is 0.",)) == "c is 0."
    half = np.where(np.arange(50) < 30, 1.0, RNG.normal(size=50))
    assert "60% of the ID images get the same score" in choice.degenerate(half, ())
    assert "100%" in choice.degenerate(np.full(9, 2.0), ())
