"""SSOD's figures."""

import dataclasses

from matplotlib import figure
import numpy as np

from jood.core import ood_head
from jood.evaluation.benchmark_run import Evaluation
from jood.methods import detector_text
from jood.papers.figures import shared
from jood.papers.figures.figure_inputs import FigureInputs
from jood.papers.figures.paper_figure import PaperFigure
from jood.papers.figures.paper_figure import diagram
from jood.report import confidence
from jood.report.benchmark import confident_images
from jood.report.finetuning import plots
from jood.weights.checkpoint import TrainedNetwork

_SETS = ("imagenet", "cifar10", "cifar100")


def _locality(inputs: FigureInputs) -> dict[str, figure.Figure]:
    return {"locality": plots.locality(inputs.benchmark, inputs.detectors)}


def _score(network: TrainedNetwork) -> tuple[str, str]:
    """A row of confidences, and its text."""
    if ood_head.COLLECTION in network.variables:
        return "OOD factor", "ood_factor()"
    return "MSP", "msp()"


def _confidences(inputs: FigureInputs) -> dict[str, figure.Figure]:
    shown: dict[str, Evaluation] = {}
    rows: dict[str, tuple[str, plots.Confidence]] = {}
    for label, network in inputs.networks.items():
        name, text = _score(network)
        only = dataclasses.replace(inputs, networks={label: network})
        shown |= only.evaluate({name: text})
        rows[label] = (name, _confidence(text))
    return {"confidences": plots.confidences(shown, rows)}


def _confidence(text: str) -> plots.Confidence:
    measure = confidence.of(text)
    assert measure is not None, text
    return measure


def _confident_images(inputs: FigureInputs) -> dict[str, figure.Figure]:
    name, text = _score(inputs.network)
    detector = dataclasses.replace(
        inputs.detector(), component=detector_text.parse(text)
    )
    shown = {n: images for n, images in inputs.shown().items() if n != "ID"}
    if not shown:
        raise ValueError("give --ood_images, or neither them nor --id_images.")
    scores = {
        n: np.asarray(detector.run_named(images).scores["score"])
        for n, images in shown.items()
    }
    return {"confident_images": confident_images.draw(shown, scores, name)}


FIGURES = (
    PaperFigure(
        "1",
        "t-SNE of surrogate and of natural features",
        instead="Figure 4 draws natural features; the surrogate ones are not drawn",
    ),
    PaperFigure(
        "2",
        "Locations that are classified as the object, and sampled patches",
        "Blue locations give the true class a probability p of over 40 % (a, b). A row "
        "per network; --checkpoint=before=FOLDER,after=FOLDER gives two. The sampled "
        "patches (c, d) are patches.png of jood finetune --objective=ssod.",
        _SETS,
        _locality,
    ),
    diagram("3", "The method"),
    PaperFigure(
        "4",
        "t-SNE of ID and OOD features, before and after",
        shared.TSNE + " A picture per network; --checkpoint=before=FOLDER,after=FOLDER "
        "gives two.",
        _SETS,
        shared.tsne,
    ),
    PaperFigure(
        "5",
        "OOD images and their confidence",
        "The OOD factor of each image, or its MSP where the network has no OOD head. "
        "The images are those of --ood_images, else some of each OOD set that were not "
        "picked by their score.",
        _SETS,
        _confident_images,
    ),
    PaperFigure(
        "6",
        "Distributions of confidence, ID and OOD",
        "The confidence of ID images (blue) and of each OOD set (orange): MSP, or the "
        "OOD factor where there is an OOD head. A row per network; "
        "--checkpoint=before=FOLDER,after=FOLDER gives two.",
        _SETS,
        _confidences,
    ),
    PaperFigure(
        "7",
        "Which locations of the map are classified as the object",
        instead="Figure 2 (a) draws the same of several images",
    ),
)
