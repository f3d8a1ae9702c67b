"""Images with the confidence that they are ID: SSOD's Fig. 5."""

from collections.abc import Mapping

from matplotlib import figure
import numpy as np

from jood.report import figures
from jood.report.benchmark import plots

_ACROSS = 8  # images side by side, at most


def draw(
    images: Mapping[str, np.ndarray], confidences: Mapping[str, np.ndarray], score: str
) -> figure.Figure:
    """Draws images with their confidence above them.

    Args:
      images: uint8 [n, H, W, C] by set.
      confidences: float [n] in [0, 1] by set.
      score: Name of the score that is the confidence.
    """
    every = [(name, i) for name, batch in images.items() for i in range(len(batch))]
    down = -(-len(every) // _ACROSS)
    across = -(-len(every) // down)  # equally full lines
    side = figures.WIDTH / _ACROSS
    size = (side * across, (side + 0.4) * down + 0.4)
    fig = figure.Figure(figsize=size, layout="constrained")
    axes = fig.subplots(down, across, squeeze=False).ravel()
    figures.bare(axes)
    for (name, i), axis in zip(every, axes, strict=False):
        axis.imshow(images[name][i], interpolation="nearest", **plots.PIXELS)
        title = f"{name.replace('_', ' ')}\n{confidences[name][i]:.3f}"
        axis.set_title(title, fontsize=9, pad=3)
    fig.suptitle(f"confidence that the image is ID: {score}", fontsize=10)
    return fig
