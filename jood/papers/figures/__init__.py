"""The papers' figures: those that jood draws, and why others are not.

    from jood.papers import figures
    figures.figure("himplos", "5").draw(inputs)

`launch/reproduce.py --figure` draws one of the networks and data at hand. A new figure
is an entry in its paper's file.
"""

from jood._utils import unknown_name
from jood.papers.figures import feature_sim
from jood.papers.figures import himplos
from jood.papers.figures import lff
from jood.papers.figures import ssod
from jood.papers.figures.figure_inputs import FigureInputs as FigureInputs
from jood.papers.figures.paper_figure import PaperFigure as PaperFigure

_OF = {
    "feature_sim": feature_sim.FIGURES,
    "himplos": himplos.FIGURES,
    "lff": lff.FIGURES,
    "ssod": ssod.FIGURES,
}


def of_paper(paper: str) -> dict[str, PaperFigure]:
    """Returns a paper's figures by number; ValueError if it is none of the four."""
    if paper not in _OF:
        raise unknown_name.unknown("paper", paper, _OF)
    return {one.number: one for one in _OF[paper]}


def figure(paper: str, number: str) -> PaperFigure:
    """Returns a figure that jood draws.

    Raises:
      ValueError: There is none of that number, and those there are are listed; or it
        is not drawn, and why.
    """
    known = of_paper(paper)
    if number not in known:
        raise ValueError(
            f"{paper} has no figure {number!r}; its figures: {', '.join(known)}."
        )
    paper_figure = known[number]
    if paper_figure.draw is None:
        raise ValueError(
            f"{paper}, Figure {number}, is not drawn: {paper_figure.instead}."
        )
    return paper_figure


def line(one: PaperFigure) -> str:
    """Returns a figure's line of the list."""
    state = f"{', '.join(one.benchmarks)}" if one.draw else f"not drawn: {one.instead}"
    return f"  {'F' + one.number:>3}  {one.title}\n       {state}"
