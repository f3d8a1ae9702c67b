"""Heatmaps of the last feature map, without and with Threshold Activation."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
import jax
from matplotlib import figure
import numpy as np

from jood import compose
from jood.data.benchmark import Benchmark
from jood.data.sources import Source
from jood.network import observe
from jood.report import plots
from jood.scores.feature_map import feature_sim
from jood.scores.feature_map import mean_absolute_deviation
from jood.transforms.ta import ta

ID_SHOWN = 4
OOD_SHOWN = (0, 7)


def draw(
    benchmark: Benchmark, model: nn.Module, variables: Mapping[str, Any], k: float
) -> figure.Figure:
    """Draws Feature Sim's Fig. 1 on a benchmark's own images.

    Shown are the first ID test images of different classes and the images 0 and 7 of
    every OOD set that is no noise: none is picked by its score.

    Args:
      benchmark: where images come from.
      model: a network with a stage C4 before its last.
      variables: its parameters and statistics.
      k: TA's threshold.
    """
    shown = {"ID": _first_of_classes(benchmark.id_test)}
    for name, source in benchmark.ood.items():
        if name not in ("gaussian", "uniform"):
            shown[name] = np.stack([source[i]["image"] for i in OOD_SHOWN])
    component = compose.chain(ta(k=k), feature_sim())
    (edit,) = component.edits[0]

    @jax.jit
    def maps(images: jax.Array) -> tuple[Any, ...]:
        acts = observe(
            model, variables, benchmark.preprocessing(images), edits=component.edits
        )
        plain, edited = acts.stage("C5"), acts.edit(edit.spec).stage("C5")
        return (
            plain.sum(-1),
            edited.sum(-1),
            mean_absolute_deviation(plain),
            mean_absolute_deviation(edited),
        )

    results = {name: jax.device_get(maps(images)) for name, images in shown.items()}
    return plots.heatmaps(
        shown,
        {name: r[0] for name, r in results.items()},
        {name: r[1] for name, r in results.items()},
        {name: (r[2], r[3]) for name, r in results.items()},
        k,
    )


def _first_of_classes(source: Source) -> np.ndarray:
    """The first image of each of the first few classes met, uint8 [n, H, W, 3]."""
    found: dict[int, np.ndarray] = {}
    for index in range(len(source)):
        example = source[index]
        found.setdefault(int(example["label"]), example["image"])
        if len(found) == ID_SHOWN:
            break
    return np.stack(list(found.values()))
