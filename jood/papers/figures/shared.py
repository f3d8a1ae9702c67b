"""Drawings that figures of several papers share."""

from collections.abc import Callable, Mapping

from matplotlib import figure

from jood.evaluation import hyperparameter_curves
from jood.evaluation import paper_sweeps
from jood.papers import given_networks
from jood.papers import reproduction
from jood.papers import transcription
from jood.papers.figures.figure_inputs import FigureInputs
from jood.report.benchmark import bars as bars_lib
from jood.report.benchmark import plots
from jood.report.benchmark import sample_plots
from jood.report.benchmark import samples
from jood.report.benchmark.network_view import Viewer
from jood.report.hyperparameters import plots as curve_plots

Draw = Callable[[FigureInputs], Mapping[str, figure.Figure]]
# Sentences of the captions.
CURVES = (
    " Left: means over the OOD sets. Beside it: the first detector on each set and, if "
    "the value changes it, the accuracy on ID images. A dotted line marks the usual "
    "value."
)
TSNE = (
    "ID images are dots or triangles, in a colour per class where there are up to ten; "
    "OOD images are black crosses."
)


def sweeps(*names: str) -> Draw:
    """Returns a drawing of curves against the paper's values; a picture per sweep."""

    def draw(inputs: FigureInputs) -> dict[str, figure.Figure]:
        known = paper_sweeps.sweeps(inputs.benchmark_name, inputs.network.name)
        pictures = {}
        for name in names:
            curve = hyperparameter_curves.run(
                known[name],
                inputs.detector(),
                inputs.benchmark,
                batch_size=inputs.batch_size,
            )
            pictures[f"sweep_{name}"] = curve_plots.draw(curve)
        return pictures

    return draw


def distributions(name: str, text: str) -> Draw:
    """Returns a drawing of one detector's scores, a panel per OOD set."""

    def draw(inputs: FigureInputs) -> dict[str, figure.Figure]:
        (scores,) = inputs.evaluate({name: text}).values()
        return {"distributions": plots.distributions(scores, name)}

    return draw


def bars(paper: str, number: str, metric: str) -> Draw:
    """Returns a drawing of average metrics: a pair of bars per row of a table."""

    def draw(inputs: FigureInputs) -> dict[str, figure.Figure]:
        given = [
            given_networks.Given("", network, label)
            for label, network in inputs.networks.items()
        ]
        table = transcription.table(paper, number)
        parts = reproduction.run(
            table,
            given,
            lambda part, one, zoom: inputs.open(one.network),
            batch_size=inputs.batch_size,
            workers=inputs.workers,
        )
        cell = (transcription.AVERAGE, metric)
        makers = given_networks.makers(table, given)
        pictures = {}
        for index, (asked, part) in enumerate(zip(table.parts, parts, strict=True)):
            named = {row.name: row for row in part.rows}
            ours = {n: row.ours[cell] for n, row in named.items() if cell in row.ours}
            theirs = {n: r.papers[cell] for n, r in named.items() if cell in r.papers}
            if not ours:
                continue
            keys = {given_networks.key(asked, row.trained) for row in asked.rows}
            network_names = {
                makers[key].given.network.name for key in keys & makers.keys()
            }
            some = ", the sets at hand" if cell[0] in part.dented else ""
            listed = ", ".join(sorted(network_names))
            here = f"jood: {inputs.benchmark_name}, {listed}{some}"
            there = f"paper: {part.title or table.title}"
            pictures[f"bars_{number}_{index + 1}"] = bars_lib.draw(
                list(theirs),
                {here: ours, there: theirs},
                f"{metric} in %",
                f"Table {number}: average {metric} over the OOD sets",
            )
        if not pictures:
            raise ValueError(
                "the network makes no row of what the bars show; it asks for one of "
                f"{', '.join(given_networks.keys(table))}."
            )
        return pictures

    return draw


def tsne(inputs: FigureInputs) -> dict[str, figure.Figure]:
    """Draws t-SNE of ID and OOD features, a picture per network."""
    pictures = {}
    for label, network in inputs.networks.items():
        viewer = Viewer.of(inputs.detector(label), network.image_size)
        samples_by_set = samples.take(
            inputs.benchmark, viewer, min(inputs.batch_size, 64)
        )
        names = inputs.benchmark.class_names
        drawn = sample_plots.tsne(samples_by_set, class_names=names)
        if drawn is None:
            raise ValueError("all features are equal: there is no embedding.")
        if len(inputs.networks) > 1:
            drawn.suptitle(label)
        pictures["tsne" if len(inputs.networks) == 1 else f"tsne_{label}"] = drawn
    return pictures
