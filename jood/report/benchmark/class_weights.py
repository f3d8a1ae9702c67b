"""HIMPLoS's Fig. 2: a class's weights in the head against activations of ID and OOD."""

from collections.abc import Mapping
import textwrap
from typing import NamedTuple

from matplotlib import figure
import numpy as np

from jood.report import figures


class ClassActivations(NamedTuple):
    """What the figure shows of one class and one OOD set.

    Attributes:
      title: The class and the set, for the panel's head.
      weights: float [D], the head's for the class.
      inside: float [D], the mean feature of ID images of the class.
      outside: float [D], the mean feature of OOD images that are predicted as it.
    """

    title: str
    weights: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    def correlations(self) -> tuple[float, float]:
        """Returns Pearson's, of the weights with ID's and with OOD's activations."""
        sides = (self.inside, self.outside)
        inside, outside = (float(np.corrcoef(self.weights, x)[0, 1]) for x in sides)
        return inside, outside


def most_predicted(
    kernel: np.ndarray,
    inside: tuple[np.ndarray, np.ndarray],
    outside: Mapping[str, tuple[np.ndarray, np.ndarray]],
    class_names: tuple[str, ...],
) -> list[ClassActivations]:
    """Returns the class that most OOD images are predicted as, by OOD set.

    Args:
      kernel: float [D, K], the head's weights.
      inside: Features [N, D] of ID images and their labels [N].
      outside: Likewise features and predictions, by OOD set.
      class_names: One per class; () numbers them.
    """
    panels = []
    features, labels = inside
    for name, (ood, predictions) in outside.items():
        known = np.isin(predictions, labels)  # of the classes that the ID images show
        if not known.any():
            continue
        k = int(np.bincount(predictions[known]).argmax())
        what = class_names[k] if class_names else f"class {k}"
        count = int((predictions == k).sum())
        title = f"'{what}': {count} images of {name.replace('_', ' ')} taken for it"
        means = features[labels == k].mean(0), ood[predictions == k].mean(0)
        panels.append(ClassActivations(title, kernel[:, k], *means))
    return panels


def draw(panels: list[ClassActivations]) -> figure.Figure:
    """Draws a panel per OOD set; channels are sorted by the class's weight.

    Blue bars are the mean activation of ID images of the class, orange ones that of
    OOD images that are predicted as it, and the black curve is the weight.
    """
    fig, axes = figures.grid(len(panels), 3.4)
    for axis, panel in zip(axes, panels, strict=True):
        order = np.argsort(-panel.weights, kind="stable")
        channels = np.arange(len(order) + 1)
        correlations = dict(zip(("ID", "OOD"), panel.correlations(), strict=True))
        sides = {
            "ID": (panel.inside, figures.INSIDE),
            "OOD": (panel.outside, figures.OUTSIDE),
        }
        for what, (values, colour) in sides.items():
            label = f"{what} activation, r = {correlations[what]:.2f}"
            style = {"color": colour, "alpha": 0.55, "label": label}
            axis.stairs(values[order], channels, fill=True, **style)
        axis.set(xlabel="channels, by weight", ylabel="mean activation")
        axis.set_title("\n".join(textwrap.wrap(panel.title, 50)), fontsize=10)
        other = axis.twinx()
        other.spines["top"].set_visible(False)
        other.plot(channels[:-1] + 0.5, panel.weights[order], color="black")
        other.set_ylabel("weight (black)")
    figures.legends_under(axes)
    return fig
