"""The curves of a selection: what is drawn, and what is written beside it."""

import csv
import dataclasses

import numpy as np
import pytest

from jood.evaluation import choice
from jood.report.benchmark import selections

KINDS = ("noise", "jigsaw")


def curve(values, names, kinds=KINDS):
    """A selection whose AUROC grows with the first value; the last is degenerate."""
    candidates = [
        choice.Candidate(
            dict(zip(names, point, strict=True)),
            "energy(T=1.0)",
            {kind: choice.Contrast(0.5 + i / 50, 0.1, i, 0.001) for kind in kinds},
            "c is 0." if i == len(values) - 1 else "",
        )
        for i, point in enumerate(values)
    ]
    saw = "held-out ID images and synthetic ones (shuffled)"
    return choice.Selection("a method", tuple(candidates), saw=saw)


GRID = [(k, stage) for stage in ("C3", "C4") for k in (0.1, 0.2, 0.5)]


def test_a_line_per_stage_over_k_with_a_panel_per_kind():
    fig = selections.draw(curve(GRID, ("k", "stage")))
    panels = [axis for axis in fig.axes if axis.axison]
    titles = [panel.get_ylabel() for panel in panels]
    assert titles == ["AUROC in %", "separation", *(f"AUROC in %, {k}" for k in KINDS)]
    for panel in panels:
        assert [line.get_label() for line in panel.lines] == ["stage C3", "stage C4"]
        np.testing.assert_array_equal(panel.lines[0].get_xdata(), [0.1, 0.2, 0.5])
    np.testing.assert_allclose(panels[0].lines[0].get_ydata(), [50, 52, 54])
    cross, star = panels[0].collections  # the degenerate one, the chosen one
    np.testing.assert_allclose(cross.get_offsets(), [[0.5, 60]])
    np.testing.assert_allclose(star.get_offsets(), [[0.2, 58]])


@pytest.mark.parametrize(
    ("values", "scale"), [((0.001, 0.03, 1.0), "log"), ((0.7, 0.8, 0.9), "linear")]
)
def test_three_orders_of_magnitude_are_drawn_on_a_log_scale(values, scale):
    fig = selections.draw(curve([(v,) for v in values], ("lam",), ("noise",)))
    assert [axis.get_xscale() for axis in fig.axes[:2]] == [scale, scale]


def test_stages_alone_are_drawn_by_name():
    fig = selections.draw(curve([("C3",), ("C4",)], ("stage",), ("noise",)))
    labels = [text.get_text() for text in fig.axes[0].get_xticklabels()]
    assert labels == ["C3", "C4"]


def test_each_selection_is_written_as_table_and_picture(tmp_path):
    saw = "ID images whose pieces are shuffled"
    found = dataclasses.replace(curve(GRID, ("k", "stage")), saw=saw)
    section = selections.write(tmp_path, {"FS+TA (selected)": found})
    assert section.title == "Chosen on noise and jigsaw"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"selection_FS_TA.{s}" for s in ("csv", "png", "pdf")}
    text = (tmp_path / "selection_FS_TA.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["chosen"] for row in rows] == ["", "", "", "", "*", "degenerate"]
    picture, doubts, folded = section.blocks
    assert f"It saw {saw}. " in picture.caption
    assert "the one of the widest separation" in picture.caption  # how it was chosen
    assert "1 of 6 candidates is degenerate" in doubts.text
    (grid,) = folded.blocks
    assert len(grid.rows) == 6
    assert selections.write(tmp_path, {}).blocks == []


def test_a_selection_that_leaves_open_what_it_saw_claims_nothing(tmp_path):
    found = dataclasses.replace(curve(GRID, ("k", "stage")), saw="")
    picture, *_ = selections.write(tmp_path, {"FS+TA (selected)": found}).blocks
    assert "It saw" not in picture.caption
