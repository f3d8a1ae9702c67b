"""Feature Sim's Fig. 3, 8 and 9: how strong an image's last map is, and its mixture.

The map is flattened over channels, height and width (App. C.2), so that an image has
C · H · W intensities; EM fits them a background and a foreground Gaussian.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from matplotlib import axes as axes_lib
from matplotlib import figure
import numpy as np

from jood._utils import compiling
from jood.data.benchmarks.spec import Benchmark
from jood.methods.scores.gmm import fit_mixture
from jood.report import figures
from jood.report.benchmark import heatmaps
from jood.report.benchmark.network_view import Viewer

SHOWN = 2  # images of a set
_NARROWEST = 1e-12  # standard deviation of a Gaussian
_MISFIT = 0.25  # share of intensities that a mixture misses before a picture says so
_BINS = 60
_ITERATIONS = 100  # of EM


def draw_benchmark(benchmark: Benchmark, viewer: Viewer) -> figure.Figure | None:
    """Draws the figure of some images of each set, those of the heatmaps."""
    return draw(heatmaps.images_shown(benchmark), viewer)


def draw(images: Mapping[str, np.ndarray], viewer: Viewer) -> figure.Figure | None:
    """Draws images beside the intensities of their last maps and the fitted mixtures.

    Args:
      images: uint8 [n, H, W, C] by set; a line of the figure shows the first two.
      viewer: The network.

    Returns:
      The figure; None for a network without maps.
    """
    if viewer.last is None:
        return None
    sets = {name: some[:SHOWN] for name, some in images.items()}
    values = of_images(np.concatenate([*sets.values()]), viewer)
    edges = np.linspace(values.min(), _top(values), _BINS + 1)
    size = (figures.WIDTH, 2.1 * len(sets))
    fig = figure.Figure(figsize=size, layout="constrained")
    panels = fig.subplots(
        len(sets), 2 * SHOWN, squeeze=False, width_ratios=[1, 2.4] * SHOWN
    )
    each = iter(zip(values, mixtures(values).tolist(), strict=True))
    for line, (name, some) in zip(panels, sets.items(), strict=True):
        figures.bare(line[len(some) * 2 :])
        for number, image in enumerate(some):
            picture, histogram = line[2 * number : 2 * number + 2]
            picture.imshow(image, cmap="gray" if image.shape[-1] == 1 else None)
            picture.set_title(name if not number else "", fontsize=10)
            figures.bare(picture)
            _histogram(histogram, *next(each), edges)
    for histogram in panels[-1, 1::2]:
        histogram.set_xlabel(f"intensity in {viewer.last}")
    figures.legend_below(fig, panels[0, 1].get_legend_handles_labels()[0])
    return fig


def of_images(images: np.ndarray, viewer: Viewer) -> np.ndarray:
    """Returns all intensities of the last map of each image, float32 [n, C·h·w]."""
    stage = viewer.last
    assert stage is not None

    def look(variables: Any, images: jax.Array) -> jax.Array:
        acts = viewer.detector.backbone.observe(variables, images)
        return acts.stage(stage).reshape(len(images), -1)

    values = compiling.run_once(look, viewer.detector.variables, images)
    return np.asarray(values, np.float32)


def mixtures(values: np.ndarray) -> np.ndarray:
    """Fits a mixture to each image's intensities [n, v]; (w, μ1, μ2, σ1, σ2) [n, 5]."""
    fit = jax.jit(fit_mixture, static_argnums=1)(values[..., None], _ITERATIONS)
    return np.stack([np.asarray(part)[:, 0] for part in fit], axis=1)


def _top(values: np.ndarray) -> float:
    """Where the axis ends: beyond 99 % of the intensities of every image."""
    top, low = float(np.quantile(values, 0.99, axis=1).max()), float(values.min())
    return top if top > low else low + 1


def _histogram(
    axis: axes_lib.Axes, values: np.ndarray, mixture: Sequence[float], edges: np.ndarray
) -> None:
    """Draws one image's intensities (grey) with both Gaussians and their sum."""
    from scipy import stats  # takes a while to import

    w, mu1, mu2, sigma1, sigma2 = mixture
    x = np.linspace(edges[0], edges[-1], 8 * _BINS + 1)
    share = 1 / (len(values) * np.diff(edges)[0])  # of a density of all, shown or not
    weights = np.full(len(values), share)
    heights, *_ = axis.hist(values, edges.tolist(), weights=weights, color="#C8C8C8")
    background = (1 - w) * stats.norm.pdf(x, mu2, max(sigma2, _NARROWEST))
    foreground = w * stats.norm.pdf(x, mu1, max(sigma1, _NARROWEST))
    axis.plot(x, background, color=figures.COLOURS[0], label="background")
    axis.plot(x, foreground, color=figures.COLOURS[1], label="foreground")
    total = background + foreground
    axis.plot(x, total, "--", color=figures.COLOURS[2], label="sum")
    # Behind a ReLU most intensities are 0: the axis ends where all but that bar do.
    peak = int(np.argmax(heights))
    ceiling = 1.2 * max(np.delete(heights, peak).max(), foreground.max())
    title = f"μ apart by {mu1 - mu2:.2g}"
    if heights[peak] > ceiling:
        title += f"; {heights[peak] * np.diff(edges)[peak]:.0%} in the cut bar"
    astray = missed(values, edges, mixture)
    if astray >= _MISFIT:
        title += f"; the mixture misses {astray:.0%}"
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    limit = min(ceiling, 1.2 * heights[peak])
    axis.set(yticks=[], xlim=(edges[0], edges[-1]), ylim=(0, limit))


def missed(values: np.ndarray, edges: np.ndarray, mixture: Sequence[float]) -> float:
    """Returns the share of values that lie elsewhere than a mixture has them.

    It is the total variation over the bins, half the summed distances of their masses,
    less what a sample of that size has by chance.

    Args:
      values: Floating [n]; those beyond the edges count in the outermost bins.
      edges: Edges of the bins, [b + 1].
      mixture: Weight of the first Gaussian, means and standard deviations of both, in
        the order of `jood.methods.scores.gmm.fit_mixture`.
    """
    from scipy import stats  # takes a while to import

    w, mu1, mu2, sigma1, sigma2 = mixture
    ends = np.r_[-np.inf, edges[1:-1], np.inf]
    below = w * stats.norm.cdf(ends, mu1, max(sigma1, _NARROWEST))
    below += (1 - w) * stats.norm.cdf(ends, mu2, max(sigma2, _NARROWEST))
    expected = np.diff(below)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    distance = np.abs(counts / len(values) - expected).sum() / 2
    spread = np.sqrt(2 * expected * (1 - expected) / (np.pi * len(values)))
    return max(float(distance - spread.sum() / 2), 0.0)
