"""LFF's figures."""

from matplotlib import figure

from jood.papers.figures import shared
from jood.papers.figures.figure_inputs import FigureInputs
from jood.papers.figures.paper_figure import PaperFigure
from jood.papers.figures.paper_figure import diagram
from jood.report.finetuning import plots
from jood.report.finetuning import results

_SETS = ("imagenet100", "cifar10", "cifar100")
_NETWORKS = (
    " A row per network; --checkpoint=before=FOLDER,after=FOLDER gives two. "
    "jood finetune draws this figure of its own runs."
)


def _norms(inputs: FigureInputs) -> dict[str, figure.Figure]:
    norms = inputs.evaluate({results.NORM: "penultimate_norm()"})
    return {"norms": plots.norm_distributions(norms, results.NORM)}


def _heatmaps(inputs: FigureInputs) -> dict[str, figure.Figure]:
    return {"heatmaps": plots.norm_heatmaps(inputs.benchmark, inputs.detectors)}


FIGURES = (
    PaperFigure("1", "Examples of ID and OOD images", instead="it shows photographs"),
    PaperFigure(
        "2",
        "t-SNE of ID, OOD and local background features",
        shared.TSNE
        + " Local background features, the paper's third kind, are not drawn.",
        ("cifar10", "cifar100"),
        shared.tsne,
    ),
    PaperFigure(
        "3",
        "AUROC of methods",
        "Average AUROC of each row of Table I, jood's and the paper's; higher is "
        "better.",
        ("cifar100", "cifar10"),
        shared.bars("lff", "1", "AUROC"),
    ),
    diagram("4", "The method"),
    PaperFigure(
        "5",
        "Norms of ID and OOD features, before and after",
        "Distributions of ‖h‖₂, the norm of the penultimate feature, a column per OOD "
        "set. 'OOD / ID' is the ratio of the mean norms." + _NETWORKS,
        _SETS,
        _norms,
    ),
    PaperFigure(
        "6",
        "AUROC against δ, μ and λ",
        instead="each value is a training run: jood finetune_curves",
    ),
    PaperFigure(
        "7",
        "Norms of local features, before and after",
        plots.MAPS_CAPTION + _NETWORKS,
        _SETS,
        _heatmaps,
    ),
)
