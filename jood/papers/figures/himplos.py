"""HIMPLoS's figures."""

from collections.abc import Mapping
from typing import Any

import jax
from matplotlib import figure
import numpy as np

from jood.data.device_batches import sharded
from jood.data.sources import Source
from jood.papers.figures import shared
from jood.papers.figures.figure_inputs import FigureInputs
from jood.papers.figures.paper_figure import PaperFigure
from jood.papers.figures.paper_figure import diagram
from jood.report.benchmark import class_weights

_CIFAR = ("cifar100", "cifar10")


def _weights(inputs: FigureInputs) -> dict[str, figure.Figure]:
    """Draws Fig. 2: a panel per OOD set, of the class that most of it is taken for."""
    detector, benchmark = inputs.detector(), inputs.benchmark

    @jax.jit
    def look(variables: Any, images: jax.Array) -> tuple[Any, Any, Any]:
        acts = detector.backbone.observe(variables, images)
        return acts.penultimate, acts.prediction, acts.kernel

    def features(source: Source, what: str) -> tuple[np.ndarray, ...]:
        parts, kernel = [], None
        for batch in sharded(source, inputs.batch_size, what=what):
            feature, prediction, kernel = look(detector.variables, batch.image)
            label = prediction if batch.label is None else batch.label
            keep = np.asarray(batch.mask) > 0
            rows = jax.device_get((feature, prediction, label))
            parts.append(tuple(np.asarray(x)[keep] for x in rows))
        joined = (np.concatenate(each) for each in zip(*parts, strict=True))
        return *joined, np.asarray(kernel)

    inside, _, labels, kernel = features(benchmark.id_test, "ID features")
    outside = {}
    for name, source in benchmark.ood.items():
        feature, prediction, *_ = features(source, f"features of {name}")
        outside[name] = (feature, prediction)
    panels = class_weights.most_predicted(
        kernel, (inside, labels), outside, benchmark.class_names
    )
    if not panels:
        raise ValueError("no OOD image is taken for a class of the ID images.")
    return {"class_weights": class_weights.draw(panels)}


def _bars(inputs: FigureInputs) -> Mapping[str, figure.Figure]:
    table = "2" if inputs.benchmark_name == "imagenet" else "1"
    return shared.bars("himplos", table, "FPR95")(inputs)


FIGURES = (
    PaperFigure(
        "1",
        "FPR95 of methods",
        "Average FPR95 of each row of Table I (CIFAR) or II (ImageNet), jood's and "
        "the paper's; lower is better.",
        (*_CIFAR, "imagenet"),
        _bars,
    ),
    PaperFigure(
        "2",
        "A class's weights against activations of ID and OOD images",
        "Channels are sorted by the class's weight in the head (black). Blue is the "
        "mean activation of ID images of the class, orange that of OOD images that are "
        "predicted as it; r is its correlation with the weights.",
        (*_CIFAR, "imagenet"),
        _weights,
    ),
    PaperFigure(
        "3",
        "t-SNE of ID and OOD features",
        shared.TSNE + " All are embedded together.",
        ("cifar10", "cifar100"),
        shared.tsne,
    ),
    diagram("4", "The method"),
    PaperFigure(
        "5",
        "Cosine of the feature to the prototype of its class, ID and OOD",
        "Distributions of s(h, v_c), the cosine of the feature h to the prototype v_c "
        "of its predicted class. The dashed line keeps 95 % of the ID images; above a "
        "panel stands the share of OOD images right of it, the FPR95 as a score.",
        ("imagenet", "cifar10", "cifar100"),
        shared.distributions("cosine to prototype", "prototype_cosine()"),
    ),
    PaperFigure(
        "6",
        "HIMPLoS and LINE against the clip",
        "AUROC against the clip, in units of the feature." + shared.CURVES,
        ("imagenet", "cifar10", "cifar100"),
        shared.sweeps("clip_value"),
    ),
    PaperFigure(
        "7",
        "HIMPLoS against the masked fraction",
        "AUROC against the masked fraction. LINE keeps its own values, as a level to "
        "compare with." + shared.CURVES,
        ("cifar10", "cifar100", "imagenet"),
        shared.sweeps("mask"),
    ),
)
