"""Pictures of a results folder: what is drawn, and how the page explains it."""

from collections.abc import Callable, Iterable
import pathlib
from typing import Any, NamedTuple

from matplotlib import figure

from jood.report import figures
from jood.report.html import page


class Picture(NamedTuple):
    """A picture of results.

    Attributes:
      stem: name of its files, without suffix.
      title: the section of the page that it stands in; pictures may share one.
      caption: sentences that say what it shows; or a function of the results.
      draw: results -> the figure, or None where these results have no such picture.
    """

    stem: str
    title: str
    caption: str | Callable[[Any], str]
    draw: Callable[[Any], figure.Figure | None]


def save(
    folder: pathlib.Path, pictures: Iterable[Picture], results: Any
) -> list[page.Section]:
    """Draws pictures, writes each as PNG and PDF, and returns their sections."""
    sections: dict[str, list[page.Block]] = {}
    for picture in pictures:
        drawn = picture.draw(results)
        if drawn is None:
            continue
        figures.save_pictures(folder, {picture.stem: drawn})
        caption = picture.caption
        text = caption if isinstance(caption, str) else caption(results)
        block = page.PictureBlock.read(folder / f"{picture.stem}.png", text)
        sections.setdefault(picture.title, []).append(block)
    return [page.Section(title, blocks) for title, blocks in sections.items()]
