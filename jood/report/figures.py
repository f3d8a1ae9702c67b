"""What all figures share: colours, line styles, grids of panels, legends, files."""

import collections
from collections.abc import Iterable, Mapping, Sequence
import itertools
import math
import pathlib
from typing import Any
import zlib

from matplotlib import axes as axes_lib
from matplotlib import figure
from matplotlib import layout_engine
import numpy as np

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
GREY = "#555555"
INSIDE, OUTSIDE = COLOURS[:2]  # of ID and of OOD images in every figure
# Detectors that are often drawn together; each has a colour of its own.
_COMMON = ("FS+TA", "Energy", "KNN", "HIMPLoS", "MSP", "ViM", "FS")
_DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (9, 3)))
DOTS_PER_INCH = 192  # two per CSS pixel: a page shows points at their real size
WIDTH = 13.2  # inches of a figure as wide as the column of a page
COLUMNS = 3  # panels side by side, at most
PANEL = WIDTH / COLUMNS  # inches


def grid(panels: int, height: float) -> tuple[figure.Figure, list]:
    """Returns a figure with so many panels, and these.

    Panels are `PANEL` inches wide, three side by side; two where that fills the lines.

    Args:
      panels: Number of panels.
      height: Height of a panel, in inches.
    """
    columns = 2 if panels in (2, 4) else min(COLUMNS, panels)
    rows = -(-panels // columns)
    # Inches between panels: else titles touch the labels above them.
    layout = layout_engine.ConstrainedLayoutEngine(h_pad=0.15, w_pad=0.1)
    fig = figure.Figure(figsize=(PANEL * columns, height * rows), layout=layout)
    axes = fig.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[panels:]:
        axis.set_axis_off()
    for axis in axes[:panels]:
        axis.spines[["top", "right"]].set_visible(False)
    return fig, axes[:panels]


def colour(name: str) -> str:
    """Returns the colour of a detector: the same in every figure."""
    if name in _COMMON:
        return COLOURS[_COMMON.index(name)]
    return COLOURS[zlib.crc32(name.encode()) % len(COLOURS)]


def styled(names: Iterable[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Pairs each detector's name with the colour and style of its line.

    Names that share a colour differ in their dashes.
    """
    drawn: collections.Counter[str] = collections.Counter()
    for name in names:
        own = colour(name)
        yield name, {"linestyle": _DASHES[drawn[own] % len(_DASHES)], "color": own}
        drawn[own] += 1


def styled_by_place(names: Iterable[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Pairs names of other things with a colour each, and with dashes beyond these."""
    looks = itertools.cycle(itertools.product(_DASHES, COLOURS))
    for name, (dashes, own) in zip(names, looks, strict=False):
        yield name, {"linestyle": dashes, "color": own}


def bins(*counts: int) -> int:
    """Returns how many bins histograms of so many values have: 10 to 50.

    It is the square root of the fewest, so that a few values do not become a comb.
    """
    return min(max(round(math.sqrt(min(counts))), 10), 50)


def bare(axes: Any) -> None:
    """Takes ticks and frames off axes that show pictures."""
    for axis in np.ravel(axes):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def legend_below(fig: figure.Figure, handles: Sequence[Any]) -> None:
    """Adds a legend below all panels, of as many lines as the figure's width asks for.

    The figure grows by the height of the legend, so that panels keep theirs.
    """
    # Inches of an entry: its handle and the gap beside it, and the text at 10 points.
    widest = max(0.75 + 0.085 * len(str(handle.get_label())) for handle in handles)
    columns = min(max(int(fig.get_figwidth() / widest), 1), len(handles))
    lines = -(-len(handles) // columns)
    columns = -(-len(handles) // lines)  # equally full lines
    fig.set_figheight(fig.get_figheight() + 0.22 * lines + 0.1)
    options: dict[str, Any] = {"loc": "outside lower center", "frameon": False}
    fig.legend(handles=handles, ncols=columns, **options)


def legends_under(panels: Iterable[axes_lib.Axes]) -> None:
    """Explains the lines of each panel under its horizontal axis.

    The figure grows by the height of the longest legend, so that panels keep theirs.
    """
    panels = list(panels)
    lines = 0
    for axis in panels:
        labels = axis.get_legend_handles_labels()[1]
        longest = max(map(len, labels), default=0)
        columns = max(int(PANEL / (0.6 + 0.075 * longest)), 1)
        lines = max(lines, -(-len(labels) // columns))
        axis.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            borderaxespad=4.5,  # in units of the text: ticks and the axis' title
            ncols=columns,
            frameon=False,
            fontsize=9,
        )
    fig = panels[0].get_figure(root=True)
    assert fig is not None
    fig.set_figheight(fig.get_figheight() + 0.19 * lines + 0.1)


def save_pictures(folder: pathlib.Path, pictures: Mapping[str, figure.Figure]) -> None:
    """Writes each picture as PNG and as PDF."""
    for name, picture in pictures.items():
        # Without the time of day, which would make equal runs differ.
        for suffix, stamp in (("png", {}), ("pdf", {"CreationDate": None})):
            path = folder / f"{name}.{suffix}"
            picture.savefig(path, dpi=DOTS_PER_INCH, metadata=stamp)
            picture.set_layout_engine("none")  # the second file keeps the first's
