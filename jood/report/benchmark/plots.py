"""Pictures: score histograms, ROC curves and heatmaps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib import figure
from matplotlib import lines
import numpy as np

from jood import metrics
from jood.evaluation.benchmark_run import Evaluation
from jood.report import figures

_SIDE_BY_SIDE = 12  # images of a band of heatmaps
_FEW = 8  # fewer images side by side than that do not fill a page's width
# How images uint8 [H, W, 3 or 1] are drawn.
PIXELS: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255}
# The line of the threshold that keeps 95 % of the ID images.
_THRESHOLD: dict[str, Any] = {"color": figures.GREY, "linestyle": "--", "linewidth": 1}


def histograms(evaluation: Evaluation, names: Sequence[str]) -> figure.Figure:
    """Draws the score distributions of ID and every OOD set, a panel per detector.

    Each set has a line of its own, under its name, so that many can be told apart, and
    is drawn to the same height: its place matters, and a narrow one would flatten the
    others.
    """
    sets = list(evaluation.ood_scores)
    fig, axes = figures.grid(len(names), 1.1 + 0.34 * (1 + len(sets)))
    for axis, name in zip(axes, names, strict=True):
        inside = evaluation.id_scores[name]
        rows = [inside, *(evaluation.ood_scores[ood][name] for ood in sets)]
        edges = _edges(*rows)
        for place, scores in enumerate(rows):
            base = len(sets) - place
            heights = base + 0.85 * _heights(scores, edges)
            colour = figures.OUTSIDE if place else figures.INSIDE
            style = {"color": colour, "alpha": 0.8}
            axis.stairs(heights, edges, baseline=base, fill=True, **style)
            axis.axhline(base, color="#DDDDDD", linewidth=0.6, zorder=0)
        axis.axvline(metrics.threshold_at_tpr(inside), **_THRESHOLD)
        axis.set(ylim=(-0.05, len(sets) + 1), title=name)
        labels = ["ID test", *sets] if axis.get_subplotspec().is_first_col() else []
        axis.set_yticks([len(sets) - i + 0.4 for i in range(len(labels))], labels)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel("score (higher = more in-distribution)")
    return fig


def distributions(
    evaluation: Evaluation,
    name: str,
    confidence: Callable[[np.ndarray], np.ndarray] | None = None,
) -> figure.Figure:
    """Draws one detector's scores, a panel per OOD set beside the ID test set.

    As Feature Sim's Fig. 10: densities, so that equal areas are equal shares. With a
    function from scores to confidences, as SSOD's Fig. 6: these are on the axis.
    """
    shown = confidence or (lambda scores: scores)
    inside = shown(evaluation.id_scores[name])
    what_of = "score" if confidence is None else "confidence"
    fig, axes = figures.grid(len(evaluation.ood_scores), 2.8)
    for axis, (ood, scores) in zip(axes, evaluation.ood_scores.items(), strict=True):
        outside = shown(scores[name])
        edges = _edges(inside, outside)
        if confidence is not None:
            edges = np.linspace(0, 1, len(edges))
        for values, colour, what in (
            (inside, figures.INSIDE, "ID"),
            (outside, figures.OUTSIDE, "OOD"),
        ):
            style = {"color": colour, "alpha": 0.55, "label": what}
            clipped = np.clip(values, edges[0], edges[-1])
            axis.hist(clipped, edges, density=True, **style)
        axis.axvline(
            metrics.threshold_at_tpr(inside), **_THRESHOLD, label="keeps 95 % of ID"
        )
        # Of the scores: confidences that saturate tie.
        accepted = 100 * metrics.fpr_at_tpr(evaluation.id_scores[name], scores[name])
        axis.set_title(f"{ood}: {accepted:.1f} % taken for ID", fontsize=10)
        axis.set(yticks=[], xlabel=f"{what_of} of {name}")
    figures.legend_below(fig, axes[0].get_legend_handles_labels()[0])
    return fig


def _edges(*scores: np.ndarray) -> np.ndarray:
    """Edges of bins over nearly all of the scores."""
    low, high = np.quantile(np.concatenate(scores), [0.002, 0.998])
    bins = figures.bins(*map(len, scores))
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def _heights(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """A histogram whose highest bin is 1; what lies outside counts at the ends."""
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    return counts / max(int(counts.max()), 1)


def roc_curves(evaluation: Evaluation, names: Sequence[str]) -> figure.Figure:
    """Draws the ROC curves of some detectors, a panel per OOD set; ID is positive.

    The table beside it has their areas; one legend below all panels names the lines.
    """
    from sklearn import metrics as sklearn_metrics  # takes a second to import

    fig, axes = figures.grid(len(evaluation.ood_scores), figures.PANEL)
    for axis, (ood, scores) in zip(axes, evaluation.ood_scores.items(), strict=True):
        for name, line in figures.styled(names):
            inside, outside = evaluation.id_scores[name], scores[name]
            labels = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
            fpr, tpr, _ = sklearn_metrics.roc_curve(labels, np.r_[inside, outside])
            axis.plot(fpr, tpr, **line)
        axis.plot([0, 1], [0, 1], color="#CCCCCC", linewidth=1, zorder=0)
        axis.axhline(0.95, color=figures.GREY, linestyle="--", linewidth=0.8, zorder=0)
        axis.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal", title=f"ID vs {ood}")
        axis.set(xlabel="OOD accepted (FPR)", ylabel="ID accepted (TPR)")
    named = [lines.Line2D([], [], **line, label=n) for n, line in figures.styled(names)]
    figures.legend_below(fig, named)
    return fig


class HeatmapRow(NamedTuple):
    """One row of heatmaps, all on one colour scale.

    Attributes:
      label: name of the network or of the edit, for the left margin.
      maps: float [n, h, w] by set.
      captions: n texts by set.
      top: the value of the brightest colour; the darkest is 0.
    """

    label: str
    maps: Mapping[str, np.ndarray]
    captions: Mapping[str, Sequence[str]]
    top: float


def heatmaps(
    images: Mapping[str, np.ndarray], rows: Sequence[HeatmapRow]
) -> figure.Figure:
    """Draws images, uint8 [n, H, W, 3 or 1] by set, over rows of their heatmaps.

    Sets that do not fit side by side continue below.
    """
    bands = _bands({name: len(batch) for name, batch in images.items()})
    widest = max(sum(len(images[name]) for name in band) for band in bands)
    height = 1 + len(rows)
    side = figures.WIDTH / max(widest, _FEW)
    size = (side * widest, (0.4 + side * height + 0.15 * len(rows)) * len(bands))
    fig = figure.Figure(figsize=size, layout="constrained")
    parts = fig.subfigures(len(bands), 1, squeeze=False).ravel()
    for part, band in zip(parts, bands, strict=True):
        columns = [(name, i) for name in band for i in range(len(images[name]))]
        axes = part.subplots(height, widest, squeeze=False)
        for column, (name, i) in enumerate(columns):
            axes[0, column].imshow(images[name][i], interpolation="nearest", **PIXELS)
            if i == 0:
                title = name.replace("_", " ")
                axes[0, column].set_title(title, loc="left", fontweight="bold")
            for row, axis in zip(rows, axes[1:, column], strict=True):
                scale = {"cmap": "inferno", "vmin": 0, "vmax": row.top}
                axis.imshow(row.maps[name][i], interpolation="bicubic", **scale)
                axis.set_title(row.captions[name][i], fontsize=9, pad=3)
        figures.bare(axes)
        for label, axis in zip(
            ["image", *(r.label for r in rows)], axes[:, 0], strict=True
        ):
            axis.set_ylabel(label, fontsize=11)
    return fig


def _bands(sizes: Mapping[str, int]) -> list[list[str]]:
    """Names of sets that stand side by side: few bands, which are equally full."""
    fewest = len(_filled(sizes, _SIDE_BY_SIDE))
    widths = range(max(sizes.values()), _SIDE_BY_SIDE)
    tried = (_filled(sizes, width) for width in widths)
    equal = (bands for bands in tried if len(bands) == fewest)
    return next(equal, _filled(sizes, _SIDE_BY_SIDE))


def _filled(sizes: Mapping[str, int], width: int) -> list[list[str]]:
    """Names of sets in bands of at most so many images, each as full as it can be."""
    bands: list[list[str]] = [[]]
    for name, size in sizes.items():
        if bands[-1] and sum(sizes[n] for n in bands[-1]) + size > width:
            bands.append([])
        bands[-1].append(name)
    return bands
