"""Heatmaps of the last map behind several stage edits: TA and ASH beside each other."""

from collections.abc import Mapping
from typing import Any

import jax
from matplotlib import figure
import numpy as np

from jood.core.component import Component
from jood.detector import Detector
from jood.methods.scores.feature_map import mean_absolute_deviation
from jood.report.benchmark import plots


def draw(
    images: Mapping[str, np.ndarray],
    detector: Detector,
    last: str,
    edits: Mapping[str, Component | None],
) -> figure.Figure:
    """Draws Feature Sim's Fig. 1, 7 and 11.

    A heatmap is the map summed over channels (App. C.1). All share one colour scale,
    so that ID can be compared with OOD and one edit with another; FS is the Feature
    Sim score of the map.

    Args:
      images: uint8 [n, H, W, C] by set, at the network's size.
      detector: Any detector with the network.
      last: The stage whose map is drawn.
      edits: Stage component that stands before, by label; None for the plain pass.
    """
    every = tuple(path for part in edits.values() if part for path in part.edits)

    @jax.jit
    def look(variables: Any, images: jax.Array) -> dict[str, tuple[Any, Any]]:
        acts = detector.backbone.observe(variables, images, every)
        maps = {
            label: (part.apply((), acts) if part else acts).stage(last)
            for label, part in edits.items()
        }
        return {n: (m.sum(-1), mean_absolute_deviation(m)) for n, m in maps.items()}

    ends = np.cumsum([len(batch) for batch in images.values()])[:-1]
    by_label = jax.device_get(
        look(detector.variables, np.concatenate(list(images.values())))
    )
    top = max(float(heat.max()) for heat, _ in by_label.values())
    rows = []
    for label in edits:  # jit sorts the keys of dicts
        heat, scores = by_label[label]
        maps = dict(zip(images, np.split(heat, ends), strict=True))
        scores_by_set = dict(zip(images, np.split(scores, ends), strict=True))
        captions = {
            name: [f"FS {s:.2f}" for s in values]
            for name, values in scores_by_set.items()
        }
        rows.append(plots.HeatmapRow(label, maps, captions, top))
    return plots.heatmaps(images, rows)
