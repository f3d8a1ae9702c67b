"""The images behind the scores: lowest, highest, and around the threshold."""

from collections.abc import Sequence
import math
import os
import pathlib

import numpy as np

from jood.data.inputs import Inputs
from jood.deploy import table as table_lib
from jood.report.html import page
from jood.report.html import thumbnails

SHOWN = 12  # images of a kind
ALL = 3 * SHOWN  # up to so many are all shown


def build(
    name: str, title: str, table: pathlib.Path, inputs: Inputs, images: int
) -> list[page.Block]:
    """Returns the cards of a detector.

    Args:
      name: of the detector in the table.
      title: begins the headings, or ''.
      table: the CSV file of all scores.
      inputs: the images, of which a few are read again for their thumbnails.
      images: how many the detector was calibrated on, which p-values resolve.
    """

    def column(what: str) -> list[str]:
        return table_lib.read_column(table, table_lib.column(name, what))

    scores = np.array([text or "nan" for text in column("score")], np.float32)
    called, p_values = column("is_ood"), column("p_value")
    classes = table_lib.read_column(table, table_lib.CLASS)
    places = np.argsort(scores, kind="stable")  # NaN, of unreadable ones, comes last
    places = places[: np.isfinite(scores).sum()]
    if not len(places):
        return []
    within = folder(inputs.names)
    digits = _decimals(float(np.ptp(scores[places])))

    def card(place: int) -> page.Card:
        side = "OOD" if called[place] == "true" else "ID"
        lines = [
            f"score {scores[place]:.{digits}f}, {side}",
            f"p-value {float(p_values[place]):.{len(str(images)) + 1}f}",
            f"class: {classes[place]}",
            inputs.names[place].removeprefix(within),
        ]
        picture = thumbnails.of_image(np.asarray(inputs.source[place]["image"]))
        return page.Card([(picture, "")], lines)

    below = sum(called[place] == "true" for place in places)
    return [
        page.Cards(_heading(title, what), [card(int(place)) for place in some])
        for what, some in _choose(places, below).items()
    ]


def folder(names: Sequence[str]) -> str:
    """Returns the folder, with a '/', that all images lie in; cards leave it out."""
    # As texts: `commonpath` refuses absolute beside relative names, which lists mix.
    common = os.path.commonprefix(names)  # noqa: RUF071
    return common[: common.rfind("/") + 1]


def _choose(places: np.ndarray, below: int) -> dict[str, np.ndarray]:
    """Places of the images to show, by heading.

    Args:
      places: of all images that were scored, from the lowest score.
      below: how many of them are below the threshold.
    """
    if len(places) <= ALL:
        return {"all images, lowest score first": places}
    half = SHOWN // 2
    return {
        "lowest scores": places[:SHOWN],
        "nearest to the threshold, below and above it": places[
            max(below - half, 0) : below + half
        ],
        "highest scores": places[::-1][:SHOWN],
    }


def _heading(title: str, what: str) -> str:
    return f"{title}: {what}" if title else what[0].upper() + what[1:]


def _decimals(spread: float) -> int:
    """Decimals that show four digits of differences as large as the spread."""
    if not spread:
        return 3
    return min(max(3 - math.floor(math.log10(spread)), 0), 9)
