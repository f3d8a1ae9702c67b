"""A picture of a sample: t-SNE of its features."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib import figure
from matplotlib import lines
import numpy as np

from jood.report import figures
from jood.report.benchmark.samples import ID
from jood.report.benchmark.samples import Sample

_CLASS_COLOURS = 10  # classes that can be told apart by colour


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
