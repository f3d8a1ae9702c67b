"""Heatmaps of the last feature map, without and with Threshold Activation."""

from collections.abc import Mapping
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np

from jood import compose
from jood.data.benchmark import Benchmark
from jood.data.sources import Source
from jood.network import Taps
from jood.network import observe
from jood.report import plots
from jood.scores.feature_map import feature_sim
from jood.scores.feature_map import mean_absolute_deviation
from jood.transforms.ta import ta

ID_SHOWN = 4
OOD_SHOWN = (0, 7)
OOD_SETS_SHOWN = 5


def can_draw(model: nn.Module, benchmark: Benchmark) -> bool:
    """Whether a model has maps [B, H, W, C] at C4 and C5 (a transformer has tokens)."""
    size = benchmark.image_size
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    taps = Taps(head=None)  # whatever its head, it is not looked at
    look = functools.partial(observe, model, taps=taps)
    stages = jax.eval_shape(look, variables, images).stages
    return all(name in stages and stages[name].ndim == 4 for name in ("C4", "C5"))


def draw(
    benchmark: Benchmark, model: nn.Module, variables: Mapping[str, Any], k: float
) -> figure.Figure:
    """Draws Feature Sim's Fig. 1 on a benchmark's own images.

    A heatmap is the last map summed over channels (App. C.1). All share one colour
    scale, so that ID can be compared with OOD and the plain pass with TA.

    Args:
      benchmark: where images come from.
      model: a network with a stage C4 before its last.
      variables: its parameters and statistics.
      k: TA's threshold.
    """
    shown = images_shown(benchmark)
    component = compose.chain(ta(k=k), feature_sim())
    (edit,) = component.edits[0]

    @jax.jit
    def maps(images: jax.Array) -> tuple[Any, ...]:
        acts = observe(
            model,
            variables,
            benchmark.preprocessing(images),
            edits=component.edits,
            taps=Taps(head=None),
        )
        plain, edited = acts.stage("C5"), acts.edit(edit.spec).stage("C5")
        return (
            plain.sum(-1),
            edited.sum(-1),
            mean_absolute_deviation(plain),
            mean_absolute_deviation(edited),
        )

    results = {name: jax.device_get(maps(images)) for name, images in shown.items()}
    top = max(float(result[0].max()) for result in results.values())
    labels = ("without TA", f"with TA, k = {k:g}")
    return plots.heatmaps(
        shown,
        [
            plots.HeatmapRow(
                label,
                {name: result[i] for name, result in results.items()},
                {n: [f"FS {x:.2f}" for x in r[2 + i]] for n, r in results.items()},
                top,
            )
            for i, label in enumerate(labels)
        ],
    )


def images_shown(benchmark: Benchmark) -> dict[str, np.ndarray]:
    """Returns some images of a benchmark, uint8 [n, H, W, 3] by set.

    They are the first ID test images of different classes and the images 0 and 7 of
    the first OOD sets that are no noise: none is picked by its score.
    """
    shown = {"ID": _first_of_classes(benchmark.id_test)}
    natural = [name for name in benchmark.ood if name not in ("gaussian", "uniform")]
    for name in natural[:OOD_SETS_SHOWN]:
        source = benchmark.ood[name]
        shown[name] = np.stack([source[i % len(source)]["image"] for i in OOD_SHOWN])
    return shown


def _first_of_classes(source: Source) -> np.ndarray:
    """The first image of each of the first few classes met, uint8 [n, H, W, 3].

    Without labels, the first images.
    """
    found: dict[int, np.ndarray] = {}
    for index in range(len(source)):
        example = source[index]
        found.setdefault(int(example.get("label", index)), example["image"])
        if len(found) == ID_SHOWN:
            break
    return np.stack(list(found.values()))
