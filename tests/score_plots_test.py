"""Pictures of scores: what is drawn is what was scored."""

import numpy as np
import pytest

from jood import drift
from jood.calibration import Calibration
from jood.report import score_plots
from jood.report import writing

RNG = np.random.default_rng(0)
CALIBRATION = Calibration(
    0.9, {name: np.sort(RNG.normal(size=200)) for name in ("a", "b")}
)
SCORES = {name: RNG.normal(-1, 1, size=300) for name in ("a", "b")}


def test_histograms_show_both_distributions_and_the_threshold():
    fig = score_plots.histograms(CALIBRATION, SCORES)
    assert [axis.get_title() for axis in fig.axes] == ["a", "b"]
    for axis, name in zip(fig.axes, ("a", "b"), strict=True):
        inside, new = (patch.get_data() for patch in axis.patches)
        assert inside.values.sum() == pytest.approx(1)
        assert new.values.sum() == pytest.approx(1)
        middle = (inside.edges[1:] + inside.edges[:-1]) / 2
        assert np.sum(middle * new.values) < np.sum(middle * inside.values) - 0.5
        (line,) = axis.lines
        assert line.get_xdata()[0] == CALIBRATION.thresholds()[name]


def test_a_histogram_of_the_calibration_alone_and_of_equal_scores():
    fig = score_plots.histograms(Calibration(0.5, {"s": np.zeros(9)}))
    (inside,) = fig.axes[0].patches
    assert inside.get_data().values.max() == 1


def test_a_timeline_marks_the_windows_that_drifted(tmp_path):
    windows = {}
    for name, scores in SCORES.items():
        traffic = np.r_[CALIBRATION.scores[name], scores]
        threshold = CALIBRATION.thresholds()[name]
        windows[name] = drift.timeline(
            traffic, CALIBRATION.scores[name], threshold, window=100
        )
    fig = score_plots.timelines(windows, CALIBRATION)
    assert len(fig.axes) == 4
    for top, bottom, name in zip(fig.axes[::2], fig.axes[1::2], windows, strict=True):
        drifted = [window.drifted for window in windows[name]]
        assert any(drifted)
        assert f"{sum(drifted)} of {len(drifted)} windows" in top.get_title()
        marked = next(line for line in top.lines if line.get_label() == "drifted")
        assert len(marked.get_xdata()) == sum(drifted)
        shares = bottom.patches[0].get_data().values
        np.testing.assert_allclose(shares, [w.below for w in windows[name]])
        assert bottom.get_xlim() == (0, 500)
    writing.save_pictures(tmp_path, {"timeline": fig})
    assert (tmp_path / "timeline.png").stat().st_size > 10_000
    assert (tmp_path / "timeline.pdf").read_bytes()[:4] == b"%PDF"
