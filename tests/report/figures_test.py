"""What figures share: colours that differ, legends that fit, equal files."""

import itertools

from helpers import colour_vision
from matplotlib import lines
import pytest

from jood.methods import presets
from jood.report import figures


@pytest.mark.parametrize("deficiency", colour_vision.SIMULATED)
def test_colour_blind_readers_tell_the_colours_apart(deficiency):
    nearest = min(
        colour_vision.distance(one, other, deficiency)
        for one, other in itertools.combinations(figures.COLOURS, 2)
    )
    assert nearest > 15
    # Those of ID and OOD fill areas that overlap.
    pair = figures.INSIDE, figures.OUTSIDE
    assert colour_vision.distance(*pair, deficiency) > 50


def test_red_and_green_are_one_colour_to_some_so_that_the_simulation_tells_it():
    red, green = "#D62728", "#2CA02C"
    assert colour_vision.distance(red, green, "none") > 100
    assert colour_vision.distance(red, green, "deuteranopia") < 25


def test_lines_stand_out_from_white():
    assert min(map(colour_vision.contrast, figures.COLOURS)) > 2


def test_a_detector_has_its_colour_among_any_others():
    every = list(presets.table("digits"))
    colours = {name: line["color"] for name, line in figures.styled(every)}
    for name in every:
        ((_, alone),) = figures.styled([name])
        assert alone["color"] == colours[name] == figures.colour(name)
    common = ["MSP", "Energy", "FS", "FS+TA", "KNN", "ViM", "HIMPLoS"]
    assert len({colours[name] for name in common}) == len(common)


def test_no_two_lines_of_a_figure_look_alike():
    names = ["MSP", *(n for n in presets.table("digits") if n != "MSP")]
    looks = [tuple(line.values()) for _, line in figures.styled(names)]
    assert len(set(looks)) == len(names)
    assert looks[0] == ("-", figures.colour("MSP"))


def test_other_things_have_a_colour_each_as_long_as_there_are_some():
    names = [str(i) for i in range(2 * len(figures.COLOURS))]
    looks = [tuple(line.values()) for _, line in figures.styled_by_place(names)]
    assert len(set(looks)) == len(names)
    first = looks[: len(figures.COLOURS)]
    assert [colour for _, colour in first] == list(figures.COLOURS)


@pytest.mark.parametrize(
    ("panels", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3)]
)
def test_panels_fill_lines_of_at_most_the_page_s_width(panels, columns):
    fig, axes = figures.grid(panels, 2)
    assert len(axes) == panels
    assert fig.get_figwidth() == pytest.approx(columns * figures.PANEL)
    assert fig.get_figwidth() <= figures.WIDTH + 1e-6


@pytest.mark.parametrize("count", [1, 9])
def test_legends_under_panels_cover_nothing(count):
    fig, axes = figures.grid(2, 3)
    for axis in axes:
        axis.set(xlabel="value", ylabel="AUROC in %")
        for i in range(count):
            axis.plot([0, 1], label=f"a longer name {i}")
    figures.legends_under(axes)
    fig.draw_without_rendering()
    for axis in axes:
        box = axis.get_legend().get_window_extent()
        assert box.y1 < axis.xaxis.label.get_window_extent().y0
        assert fig.bbox.y0 <= box.y0
        assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
        assert axis.get_window_extent().height > 1.5 * fig.dpi


@pytest.mark.parametrize("panels", [1, 2, 3])
@pytest.mark.parametrize("count", [2, 11])
def test_a_legend_below_lies_inside_the_figure_and_below_the_panels(panels, count):
    fig, axes = figures.grid(panels, 2.6)
    for axis in axes:
        axis.set(title="a detector", xlabel="score")
    names = [f"a_longer_name_{i}" for i in range(count)]
    figures.legend_below(fig, [lines.Line2D([], [], label=name) for name in names])
    fig.draw_without_rendering()
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    box = legend.get_window_extent()
    assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
    assert fig.bbox.y0 <= box.y0
    for axis in axes:
        assert axis.get_tightbbox().y0 > box.y1
        assert axis.get_window_extent().height > 1.2 * fig.dpi  # panels keep theirs


def test_equal_pictures_are_equal_files(tmp_path):
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        fig, (axis,) = figures.grid(1, 2)
        axis.plot([0, 1])
        figures.save_pictures(tmp_path / folder, {"p": fig})
        files = sorted((tmp_path / folder).iterdir())
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert list(contents[0]) == ["p.pdf", "p.png"]
    assert b"CreationDate" not in contents[0]["p.pdf"]
