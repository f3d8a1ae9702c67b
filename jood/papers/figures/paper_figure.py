"""A figure of a paper: how jood draws it, or why it does not."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from matplotlib import figure

from jood.papers.figures.figure_inputs import FigureInputs


class PaperFigure(NamedTuple):
    """A figure.

    Attributes:
      number: Number in the paper.
      title: Subject of the figure.
      caption: Explanation, with differences from the paper's; '' if it is not drawn.
      benchmarks: Names of the paper's benchmarks, the first for its usual one.
      draw: Inputs of a figure -> pictures by stem; None if it is not drawn.
      instead: Reason why it is not drawn here, or the job that draws it.
    """

    number: str
    title: str
    caption: str = ""
    benchmarks: tuple[str, ...] = ()
    draw: Callable[[FigureInputs], Mapping[str, figure.Figure]] | None = None
    instead: str = ""


def diagram(number: str, title: str) -> PaperFigure:
    """Returns a figure that shows no data."""
    return PaperFigure(number, title, instead="it is a diagram, not of data")
