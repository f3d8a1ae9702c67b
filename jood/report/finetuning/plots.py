"""Pictures of what fine-tuning did: norms, heatmaps and patches, before and after."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib import colors
from matplotlib import figure
from matplotlib import patches as shapes
import numpy as np

from jood.data.benchmarks.spec import Benchmark
from jood.detector import Detector
from jood.evaluation.benchmark_run import Evaluation
from jood.report import figures
from jood.report.benchmark import heatmaps
from jood.report.benchmark import plots
from jood.training.forward import look
from jood.training.objectives.patches import Patches
from jood.training.objectives.true_class_probability import probability

IMAGES_SHOWN = 8  # of patches
CONFIDENT = 0.4  # as in SSOD's Fig. 2 (a) and (b)
MAPS_CAPTION = (
    "‖z_j‖₂ at each location of the last map. Each row has its own colour scale, from "
    "black for 0 to yellow for its largest value; above a map is its mean."
)
# SSOD's Fig. 2 has green and red, which colour-blind readers confuse.
_OBJECT, _BACKGROUND = figures.COLOURS[5], figures.COLOURS[4]
Networks = Mapping[str, Detector]  # by label
Confidence = Callable[[np.ndarray], np.ndarray]  # of scores


def norm_distributions(
    evaluations: Mapping[str, Evaluation], norm: str
) -> figure.Figure:
    """Draws LFF's Fig. 5: distributions of ‖h‖₂, a row per network, a column per set.

    Evaluations are by label; `norm` names the detector whose score is ‖h‖₂.
    """
    sets = list(next(iter(evaluations.values())).ood_scores)
    size = (_width(len(sets)), 2.2 * len(evaluations) + 0.2)
    fig = figure.Figure(figsize=size, layout="constrained")
    axes = fig.subplots(len(evaluations), len(sets), squeeze=False, sharex="row")
    for (label, evaluation), row in zip(evaluations.items(), axes, strict=True):
        inside = evaluation.id_scores[norm]
        every = [inside, *(s[norm] for s in evaluation.ood_scores.values())]
        top = max(np.quantile(x, 0.995) for x in every)
        edges = np.linspace(0, top, figures.bins(*map(len, every)) + 1)
        for name, axis in zip(sets, row, strict=True):
            outside = evaluation.ood_scores[name][norm]
            for values, colour, what in (
                (inside, figures.INSIDE, "ID"),
                (outside, figures.OUTSIDE, "OOD"),
            ):
                counts, _ = np.histogram(values, edges, density=True)
                axis.stairs(counts, edges, fill=True, color=colour, alpha=0.5)
                axis.stairs(counts, edges, color=colour, linewidth=1.2, label=what)
            ratio = outside.mean() / inside.mean()
            title = f"{name}\nOOD / ID {ratio:.0%}".replace("_", " ")
            axis.set(yticks=[], ylim=(0, None))
            axis.set_title(title, fontsize=9)
            axis.spines[["top", "right", "left"]].set_visible(False)
        row[0].set_ylabel(label, fontsize=11)
    for axis in axes[-1]:
        axis.set_xlabel("‖h‖₂")
    figures.legend_below(fig, axes[0, 0].get_legend_handles_labels()[0])
    return fig


def _width(panels: int) -> float:
    """Inches of a figure with so many panels side by side: a page's width, or less."""
    return min(2.6 * panels, figures.WIDTH)


def norm_heatmaps(benchmark: Benchmark, networks: Networks) -> figure.Figure:
    """Draws LFF's Fig. 7: ‖z_j‖₂ at each location, a row per network.

    Each row has its own colour scale, up to its largest norm: ID is compared with OOD
    within a network, and the contrast between networks of one architecture.
    """
    one = next(iter(networks.values()))
    shown = heatmaps.images_shown(benchmark)

    @jax.jit
    def norms(variables: Any, images: jax.Array) -> jax.Array:
        outputs, side = _look(one, variables, images)
        return jnp.linalg.norm(outputs.local, axis=-1).reshape(side)

    rows = []
    for label, network in networks.items():
        by_set = {n: norms(network.variables, images) for n, images in shown.items()}
        maps = {name: np.asarray(norm) for name, norm in by_set.items()}
        captions = {n: [f"mean {x.mean():.2g}" for x in m] for n, m in maps.items()}
        top = max(float(norm.max()) for norm in maps.values())
        rows.append(plots.HeatmapRow(label, maps, captions, top))
    return plots.heatmaps(shown, rows)


def confidences(
    shown: Mapping[str, Evaluation], rows: Mapping[str, tuple[str, Confidence]]
) -> figure.Figure:
    """Draws SSOD's Fig. 6: distributions of confidence, a row per network.

    Args:
      shown: Evaluations by label.
      rows: Detector to show and function from its scores to confidences, by label.
    """
    sets = list(next(iter(shown.values())).ood_scores)
    size = (_width(len(sets)), 2.1 * len(shown) + 0.2)
    fig = figure.Figure(figsize=size, layout="constrained")
    axes = fig.subplots(len(shown), len(sets), squeeze=False, sharex=True)
    edges = np.linspace(0, 1, 41)
    for (label, evaluation), row in zip(shown.items(), axes, strict=True):
        name, confidence = rows[label]
        inside = confidence(evaluation.id_scores[name])
        for ood, axis in zip(sets, row, strict=True):
            outside = confidence(evaluation.ood_scores[ood][name])
            for values, colour, what in (
                (inside, figures.INSIDE, "ID"),
                (outside, figures.OUTSIDE, "OOD"),
            ):
                style = {"color": colour, "alpha": 0.5, "label": what}
                axis.hist(values, edges, density=True, **style)
            axis.set(yticks=[], xlim=(0, 1))
            axis.set_title(ood.replace("_", " "), fontsize=9)
            axis.spines[["top", "right", "left"]].set_visible(False)
        row[0].set_ylabel(f"{label}\n{name}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    figures.legend_below(fig, axes[0, 0].get_legend_handles_labels()[0])
    return fig


def locality(benchmark: Benchmark, networks: Networks) -> figure.Figure:
    """Draws SSOD's Fig. 2 (a) and (b): where the true class is found with over 40 %."""

    def confident(p: jax.Array) -> Patches:
        return Patches(inside=p > CONFIDENT, outside=jnp.zeros(p.shape, bool))

    tints = {"inside": (_OBJECT, f"true class over {CONFIDENT:.0%}")}
    return _tinted(benchmark, networks, confident, tints)


def patches(
    benchmark: Benchmark, networks: Networks, sample: Callable[[jax.Array], Patches]
) -> figure.Figure:
    """Draws SSOD's Fig. 2 (c) and (d): the patches that a network samples.

    Blue ones teach the OOD head what is ID, orange ones what is background; the
    others are ignored. Shown are the first ID test images of different classes.
    `sample` maps probabilities of the true class [B, HW] to patches.
    """
    tints = {"inside": (_OBJECT, "ID"), "outside": (_BACKGROUND, "background")}
    return _tinted(benchmark, networks, sample, tints)


def _tinted(
    benchmark: Benchmark,
    networks: Networks,
    sample: Callable[[jax.Array], Patches],
    tints: Mapping[str, tuple[str, str]],
) -> figure.Figure:
    """Images with some kinds of their patches tinted: colour and name by kind."""
    one = next(iter(networks.values()))
    classes = min(IMAGES_SHOWN, len(benchmark.class_names))
    images, labels = heatmaps.first_of_classes(benchmark.id_test, classes)

    @jax.jit
    def sampled(variables: Any) -> tuple[dict[str, jax.Array], jax.Array]:
        outputs, shape = _look(one, variables, images, labels)
        p = probability(outputs)
        by_kind = sample(p)._asdict()
        return {kind: by_kind[kind].reshape(shape) for kind in tints}, p.reshape(shape)

    side = figures.WIDTH / IMAGES_SHOWN
    size = (side * len(images), (side + 0.15) * len(networks) + 0.1)
    fig = figure.Figure(figsize=size, layout="constrained")
    axes = fig.subplots(len(networks), len(images), squeeze=False)
    for row, (label, network) in zip(axes, networks.items(), strict=True):
        masks, p = jax.device_get(sampled(network.variables))
        for column, axis in enumerate(row):
            drawn = {"extent": (0, 1, 1, 0), "interpolation": "nearest"}
            axis.imshow(images[column], **drawn, **plots.PIXELS)
            for kind, (colour, _) in tints.items():
                _tint(axis, masks[kind][column], colour)
            axis.set_title(f"largest p {p[column].max():.2f}", fontsize=9, pad=3)
        row[0].set_ylabel(label, fontsize=11)
    figures.bare(axes)
    handles = [shapes.Patch(color=c, alpha=0.5, label=n) for c, n in tints.values()]
    figures.legend_below(fig, handles=handles)
    return fig


def _tint(axis: Any, mask: np.ndarray, colour: str) -> None:
    """Lays a translucent colour over the locations of a mask [h, w]."""
    layer = np.zeros((*mask.shape, 4))
    layer[mask] = (*colors.to_rgb(colour), 0.5)
    axis.imshow(layer, extent=(0, 1, 1, 0), interpolation="nearest")


def _look(
    network: Detector, variables: Any, images: Any, labels: Any = None
) -> tuple[Any, tuple[int, ...]]:
    """A pass in evaluation mode, and the shape [B, h, w] of its last map."""
    images = jnp.asarray(images)
    if network.preprocessing is not None:
        images = network.preprocessing(images)
    labels = jnp.zeros(len(images), jnp.int32) if labels is None else labels
    outputs, _ = look(
        network.model, variables, images, jnp.asarray(labels), train=False
    )
    last = outputs.acts.stages[max(outputs.acts.stages)]
    return outputs, last.shape[:3]
