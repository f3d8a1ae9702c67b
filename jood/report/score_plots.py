"""Pictures of a detector at work: its scores, and how they change over time."""

from collections.abc import Mapping, Sequence

from matplotlib import axes as axes_lib
from matplotlib import figure
import numpy as np

from jood.calibration import Calibration
from jood.drift import Drift
from jood.report import plots

_ID = "#C8C8C8"
_TRAFFIC, _FLAGGED = plots.COLOURS[0], plots.COLOURS[4]


def histograms(
    calibration: Calibration, scores: Mapping[str, np.ndarray] | None = None
) -> figure.Figure:
    """Draws the calibration scores, and those of traffic, a panel per detector.

    Args:
      calibration: of the detector; its thresholds are the dashed lines.
      scores: floating [n] of traffic by detector name; None draws none.
    """
    fig, panels = plots.grid(len(calibration.scores), 5.2, 3.2)
    thresholds = calibration.thresholds()
    for axis, (name, inside) in zip(panels, calibration.scores.items(), strict=True):
        new = np.zeros(0) if scores is None else scores[name]
        low, high = np.quantile(np.r_[inside, new], [0.002, 0.998])
        low, high = min(low, thresholds[name]), max(high, thresholds[name])
        edges = np.linspace(low, high if high > low else low + 1, 51)
        label = f"ID, to calibrate ({len(inside):,})"
        axis.stairs(_density(inside, edges), edges, fill=True, color=_ID, label=label)
        if new.size:
            axis.stairs(
                _density(new, edges),
                edges,
                color=_TRAFFIC,
                linewidth=1.6,
                label=f"scored ({len(new):,})",
            )
        axis.axvline(
            thresholds[name],
            color=plots.GREY,
            linestyle="--",
            linewidth=1,
            label=f"threshold, TPR {calibration.tpr:.4g}",
        )
        axis.set(yticks=[], ylim=(0, None), title=name)
        axis.set_xlabel("score (higher = more in-distribution)")
        axis.set_ylabel("share of images")
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return fig


def timelines(
    windows: Mapping[str, Sequence[Drift]], calibration: Calibration
) -> figure.Figure:
    """Draws how scores change over windows of traffic, two panels per detector.

    Above: median and 5 to 95 % of the scores of each window, on the band of the
    calibration scores; windows that drifted are marked. Below: the share that is
    called OOD, and 1 - TPR, which ID traffic stays near.

    Args:
      windows: of `jood.drift.timeline`, by detector name.
      calibration: of the detector.
    """
    names = list(windows)
    fig = figure.Figure(figsize=(8.4, 4.6 * len(names)), layout="constrained")
    panels = fig.subplots(
        2 * len(names), 1, squeeze=False, height_ratios=[2, 1] * len(names)
    )[:, 0]
    thresholds = calibration.thresholds()
    for name, top, bottom in zip(names, panels[::2], panels[1::2], strict=True):
        _scores_over_time(top, windows[name], calibration.scores[name])
        top.axhline(
            thresholds[name],
            color=plots.GREY,
            linestyle="--",
            linewidth=1,
            label="threshold",
        )
        drifted = sum(window.drifted for window in windows[name])
        title = f"{name}: {drifted} of {len(windows[name])} windows drifted"
        top.set(title=title, ylabel="score", xticklabels=[])
        _share_over_time(bottom, windows[name], 1 - calibration.tpr)
        for axis in (top, bottom):
            last = windows[name][-1]
            axis.set_xlim(0, last.first + last.images)
            axis.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return fig


def _scores_over_time(
    axis: axes_lib.Axes, windows: Sequence[Drift], inside: np.ndarray
) -> None:
    low, median, high = np.quantile(inside, [0.05, 0.5, 0.95])
    axis.axhspan(low, high, color=_ID, alpha=0.5, linewidth=0, label="ID, 5 to 95 %")
    axis.axhline(median, color="#909090", linewidth=1)
    middles = np.array([w.first + w.images / 2 for w in windows])
    medians = np.array([w.median for w in windows])
    spread = [
        medians - [w.low for w in windows],
        [w.high for w in windows] - medians,
    ]
    axis.errorbar(
        middles,
        medians,
        np.maximum(spread, 0),
        color=_TRAFFIC,
        marker="o",
        markersize=4,
        linewidth=1.2,
        label="window, 5 to 95 %",
    )
    drifted = np.array([w.drifted for w in windows])
    axis.plot(
        middles[drifted],
        medians[drifted],
        linestyle="",
        marker="o",
        markersize=7,
        color=_FLAGGED,
        label="drifted",
    )


def _share_over_time(
    axis: axes_lib.Axes, windows: Sequence[Drift], expected: float
) -> None:
    edges = [w.first for w in windows] + [windows[-1].first + windows[-1].images]
    axis.stairs([w.below for w in windows], edges, fill=True, color=_TRAFFIC)
    axis.axhline(expected, color=plots.GREY, linestyle="--", linewidth=1)
    axis.set(ylim=(0, 1), ylabel="called OOD", xlabel="image, in the order of traffic")


def _density(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of scores in each bin; what lies outside counts at the ends."""
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return counts / max(len(scores), 1)
