"""Pictures of sweeps: AUROC and ID accuracy against a value."""

from typing import Any

from matplotlib import figure
import numpy as np

from jood.evaluation.hyperparameter_curves import Curve
from jood.report import figures


def draw(curve: Curve) -> figure.Figure:
    """Draws the mean AUROC of each row, that of each set, and the ID accuracy.

    The dotted line is the paper's value for the benchmark and network, if it has one.
    """
    sweep = curve.sweep
    fig, axes = figures.grid(2 + (curve.accuracy is not None), 3.2)

    def line(axis: Any, fractions: Any, label: str, **style: Any) -> None:
        percents = 100 * np.asarray(fractions)
        style = {"marker": "o", "markersize": 3.5, **style}
        axis.plot(sweep.values, percents, label=label, **style)

    for row, style in figures.styled(curve.auroc):
        line(axes[0], curve.mean("auroc", row), row, **style)
    axes[0].set(title="mean over the OOD sets", ylabel="AUROC in %")
    first = next(iter(curve.auroc))
    for name, style in figures.styled_by_place(curve.auroc[first]):
        line(axes[1], curve.auroc[first][name], name, **style)
    axes[1].set(title=f"{first}, each OOD set", ylabel="AUROC in %")
    if curve.accuracy is not None:
        line(axes[2], curve.accuracy, "", color="black", linestyle="-")
        axes[2].set(title="ID task", ylabel="accuracy in %")
    for axis in axes:
        axis.set_xlabel(sweep.symbol)
        if sweep.usual is not None:
            axis.axvline(sweep.usual, color=figures.GREY, linestyle=":", linewidth=1)
        numbers = [value for value in sweep.values if not isinstance(value, str)]
        if numbers and min(numbers) > 0 and max(numbers) > 100 * min(numbers):
            axis.set_xscale("log")
        axis.set_ylim(top=min(axis.get_ylim()[1], 100.5))  # no axis goes to 102 %
        axis.grid(axis="y", color="#E5E5E5", linewidth=0.6)
    figures.legends_under(axes[:2])
    return fig
