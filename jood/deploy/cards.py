"""The images behind the scores: lowest, highest, and around the threshold."""

from collections.abc import Sequence
import math
import os

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc

from jood.data.inputs import Inputs
from jood.deploy import table as table_lib
from jood.report.html import page
from jood.report.html import thumbnails

SHOWN = 12  # images of a kind
ALL = 3 * SHOWN  # up to this number all are shown


def build(
    name: str, title: str, rows: pa.Table, inputs: Inputs, images: int
) -> list[page.Block]:
    """Returns the cards of a detector.

    Args:
      name: The detector's name in the table.
      title: Text that the headings begin with, or ''.
      rows: The table of all scores.
      inputs: The images, a few of which are read again for their thumbnails.
      images: The number of calibration images, which p-values resolve.
    """
    scores, called, p_values = (
        rows[table_lib.column(name, what)] for what in ("score", "is_ood", "p_value")
    )
    lowest = np.argsort(scores.to_numpy(), kind="stable")  # unreadable ones come last
    lowest = lowest[: len(scores) - scores.null_count]
    if not len(lowest):
        return []
    within = folder(rows[table_lib.PATH].to_pylist())
    digits = _decimals(float(np.ptp(scores.drop_null().to_numpy())))

    def card(place: int) -> page.Card:
        side = "OOD" if called[place].as_py() else "ID"
        lines = [
            f"score {scores[place].as_py():.{digits}f}, {side}",
            f"p-value {p_values[place].as_py():.{len(str(images)) + 1}f}",
            f"class: {rows[table_lib.CLASS][place]}",
            rows[table_lib.PATH][place].as_py().removeprefix(within),
        ]
        picture = thumbnails.of_image(np.asarray(inputs.source[place]["image"]))
        return page.Card([(picture, "")], lines)

    below = pc.sum(called).as_py()
    return [
        page.Cards(
            f"{title}: {what}" if title else what[0].upper() + what[1:],
            [card(int(place)) for place in some],
        )
        for what, some in _choose(lowest, below).items()
    ]


def folder(paths: Sequence[str]) -> str:
    """Returns the folder, with a '/', that all images lie in; cards omit it."""
    # RUF071 wants `commonpath`, which refuses absolute beside relative names, as lists
    # mix them; so the names are compared as texts.
    common = os.path.commonprefix(paths)  # noqa: RUF071
    return common[: common.rfind("/") + 1]


def _choose(lowest: np.ndarray, below: int) -> dict[str, np.ndarray]:
    """Places of the images to show, by heading, none twice.

    Args:
      lowest: The places of all scored images, from the lowest score.
      below: Number of them that are below the threshold.
    """
    if len(lowest) <= ALL:
        return {"all images, lowest score first": lowest}
    count = len(lowest)
    start = min(max(below - SHOWN // 2, SHOWN), count - 2 * SHOWN)
    return {
        "lowest scores": lowest[:SHOWN],
        "nearest to the threshold among the others": lowest[start : start + SHOWN],
        "highest scores": lowest[::-1][:SHOWN],
    }


def _decimals(spread: float) -> int:
    """Decimals that show four digits of differences as large as the spread."""
    if not spread:
        return 3
    return min(max(3 - math.floor(math.log10(spread)), 0), 9)
