"""The selections of `--select` in a results folder: curves, tables and doubts."""

from collections.abc import Callable, Mapping
import functools
import pathlib
from typing import Any

from matplotlib import figure

from jood.evaluation.choice import Candidate
from jood.evaluation.choice import Selection
from jood.report import figures
from jood.report import pictures
from jood.report.html import page
from jood.report.pictures import Picture

_PLAIN = str.maketrans("+ ", "__", "()")  # names of rows as names of files


def write(folder: pathlib.Path, curves: Mapping[str, Selection]) -> page.Section:
    """Writes each selection as CSV, PNG and PDF; returns their section, by row name."""
    blocks: list[page.Block] = []
    for name, curve in curves.items():
        stem = "selection_" + name.replace(" (selected)", "").translate(_PLAIN)
        (folder / f"{stem}.csv").write_text(curve.as_csv())
        drawn = [Picture(stem, name, f"{name}: {_caption(curve)}", draw)]
        for section in pictures.save(folder, drawn, curve):
            blocks += section.blocks
        if curve.doubts():
            doubts = "\n\n".join(curve.doubts())
            blocks.append(page.Text(f"What to doubt in {name}:\n\n{doubts}"))
        every = f"All {len(curve.candidates)} candidates of {name}"
        blocks.append(page.Folded(every, [_grid(name, curve)]))
    kinds = next(iter(curves.values())).kinds if curves else ()
    return page.Section(f"Chosen on {' and '.join(kinds)}", blocks)


def draw(curve: Selection) -> figure.Figure:
    """Draws AUROC and separation over the axis with most values, a line per other one.

    With several kinds of images, each has its AUROC in a panel of its own.
    """
    axes = curve.axes()
    along = max(axes, key=lambda name: len(axes[name]))
    shown: dict[str, Callable[[Candidate], float]] = {
        "AUROC in %": lambda candidate: 100 * candidate.auroc,
        "separation": lambda candidate: candidate.separation,
    }
    for kind in curve.kinds if len(curve.kinds) > 1 else ():
        shown[f"AUROC in %, {kind}"] = functools.partial(_auroc, kind)
    fig, panels = figures.grid(len(shown), 3.2)
    places = {value: i for i, value in enumerate(axes[along])}
    numbers = not any(isinstance(value, str) for value in axes[along])

    def x(candidate: Candidate) -> Any:
        value = candidate.values[along]
        return value if numbers else places[value]

    lines: dict[str, list[Candidate]] = {}
    for candidate in curve.candidates:
        others = {k: v for k, v in candidate.values.items() if k != along}
        label = ", ".join(f"{name} {value}" for name, value in others.items())
        lines.setdefault(label, []).append(candidate)
    for panel, (title, read) in zip(panels, shown.items(), strict=True):
        for label, style in figures.styled_by_place(lines):
            line = lines[label]
            values = [read(c) for c in line]
            panel.plot([x(c) for c in line], values, label=label, linewidth=1, **style)
        for marker, size, few in (
            ("x", 30, [c for c in curve.candidates if c.degenerate]),
            ("*", 110, [curve.best]),
        ):
            points = [x(c) for c in few], [read(c) for c in few]
            panel.scatter(*points, size, "black", marker=marker, zorder=3)
        panel.set(xlabel=along, ylabel=title)
        if not numbers:
            panel.set_xticks(list(places.values()), list(places))
        elif min(places) > 0 and max(places) > 100 * min(places):
            panel.set_xscale("log")
        panel.grid(axis="y", color="#E5E5E5", linewidth=0.6)
    if len(lines) > 1:
        figures.legend_below(fig, panels[0].get_legend_handles_labels()[0])
    return fig


def _auroc(kind: str, candidate: Candidate) -> float:
    return 100 * candidate.against[kind].auroc


def _caption(curve: Selection) -> str:
    saw = f"It saw {curve.saw}. " if curve.saw else ""
    return (
        f"how well each candidate separates ID images from others. {saw}"
        "Beside it, how far apart the scores lie: the difference of their means over "
        "their standard deviation. The star is the chosen candidate: "
        f"{curve.rule.words}. A cross is one that no longer looks at the images."
    )


def _grid(name: str, curve: Selection) -> page.Grid:
    return page.Grid(
        [page.GridColumn(title) for title in curve.rows()[0]],
        [[_cell(value) for value in row.values()] for row in curve.rows()],
        f"{name}: {curve.method}",
    )


def _cell(value: Any) -> page.Cell:
    if isinstance(value, float):
        return page.Cell(f"{value:.5g}", value)
    return page.Cell(str(value))
