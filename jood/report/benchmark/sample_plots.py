"""Pictures of a sample: t-SNE of its features, and the intensities of its last maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from matplotlib import colormaps
from matplotlib import figure
from matplotlib import lines
import numpy as np

from jood.methods.scores.gmm import fit_mixture
from jood.report import figures
from jood.report.benchmark.samples import ID
from jood.report.benchmark.samples import Sample

_CLASS_COLOURS = 10  # classes that can be told apart by colour
_NARROWEST = 1e-12  # standard deviation of a Gaussian
_MISFIT = 0.25  # share of intensities that a mixture misses before a picture says so


def embedding(samples: Mapping[str, Sample], seed: int = 0) -> np.ndarray | None:
    """Returns t-SNE of all features, float32 [N, 2], in the order of the samples.

    With fewer than five images, or where all have one feature, there is none.

    References:
      Van der Maaten and Hinton, Visualizing Data using t-SNE.
    """
    from sklearn import manifold  # takes a second to import

    features = np.concatenate([sample.features for sample in samples.values()])
    features = features - features.mean(axis=0, keepdims=True)
    largest = float(np.abs(features).max())
    if len(features) < 5 or not largest:
        return None
    features = features / largest  # only neighbours matter; squares may not overflow
    perplexity = min(30.0, (len(features) - 1) / 3)
    tsne = manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return tsne.fit_transform(features)


def tsne(
    samples: Mapping[str, Sample], seed: int = 0, class_names: Sequence[str] = ()
) -> figure.Figure | None:
    """Draws HIMPLoS's Fig. 3: one embedding, a panel per OOD set over the ID images.

    Up to ten classes have a colour and a name each. Returns None where there is no
    embedding.
    """
    points = embedding(samples, seed)
    if points is None:
        return None
    ends = np.cumsum([len(sample.features) for sample in samples.values()])
    parts = dict(zip(samples, np.split(points, ends[:-1]), strict=True))
    inside, labels = parts.pop(ID), samples[ID].labels
    options: dict[str, Any] = {"color": figures.COLOURS[5]}
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 5}
    handles = [lines.Line2D([], [], **dot, **options, label="ID")]
    if labels is not None and labels.max() < _CLASS_COLOURS:
        options = {"c": labels, "cmap": "tab10", "vmin": 0, "vmax": _CLASS_COLOURS - 1}
        names = dict(enumerate(class_names))
        handles = [
            lines.Line2D([], [], **dot, color=colour, label=names.get(i, f"class {i}"))
            for i, colour in enumerate(colormaps["tab10"](np.arange(_CLASS_COLOURS)))
            if i in labels
        ]
    cross: dict[str, Any] = {"marker": "x", "linestyle": "", "color": "black"}
    handles.append(lines.Line2D([], [], **cross, markersize=5, label="OOD"))
    fig, axes = figures.grid(len(parts), 3.8, 3.4)
    for axis, (name, outside) in zip(axes, parts.items(), strict=True):
        axis.scatter(*inside.T, s=7, linewidths=0, alpha=0.7, **options)
        axis.scatter(*outside.T, s=16, marker="x", linewidths=0.9, color="black")
        axis.set_title(f"ID and {name}", fontsize=10)
    figures.bare(axes)
    figures.legend_below(fig, handles)
    return fig


def intensities(samples: Mapping[str, Sample]) -> figure.Figure | None:
    """Draws Feature Sim's Fig. 3: intensities of the last map with their mixture.

    A panel per set: the intensities at all locations of all images of the sample, and
    the mixture of a background and a foreground Gaussian that EM fits to them. Returns
    None for a network without maps.
    """
    from scipy import stats  # takes a while to import

    values = {
        name: sample.intensities.ravel()
        for name, sample in samples.items()
        if sample.intensities is not None
    }
    if not values:
        return None
    top = float(max(np.quantile(part, 0.998) for part in values.values()))
    low = float(min(part.min() for part in values.values()))
    edges = np.linspace(low, top if top > low else low + 1, 61)
    x = np.linspace(edges[0], edges[-1], 400)
    fig, axes = figures.grid(len(values), 3.8, 2.7)
    for axis, (name, part) in zip(axes, values.items(), strict=True):
        clipped = np.clip(part, edges[0], edges[-1])
        axis.hist(clipped, edges, density=True, color="#C8C8C8")
        ceiling = axis.get_ylim()[1]
        fit = fit_mixture(jnp.asarray(part[None, :, None]), iterations=100)
        mixture = [float(v[0, 0]) for v in fit]
        w, mu1, mu2, sigma1, sigma2 = mixture
        astray = missed(part, edges, mixture)
        background = (1 - w) * stats.norm.pdf(x, mu2, max(sigma2, _NARROWEST))
        foreground = w * stats.norm.pdf(x, mu1, max(sigma1, _NARROWEST))
        total = background + foreground
        axis.plot(x, background, color=figures.COLOURS[0], label="background")
        axis.plot(x, foreground, color=figures.COLOURS[1], label="foreground")
        axis.plot(x, total, "--", color=figures.COLOURS[2], label="sum")
        title = "ID test" if name == ID else name
        title = f"{title}: μ apart by {mu1 - mu2:.2g}"
        if astray >= _MISFIT:
            title += f"\nthe mixture misses {astray:.0%} of it"
        axis.set_title(title, fontsize=10)
        peak = float(total.max())  # endless for a single value
        ceiling = min(max(ceiling, 1.05 * peak), 1.5 * ceiling)
        axis.set(yticks=[], ylim=(0, ceiling), xlim=(edges[0], edges[-1]))
        axis.set_xlabel("intensity of the last map")
    axes[0].legend(frameon=False, fontsize=8)
    return fig


def missed(values: np.ndarray, edges: np.ndarray, mixture: Sequence[float]) -> float:
    """Returns the share of values that lie elsewhere than a mixture has them.

    It is the total variation over the bins, half the summed distances of their masses,
    less what a sample of that size has by chance.

    Args:
      values: Floating [n]; those beyond the edges count in the outermost bins.
      edges: Of the bins, [b + 1].
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
