"""The page of a scoring job: what was called OOD, and the images behind it."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

import numpy as np

from jood.data.image_inputs import Inputs
from jood.report import page
from jood.report import score_table
from jood.report import thumbnails

FILE = "report.html"
SHOWN = 12  # images at each end
LISTED = 500  # bad files; all are in the table
_PICTURES = {
    "histograms": (
        "Scores",
        "Scores of these images beside those of the calibration images. What lies left "
        "of the dashed threshold is called OOD.",
    ),
    "timeline": (
        "Over time",
        "Each point is the median score of a window of images, in their order, with 5 "
        "to 95 % of them, on the band of the calibration scores; below it, the share "
        "that is called OOD. A marked window differs from the calibration images by "
        "more than chance allows.",
    ),
}


def build(
    folder: pathlib.Path,
    table: pathlib.Path,
    inputs: Inputs,
    summary: Mapping[str, Any],
) -> str:
    """Returns the page of a results folder that holds all but the page already.

    Args:
      folder: with the pictures.
      table: the CSV file of all scores.
      inputs: the images, of which a few are read again for their thumbnails.
      summary: what `summary.json` says.
    """
    detectors = list(summary["called_ood"])
    scored = summary["images"] - summary["failed"]
    lead = (
        f"{scored:,} images are scored, {summary['failed']:,} could not be read.\n"
        "Scores: higher means more in-distribution (ID); below the threshold an image "
        "is called out-of-distribution (OOD)."
    )
    sections = [page.Section("Detectors", [_overview(summary)] if detectors else [])]
    for stem, (title, caption) in _PICTURES.items():
        path = folder / f"{stem}.png"
        blocks = [page.Picture.read(path, caption)] if path.exists() else []
        sections.append(page.Section(title, blocks))
    classes = score_table.read_column(table, score_table.CLASS)
    cards: list[page.Block] = []
    for name in detectors:
        cards += _extremes(name, table, classes, inputs)
    sections.append(page.Section("The images at both ends", cards))
    sections.append(page.Section("What could not be read", _failures(table)))
    about = [
        page.Facts("Configuration", summary["configuration"]),
        page.Facts("Versions", summary["versions"]),
    ]
    sections.append(page.Section("How it was run", about))
    return page.render("Scores of images", lead, sections)


def _overview(summary: Mapping[str, Any]) -> page.Grid:
    columns = [
        page.Column("detector"),
        page.Column("threshold"),
        page.Column("called OOD, %", descending=True),
        page.Column("of ID images at most, %"),
        page.Column("windows drifted", descending=True),
    ]
    rows = []
    for name, share in summary["called_ood"].items():
        windows = summary["drift"][name]
        drifted = sum(window["drifted"] for window in windows)
        upper = 100 * summary["promises"][name]["upper"]
        rows.append(
            [
                page.Cell(name),
                _number(summary["thresholds"][name]),
                _number(100 * share),
                _number(upper),
                page.Cell(f"{drifted} of {len(windows)}", drifted),
            ]
        )
    return page.Grid(
        columns,
        rows,
        "Of ID images, exchangeable with those of the calibration, at most so many are "
        "called OOD (95 % confidence); more means that there are OOD images.",
    )


def _number(value: float) -> page.Cell:
    return page.Cell(f"{value:.4g}", value)


def _extremes(
    name: str, table: pathlib.Path, classes: Sequence[str], inputs: Inputs
) -> list[page.Block]:
    """Cards of the images with the lowest and with the highest scores."""
    texts = score_table.read_column(table, score_table.column(name, "score"))
    scores = np.array([text or "nan" for text in texts], np.float32)
    places = np.argsort(scores, kind="stable")  # NaN, of unreadable ones, comes last
    places = places[: np.isfinite(scores).sum()]
    called = score_table.read_column(table, score_table.column(name, "is_ood"))
    named = "" if name == score_table.SINGLE else f"{name}: "

    def card(place: int) -> page.Card:
        side = ", OOD" if called[place] == "true" else ""
        lines = [f"score {scores[place]:.4g}{side}", f"class: {classes[place]}"]
        picture = thumbnails.of_image(np.asarray(inputs.source[place]["image"]))
        return page.Card([(picture, "as the network takes it")], [*lines, names[place]])

    names = inputs.names
    count = min(SHOWN, len(places) // 2)
    ends = {
        "the lowest scores": places[:count],
        "the highest scores": places[::-1][:count],
    }
    return [
        page.Cards(f"{named}{title}", [card(int(place)) for place in some])
        for title, some in ends.items()
        if len(some)
    ]


def _failures(table: pathlib.Path) -> list[page.Block]:
    errors = score_table.read_column(table, score_table.ERROR)
    paths = score_table.read_column(table, score_table.PATH)
    failed = [pair for pair in zip(paths, errors, strict=True) if pair[1]]
    if not failed:
        return []
    more = f"The first {LISTED} of {len(failed):,}." if len(failed) > LISTED else ""
    rows = [[page.Cell(path), page.Cell(error)] for path, error in failed[:LISTED]]
    return [page.Grid([page.Column("image"), page.Column("why")], rows, more)]
