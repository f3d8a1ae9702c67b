"""Heatmaps of the last feature map, without and with Threshold Activation."""

from matplotlib import figure
import numpy as np

from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import Source
from jood.report.benchmark import plots
from jood.report.benchmark.network_view import Look

ID_SHOWN = 4
OOD_SHOWN = (0, 7)
OOD_SETS_SHOWN = 5


def draw(benchmark: Benchmark, look: Look, k: float) -> figure.Figure:
    """Draws Feature Sim's Fig. 1 on a benchmark's own images.

    A heatmap is the last map summed over channels (App. C.1). All share one colour
    scale, so that ID can be compared with OOD and the plain pass with TA.

    Args:
      benchmark: where images come from.
      look: `looking.reader` of a network that `looking.has_maps`.
      k: TA's threshold, as `look` has it.
    """
    shown = images_shown(benchmark)
    seen = {name: look(images) for name, images in shown.items()}
    maps = [
        {name: np.asarray(getattr(one, field)) for name, one in seen.items()}
        for field in ("plain", "edited", "plain_score", "edited_score")
    ]
    top = max(float(heatmap.max()) for heatmap in maps[0].values())
    labels = ("without TA", f"with TA, k = {k:g}")
    return plots.heatmaps(
        shown,
        [
            plots.HeatmapRow(
                label,
                maps[i],
                {name: [f"FS {x:.2f}" for x in s] for name, s in maps[2 + i].items()},
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
