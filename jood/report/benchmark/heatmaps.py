"""Heatmaps of the last feature map, without and with Threshold Activation."""

from matplotlib import figure
import numpy as np

from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import Source
from jood.report.benchmark import plots
from jood.report.benchmark.network_view import Viewer

ID_SHOWN = 4
OOD_SHOWN = (0, 7)


def draw(benchmark: Benchmark, viewer: Viewer) -> figure.Figure | None:
    """Draws Feature Sim's Fig. 1 on a benchmark's own images.

    A heatmap is the last map summed over channels (App. C.1). All share one colour
    scale, so that ID can be compared with OOD and the plain pass with TA. Returns None
    for a network without maps.
    """
    if viewer.last is None:
        return None
    shown = images_shown(benchmark)
    views = {name: viewer(images) for name, images in shown.items()}
    top = max(float(view.maps[0].max()) for view in views.values())
    rows = []
    for i, label in enumerate(viewer.labels):
        captions = {n: [f"FS {s:.2f}" for s in v.scores[i]] for n, v in views.items()}
        maps = {name: view.maps[i] for name, view in views.items()}
        label = f"{label}\nk = {viewer.k:g}" if i else label
        rows.append(plots.HeatmapRow(label, maps, captions, top))
    return plots.heatmaps(shown, rows)


def images_shown(benchmark: Benchmark) -> dict[str, np.ndarray]:
    """Returns some images of a benchmark, uint8 [n, H, W, 3] by set.

    These are the first ID test images of different classes and the images 0 and 7 of
    each OOD set: none is picked by its score.
    """
    shown = {"ID": first_of_classes(benchmark.id_test, ID_SHOWN)[0]}
    for name, source in benchmark.ood.items():
        shown[name] = np.stack([source[i % len(source)]["image"] for i in OOD_SHOWN])
    return shown


def first_of_classes(source: Source, count: int) -> tuple[np.ndarray, list[int]]:
    """Returns the first image of each of the first `count` classes, and their labels.

    They are uint8 [n, H, W, 3] and n labels; without labels, the first images.
    """
    images: dict[int, np.ndarray] = {}
    for index in range(len(source)):
        example = source[index]
        images.setdefault(int(example.get("label", index)), example["image"])
        if len(images) == count:
            break
    return np.stack(list(images.values())), list(images)
