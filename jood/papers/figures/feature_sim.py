"""Feature Sim's figures."""

from collections.abc import Callable, Mapping

from matplotlib import figure

from jood.methods import detector_text
from jood.papers.figures import shared
from jood.papers.figures.figure_inputs import FigureInputs
from jood.papers.figures.paper_figure import PaperFigure
from jood.papers.figures.paper_figure import diagram
from jood.report.benchmark import edited_maps
from jood.report.benchmark import intensity_plots

_SETS = ("imagenet", "cifar10", "cifar100")
_HEATMAPS = (
    "The last map, summed over channels, all on one colour scale; FS is its Feature "
    "Sim score. The images are those that were named, or else some of the benchmark's "
    "that were not picked by their score."
)
_INTENSITIES = (
    "All intensities of one image's last map, over its channels and locations (grey), "
    "and the two Gaussians fitted to them (Eq. 17). 'μ apart by' is the distance of "
    "their means; a bar that is cut off has its share of the intensities in the title. "
    "The images are chosen as for Figure 1."
)


def _behind(
    **templates: str,
) -> Callable[[FigureInputs], Mapping[str, figure.Figure]]:
    """Returns a drawing of maps behind edits: texts by label, '' for the plain pass."""

    def draw(inputs: FigureInputs) -> dict[str, figure.Figure]:
        viewer = inputs.viewer
        if viewer.last is None or viewer.edited is None:
            raise ValueError(
                f"{inputs.network.name} has no two maps; the figure shows the last "
                "behind an edit of one before it."
            )
        filled = {
            label: text.format(k=viewer.k, stage=repr(viewer.edited))
            for label, text in templates.items()
        }
        edits = {
            _label(label, templates[label], viewer.k): (
                detector_text.parse(text) if text else None
            )
            for label, text in filled.items()
        }
        view = viewer.detector, viewer.last, edits
        return {"heatmaps": edited_maps.draw(inputs.shown(), *view)}

    return draw


def _label(label: str, template: str, k: float) -> str:
    """Returns what stands beside a row of maps: the edit, and its k if it has one."""
    return label.replace("_", " ") + (f"\nk = {k:g}" if "{k}" in template else "")


def _intensities(
    shown: Callable[[str], bool],
) -> Callable[[FigureInputs], Mapping[str, figure.Figure]]:
    """Returns a drawing of single images' intensities, for the sets that are shown."""

    def draw(inputs: FigureInputs) -> dict[str, figure.Figure]:
        images = {name: some for name, some in inputs.shown().items() if shown(name)}
        if not images:
            raise ValueError("no images of these sets: name them by --id_images.")
        drawn = intensity_plots.draw(images, inputs.viewer)
        if drawn is None:
            raise ValueError(f"{inputs.network.name} has no maps.")
        return {"intensities": drawn}

    return draw


_TA = "ta(k={k}, stage={stage})"
_ASH = "ash_p(q=0.6, stage={stage})"

FIGURES = (
    PaperFigure(
        "1",
        "Heatmaps of the last map, without and with TA",
        _HEATMAPS,
        _SETS,
        _behind(without_TA="", with_TA=_TA),
    ),
    diagram("2", "The method"),
    PaperFigure(
        "3",
        "Intensities of an image's map, and mixtures",
        _INTENSITIES,
        _SETS,
        _intensities(lambda name: True),
    ),
    PaperFigure(
        "4",
        "FS+TA with Energy and with ODIN, against λ",
        "AUROC against λ; MSP beside Energy." + shared.CURVES,
        _SETS,
        shared.sweeps("lambda", "lambda_odin"),
    ),
    PaperFigure(
        "5",
        "FS+TA against k",
        "AUROC and the ID accuracy behind TA, against k." + shared.CURVES,
        _SETS,
        shared.sweeps("k"),
    ),
    PaperFigure(
        "6",
        "FS+TA of magnified images",
        instead="--table=18 makes its numbers; single images are not drawn",
    ),
    PaperFigure(
        "7",
        "More heatmaps, without and with TA (App. C.1)",
        _HEATMAPS,
        _SETS,
        _behind(without_TA="", with_TA=_TA),
    ),
    PaperFigure(
        "8",
        "Intensities of ID images' maps",
        _INTENSITIES,
        _SETS,
        _intensities(lambda name: name == "ID"),
    ),
    PaperFigure(
        "9",
        "Intensities of OOD images' maps",
        _INTENSITIES,
        _SETS,
        _intensities(lambda name: name != "ID"),
    ),
    PaperFigure(
        "10",
        "Distributions of Feature Sim, ID and OOD",
        "Scores of FS+TA; the dashed line keeps 95 % of the ID images.",
        _SETS,
        shared.distributions("FS+TA", "FS+TA"),
    ),
    PaperFigure(
        "11",
        "Heatmaps of the last map, with TA and with ASH-P after C4",
        _HEATMAPS + " The paper gives no q for ASH-P there: 0.6 is ASH's own.",
        _SETS,
        _behind(plain="", with_TA=_TA, with_ASH=_ASH),
    ),
)
