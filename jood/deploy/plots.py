"""Pictures of a detector at work: its scores, all together and image after image."""

from collections.abc import Mapping, Sequence
import textwrap
from typing import Any

from matplotlib import axes as axes_lib
from matplotlib import figure
from matplotlib import layout_engine
from matplotlib import ticker
import numpy as np

from jood.deploy.drift import Drift
from jood.detector.class_calibration import AnyCalibration
from jood.report import figures

_ID, _MEDIAN = "#C8C8C8", "#909090"
_TRAFFIC, _FLAGGED = figures.COLOURS[0], figures.COLOURS[4]
_THRESHOLD: dict[str, Any] = {"color": figures.GREY, "linestyle": "--", "linewidth": 1}
_FEW = 20  # fewer scores than that are marks: as bars they would be all noise


def histograms(
    calibration: AnyCalibration,
    scores: Mapping[str, np.ndarray] | None = None,
    titles: Mapping[str, str] | None = None,
) -> figure.Figure:
    """Draws the calibration scores, and those of traffic, a panel per detector.

    The lowest and the highest 0.2 % of the scores are counted in the outermost bins,
    so that one that is far off leaves room for the others. The number of bins is the
    square root of the number of scores, 10 to 50. A few scores of traffic are marks.

    Args:
      calibration: The detector's calibration; its thresholds are the dashed lines;
        of thresholds per class, the lowest and the highest.
      scores: floating [n] of traffic by detector name; None draws none.
      titles: Titles of panels by detector name, where they differ from the name.
    """
    fig, panels = figures.grid(len(calibration.scores), 3.0)
    label = f"threshold, TPR {calibration.tpr:.4g}"
    for axis, (name, threshold) in zip(
        panels, calibration.thresholds().items(), strict=True
    ):
        inside = calibration.scores[name]
        new = np.zeros(0) if scores is None else scores[name]
        lines = outermost(threshold)
        edges = _edges(inside, new, lines)
        held_out = f"ID, to calibrate ({len(inside):,})"
        shares = _shares(inside, edges)
        axis.stairs(shares, edges, fill=True, color=_ID, label=held_out)
        if new.size:
            _draw_traffic(axis, new, edges)
        for line in lines:
            axis.axvline(line, **_THRESHOLD, label=label if line == lines[0] else None)
        axis.set(yticks=[], ylim=(0, None), ylabel="share of images")
        axis.set_xlabel("score (higher = more in-distribution)")
        _entitle(axis, (titles or {}).get(name, name), 48)
    figures.legend_below(fig, panels[0].get_legend_handles_labels()[0])
    return fig


def timelines(
    windows: Mapping[str, Sequence[Drift]],
    calibration: AnyCalibration,
    titles: Mapping[str, str] | None = None,
    window: int = 0,
) -> figure.Figure:
    """Draws how scores change over windows of traffic, two panels per detector.

    Up to two detectors stand one below the other, more side by side.

    Above: median and 5 to 95 % of the scores of each window, on the band of the
    calibration scores; windows that drifted are marked. Below: the share that is
    called OOD, and 1 - TPR, which ID traffic stays near.

    Args:
      windows: Results of `jood.deploy.drift.timeline`, by detector name.
      calibration: The detector's calibration.
      titles: Titles of panels by detector name, where they differ from the name.
      window: Images that a window should have; the title says if there are fewer.
    """
    columns = 1 if len(windows) < 3 else min(3, len(windows))
    rows = -(-len(windows) // columns)
    width = figures.WIDTH / columns
    fig = figure.Figure(
        figsize=(width * columns, (4.6 if columns == 1 else 3.6) * rows),
        # Inches between panels: else titles touch the labels above them.
        layout=layout_engine.ConstrainedLayoutEngine(h_pad=0.1),
    )
    options: dict[str, Any] = {"squeeze": False, "height_ratios": [2, 1] * rows}
    grid = fig.subplots(2 * rows, columns, **options)
    tops, bottoms = grid[::2].ravel(), grid[1::2].ravel()
    for axis in (*tops[len(windows) :], *bottoms[len(windows) :]):
        axis.set_axis_off()
    thresholds = calibration.thresholds()
    for name, top, bottom in zip(windows, tops, bottoms, strict=False):
        _scores_over_time(top, windows[name], calibration.scores[name])
        for i, line in enumerate(outermost(thresholds[name])):
            top.axhline(line, **_THRESHOLD, label=None if i else "threshold")
        drifted = drift_in_words(windows[name], window)
        _entitle(top, f"{(titles or {}).get(name, name)}: {drifted}", int(12 * width))
        top.set_ylabel("score")
        top.tick_params(labelbottom=False)
        _share_over_time(bottom, windows[name], 1 - calibration.tpr)
        last = windows[name][-1]
        for axis in (top, bottom):
            axis.set_xlim(0, last.first + last.images)
            axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
            axis.spines[["top", "right"]].set_visible(False)
    handles = [
        handle
        for axis in (tops[0], bottoms[0])
        for handle in axis.get_legend_handles_labels()[0]
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return fig


def outermost(thresholds: Any) -> list[float]:
    """Returns the lowest and the highest of thresholds, once if there is only one."""
    return np.unique([np.min(thresholds), np.max(thresholds)]).tolist()


def drift_in_words(windows: Sequence[Drift], window: int = 0) -> str:
    """Returns how many windows drifted, and whether there is one for lack of images.

    Args:
      windows: The windows of one detector.
      window: Images that a window should have.
    """
    drifted = sum(one.drifted for one in windows)
    if len(windows) > 1:
        return f"{drifted} of {len(windows):,} windows drifted"
    few = windows[0].images < window
    return (f"fewer images than --window={window}: " if few else "") + (
        "one window, it drifted" if drifted else "one window, no drift"
    )


def _edges(inside: np.ndarray, new: np.ndarray, lines: Sequence[float]) -> np.ndarray:
    """Bin edges that hold 99.6 % of the scores and the thresholds."""
    low, high = np.quantile(np.r_[inside, new], [0.002, 0.998])
    low, high = min(low, *lines), max(high, *lines)
    bins = figures.bins(*(len(s) for s in (inside, new) if len(s) >= _FEW), len(inside))
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def _draw_traffic(axis: axes_lib.Axes, new: np.ndarray, edges: np.ndarray) -> None:
    look: dict[str, Any] = {"color": _TRAFFIC, "label": f"scored ({len(new):,})"}
    if len(new) >= _FEW:
        axis.stairs(_shares(new, edges), edges, linewidth=1.6, **look)
        return
    axis.plot(
        np.clip(new, edges[0], edges[-1]),
        np.full(len(new), 0.04),
        "^",
        transform=axis.get_xaxis_transform(),  # the height is of the panel
        markersize=9,
        markeredgecolor="white",
        clip_on=False,
        **look,
    )


def _scores_over_time(
    axis: axes_lib.Axes, windows: Sequence[Drift], inside: np.ndarray
) -> None:
    low, median, high = np.quantile(inside, [0.05, 0.5, 0.95])
    axis.axhspan(low, high, color=_ID, alpha=0.5, linewidth=0, label="ID, 5 to 95 %")
    axis.axhline(median, color=_MEDIAN, linewidth=1, label="ID, median")
    middles = np.array([w.first + w.images / 2 for w in windows])
    lows, medians, highs = np.array([(w.low, w.median, w.high) for w in windows]).T
    drifted = np.array([w.drifted for w in windows])
    sizes = (4, 7) if len(windows) > 1 else (8, 11)  # no line leads to a single point
    axis.errorbar(
        middles,
        medians,
        np.maximum([medians - lows, highs - medians], 0),
        color=_TRAFFIC,
        marker="o",
        markersize=sizes[0],
        linewidth=1.2,
        label="window, 5 to 95 %",
    )
    marks: dict[str, Any] = {"markersize": sizes[1], "color": _FLAGGED, "zorder": 3}
    axis.plot(middles[drifted], medians[drifted], "o", label="drifted", **marks)


def _share_over_time(
    axis: axes_lib.Axes, windows: Sequence[Drift], expected: float
) -> None:
    edges = [w.first for w in windows] + [windows[-1].first + windows[-1].images]
    shares = [w.below for w in windows]
    axis.stairs(shares, edges, fill=True, color=_TRAFFIC, alpha=0.6, label="called OOD")
    axis.axhline(
        expected,
        color="black",
        linestyle=":",
        linewidth=1.5,
        zorder=3,  # in front of the bars
        label="1 - TPR, near which ID stays",
    )
    axis.set(ylim=(0, 1), ylabel="called OOD", xlabel="image, in the order given")


def _entitle(axis: axes_lib.Axes, title: str, width: int) -> None:
    """Sets a title of at most three lines: the text of a detector may be long."""
    lines = textwrap.fill(title, width, max_lines=3, placeholder=" ...")
    axis.set_title(lines, fontsize=10)


def _shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of scores in each bin; what lies outside counts at the ends."""
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return counts / max(len(scores), 1)
