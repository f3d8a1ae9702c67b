"""A picture of a sample: t-SNE of its features."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure
from matplotlib import lines
import numpy as np

from jood.report import figures
from jood.report.benchmark.samples import ID
from jood.report.benchmark.samples import Sample

# Colour and marker of each class, where they are few: all colours but the crosses'
# black as dots, then as triangles.
_CLASSES = [(c, m) for m in "o^" for c in figures.COLOURS[:-1]][:10]


def embedding(samples: Mapping[str, Sample], seed: int = 0) -> np.ndarray | None:
    """Returns t-SNE of all features, float32 [N, 2], in the order of the samples.

    With fewer than five images, or where all have one feature, there is none.

    References:
      Van der Maaten and Hinton, Visualizing Data using t-SNE.
    """
    from sklearn import manifold  # takes a second to import

    features = np.concatenate([sample.features for sample in samples.values()])
    # What differs by rounding alone is one feature: PCA would divide by its spread.
    spread = np.ptp(features, axis=0).max(initial=0.0)
    if len(features) < 5 or spread <= 1e-6 * np.abs(features).max():
        return None
    features = features - features.mean(axis=0, keepdims=True)
    largest = float(np.abs(features).max())
    features = features / largest  # only neighbours matter; squares may not overflow
    perplexity = min(30.0, (len(features) - 1) / 3)
    # Half of the usual steps: by then 800 points have found their clusters.
    tsne = manifold.TSNE(
        perplexity=perplexity, init="pca", random_state=seed, max_iter=500
    )
    return tsne.fit_transform(features)


def tsne(
    samples: Mapping[str, Sample], seed: int = 0, class_names: Sequence[str] = ()
) -> figure.Figure | None:
    """Draws HIMPLoS's Fig. 3: one embedding, a panel per OOD set over the ID images.

    Up to ten classes have a colour, or another marker, and a name each. Returns None
    where there is no embedding.
    """
    points = embedding(samples, seed)
    if points is None:
        return None
    ends = np.cumsum([len(sample.features) for sample in samples.values()])
    parts = dict(zip(samples, np.split(points, ends[:-1]), strict=True))
    inside, labels = parts.pop(ID), samples[ID].labels
    groups = {"ID": (inside, {"color": figures.COLOURS[5], "marker": "o"})}
    if labels is not None and labels.max() < len(_CLASSES):
        names = dict(enumerate(class_names))
        groups = {
            names.get(i, f"class {i}"): (
                inside[labels == i],
                {"color": colour, "marker": marker},
            )
            for i, (colour, marker) in enumerate(_CLASSES)
            if i in labels
        }
    cross: dict[str, Any] = {"marker": "x", "color": "black"}
    every = [*groups.items(), ("OOD", (None, cross))]
    options: dict[str, Any] = {"linestyle": "", "markersize": 5}
    handles = [
        lines.Line2D([], [], **look, **options, label=label)
        for label, (_, look) in every
    ]
    fig, axes = figures.grid(len(parts), 3.7)
    for axis, (name, outside) in zip(axes, parts.items(), strict=True):
        for points_of, look in groups.values():
            axis.scatter(*points_of.T, s=14, linewidths=0, alpha=0.7, **look)
        axis.scatter(*outside.T, s=18, linewidths=0.9, **cross)
        axis.set_title(f"ID and {name}", fontsize=10)
    figures.bare(axes)
    figures.legend_below(fig, handles)
    return fig
