"""What all figures share: colours, line styles, grids of panels, how they are saved."""

from collections.abc import Iterable, Mapping, Sequence
import itertools
import pathlib
from typing import Any

from matplotlib import figure
from matplotlib import layout_engine
import numpy as np

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
GREY = "#555555"
# Every colour in every style before one comes again.
_STYLES = [{"linestyle": s, "color": c} for s in ("-", "--", ":") for c in COLOURS]
DOTS_PER_INCH = 150
COLUMNS = 3  # panels side by side, at most


def grid(panels: int, width: float, height: float) -> tuple[figure.Figure, list]:
    """Returns a figure with so many panels, at most three side by side, and these."""
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    # Inches between panels: else titles touch the labels above them.
    layout = layout_engine.ConstrainedLayoutEngine(h_pad=0.1)
    fig = figure.Figure(figsize=(width * columns, height * rows), layout=layout)
    axes = fig.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[panels:]:
        axis.set_axis_off()
    for axis in axes[:panels]:
        axis.spines[["top", "right"]].set_visible(False)
    return fig, axes[:panels]


def styled(things: Iterable[Any]) -> Iterable[tuple[Any, dict[str, str]]]:
    """Pairs each thing with the colour and style of its line."""
    return zip(things, itertools.cycle(_STYLES), strict=False)


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
    fig.set_figheight(fig.get_figheight() + 0.22 * lines)
    options: dict[str, Any] = {"loc": "outside lower center", "frameon": False}
    fig.legend(handles=handles, ncols=columns, **options)


def save_pictures(folder: pathlib.Path, pictures: Mapping[str, figure.Figure]) -> None:
    """Writes each picture as PNG and as PDF."""
    for name, picture in pictures.items():
        # Without the time of day, which would make equal runs differ.
        for suffix, stamp in (("png", {}), ("pdf", {"CreationDate": None})):
            path = folder / f"{name}.{suffix}"
            picture.savefig(path, dpi=DOTS_PER_INCH, metadata=stamp)
            picture.set_layout_engine("none")  # the second file keeps the first's
