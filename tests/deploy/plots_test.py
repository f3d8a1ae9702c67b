"""Pictures of scores: what is drawn is what was scored."""

import numpy as np
import pytest

from jood.deploy import drift
from jood.deploy import plots
from jood.detector.calibration import Calibration
from jood.report import figures

RNG = np.random.default_rng(0)
CALIBRATION = Calibration(
    0.9, {name: np.sort(RNG.normal(size=200)) for name in ("a", "b")}
)
SCORES = {name: RNG.normal(-1, 1, size=300) for name in ("a", "b")}


def test_histograms_show_both_distributions_and_the_threshold():
    fig = plots.histograms(CALIBRATION, SCORES)
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
    fig = plots.histograms(Calibration(0.5, {"s": np.zeros(9)}))
    (inside,) = fig.axes[0].patches
    assert inside.get_data().values.max() == 1


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("images", [100, 1_000_000])
def test_the_legend_lies_inside_the_figure(count, images):
    names = [f"detector_{i}" for i in range(count)]
    inside = np.sort(RNG.normal(size=images))
    calibration = Calibration(0.9123, dict.fromkeys(names, inside))
    titles = {names[0]: "react(q=0.9)|energy(T=1.0), " * 9}
    fig = plots.histograms(calibration, dict.fromkeys(names, inside), titles)
    fig.draw_without_rendering()
    (legend,) = fig.legends
    boxes = [legend.get_window_extent()]
    boxes += [axis.title.get_window_extent() for axis in fig.axes]
    for box in boxes:
        assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
        assert fig.bbox.y0 <= box.y0 < box.y1 <= fig.bbox.y1
    for axis in fig.axes:
        assert axis.get_window_extent().y0 > boxes[0].y1


@pytest.mark.parametrize(
    ("images", "scored", "bins"),
    [(25, 25, 10), (400, 900, 20), (9000, 9000, 50), (9000, 1, 50)],
)
def test_the_number_of_bins_follows_that_of_the_scores(images, scored, bins):
    calibration = Calibration(0.9, {"a": np.sort(RNG.normal(size=images))})
    fig = plots.histograms(calibration, {"a": RNG.normal(size=scored)})
    assert len(fig.axes[0].patches[0].get_data().values) == bins


def test_a_few_images_are_marks_inside_the_picture():
    scores = {"a": np.array([-9, 0.5]), "b": np.zeros(1)}
    fig = plots.histograms(CALIBRATION, scores)
    axis = fig.axes[0]
    assert len(axis.patches) == 1  # that of the calibration keeps its height
    marks = next(line for line in axis.lines if line.get_label() == "scored (2)")
    low, new = marks.get_xdata()
    assert new == 0.5
    assert axis.get_xlim()[0] <= low < CALIBRATION.thresholds()["a"]


def test_a_far_score_is_counted_in_the_last_bin_and_leaves_room_for_the_others():
    new = np.r_[RNG.normal(size=999), 1e6]
    fig = plots.histograms(CALIBRATION, {"a": new, "b": new})
    traffic = fig.axes[0].patches[1].get_data()
    assert traffic.edges[-1] < 10
    assert traffic.values.sum() == pytest.approx(1)


def windows_of(scores, window):
    return drift.timeline(
        scores, CALIBRATION.scores["a"], CALIBRATION.thresholds()["a"], window
    )


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (1, "fewer images than --window=100: one window, no drift"),
        (150, "f: one window, it drifted"),
        (300, "f: 3 of 3 windows drifted"),
    ],
)
def test_a_timeline_says_when_there_is_one_window(count, says):
    windows = {"a": windows_of(SCORES["a"][:count], 100)}
    fig = plots.timelines(windows, CALIBRATION, {"a": "f"}, 100)
    assert says in fig.axes[0].get_title()
    fig.draw_without_rendering()
    for axis in fig.axes:
        ticks = axis.get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))


@pytest.mark.parametrize(("count", "height"), [(1, 4.6), (2, 9.2), (3, 3.6), (7, 10.8)])
def test_timelines_of_many_detectors_stand_side_by_side(count, height):
    names = [f"detector_{i}" for i in range(count)]
    calibration = Calibration(0.9, dict.fromkeys(names, CALIBRATION.scores["a"]))
    windows = dict.fromkeys(names, windows_of(SCORES["a"], 100))
    fig = plots.timelines(windows, calibration)
    assert fig.get_figheight() == pytest.approx(height)
    drawn = [axis for axis in fig.axes if axis.get_title()]
    titles = [axis.get_title().partition(":")[0] for axis in drawn]
    assert sorted(titles) == names
    assert all(axis.lines for axis in drawn)


def test_a_timeline_shows_what_id_stays_near_in_front_of_the_bars():
    fig = plots.timelines({"a": windows_of(SCORES["a"], 100)}, CALIBRATION)
    bottom = fig.axes[1]
    (line,) = bottom.lines
    assert line.get_ydata()[0] == pytest.approx(0.1)
    assert line.get_zorder() > max(patch.get_zorder() for patch in bottom.patches)
    labels = {text.get_text() for text in fig.legends[0].get_texts()}
    assert {"ID, median", line.get_label()} < labels


def test_titles_and_labels_of_a_timeline_do_not_touch():
    windows = dict.fromkeys("ab", windows_of(SCORES["a"], 100))
    fig = plots.timelines(windows, CALIBRATION)
    fig.draw_without_rendering()
    label = fig.axes[1].xaxis.label.get_window_extent()
    title = fig.axes[2].title.get_window_extent()
    assert label.y0 - title.y1 > 0.1 * fig.dpi


def test_a_timeline_marks_the_windows_that_drifted(tmp_path):
    windows = {}
    for name, scores in SCORES.items():
        traffic = np.r_[CALIBRATION.scores[name], scores]
        threshold = CALIBRATION.thresholds()[name]
        windows[name] = drift.timeline(
            traffic, CALIBRATION.scores[name], threshold, window=100
        )
    fig = plots.timelines(windows, CALIBRATION)
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
    figures.save_pictures(tmp_path, {"timeline": fig})
    assert (tmp_path / "timeline.png").stat().st_size > 10_000
    assert (tmp_path / "timeline.pdf").read_bytes()[:4] == b"%PDF"
