"""A report as one HTML file: no network, no server, opened from a folder.

A page is a title, a lead and sections; a section is a list of blocks, each with its own
template:

    sections = [page.Section("Scores", [page.Text("..."), page.Grid(columns, rows)])]
    page.render("My scores", "1,200 images.", sections)

Pictures are embedded, styles and scripts are inline, and a content security policy
forbids the page to fetch anything. It follows the reader's light or dark setting.
"""

import base64
from collections.abc import Mapping, Sequence
import dataclasses
import functools
import itertools
import json
import math
import os
import pathlib
import re
from typing import Any, ClassVar, NamedTuple

import jinja2

from jood._utils import unicode_text

FILE = "report.html"  # of a page beside the files that it shows


class GridColumn(NamedTuple):
    """A column of a grid.

    Attributes:
      title: the button that sorts by it.
      group: a heading over neighbouring columns, or ''.
      descending: whether the first click brings the highest values to the top.
    """

    title: str
    group: str = ""
    descending: bool = False


class Cell(NamedTuple):
    """A cell of a grid.

    Attributes:
      text: text that is shown.
      value: number that the column is sorted by; None for the text. NaN comes last.
      mark: 'best' (bold), 'second' (underlined), how far it is from another number
        ('near', 'off', 'far': its colour) or ''.
    """

    text: str
    value: float | None = None
    mark: str = ""

    @property
    def key(self) -> str:
        """The value as the page's script reads it."""
        if self.value is None:
            return self.text
        return repr(float(self.value)) if math.isfinite(self.value) else ""


@dataclasses.dataclass(frozen=True)
class Text:
    """Paragraphs, separated by empty lines."""

    template: ClassVar[str] = "text.html"
    text: str

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table whose rows can be filtered and whose columns sort it.

    Attributes:
      columns: the first is that of the rows' names.
      rows: rows of as many cells.
      caption: sentence that says what it shows.
    """

    template: ClassVar[str] = "grid.html"
    columns: Sequence[GridColumn]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        wrong = {len(row) for row in self.rows} - {len(self.columns)}
        if wrong:
            needed = f"{len(self.columns)} cells, one per column"
            raise ValueError(f"each row needs {needed}, got {sorted(wrong)}.")

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The headings over the columns, and how many columns each spans."""
        # Columns without a group stand alone: each has a key of its own.
        keys = [column.group or i for i, column in enumerate(self.columns)]
        runs = [(key, len(list(run))) for key, run in itertools.groupby(keys)]
        return [(key if isinstance(key, str) else "", count) for key, count in runs]


@dataclasses.dataclass(frozen=True)
class PictureBlock:
    """A picture with a caption.

    Attributes:
      png: the file's bytes.
      caption: sentence that says what it shows.
      stem: name of the files with the same picture beside the page, without suffix.
      width: width in CSS pixels at which it is sharp and can be read.
    """

    template: ClassVar[str] = "picture.html"
    png: bytes
    caption: str
    stem: str = ""
    width: int = 900

    @classmethod
    def read(cls, path: str | os.PathLike[str], caption: str) -> "PictureBlock":
        """Reads a PNG that lies beside the page; half of its pixels is its width."""
        path = pathlib.Path(path)
        png = path.read_bytes()
        width = int.from_bytes(png[16:20], "big")  # of PNG's first chunk, IHDR
        return cls(png, caption, path.stem, width // 2)

    @property
    def source(self) -> str:
        """The picture as an address."""
        return embedded(self.png)


@dataclasses.dataclass(frozen=True)
class Card:
    """Small pictures of one thing side by side, and lines about it.

    Attributes:
      pictures: (address, see `embedded`; what it is, '' if the text around says so).
      lines: the first is the title.
    """

    pictures: Sequence[tuple[str, str]]
    lines: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Cards:
    """Cards under a heading."""

    template: ClassVar[str] = "cards.html"
    title: str
    cards: Sequence[Card]

    @property
    def narrow(self) -> bool:
        """Whether no card has pictures side by side, so that more fit in a row."""
        return all(len(card.pictures) < 2 for card in self.cards)


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names and values, such as a configuration; values are JSON's."""

    template: ClassVar[str] = "facts.html"
    title: str
    facts: Mapping[str, Any]

    @property
    def items(self) -> list[tuple[str, str]]:
        """Names and the values as text."""
        facts = self.facts.items()
        return [(n, v if isinstance(v, str) else json.dumps(v)) for n, v in facts]


@dataclasses.dataclass(frozen=True)
class Folded:
    """Blocks under a title that are hidden until it is clicked on."""

    template: ClassVar[str] = "folded.html"
    title: str
    blocks: Sequence["Block"]


Block = Text | Grid | PictureBlock | Cards | Facts | Folded


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The section's address on the page."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def embedded(image: bytes, kind: str = "png") -> str:
    """Returns the bytes of a 'png' or 'jpeg' file as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def render(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Returns a page as one HTML file: the lead is lines below the title.

    Sections without blocks are skipped. The text can be encoded, whatever the names of
    the files in it.
    """
    template = _templates().get_template("page.html")
    filled = [section for section in sections if section.blocks]
    text = template.render(title=title, lead=lead.splitlines(), sections=filled)
    return unicode_text.encodable(text)


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("jood", "report/html/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
