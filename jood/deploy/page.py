"""The page of a scoring job: what was called OOD, and the images behind it."""

from collections.abc import Mapping
import pathlib
import textwrap
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc

from jood.data.inputs import Inputs
from jood.deploy import cards as cards_lib
from jood.deploy import plots
from jood.deploy import table as table_lib
from jood.detector.calibration import CONFIDENCE
from jood.report.html import page

LISTED = 500  # bad files; all are in the table
_PICTURES = {
    "histograms": (
        "Scores",
        "Scores of these images beside those of the calibration images. What lies left "
        "of the dashed threshold is called OOD. The lowest and the highest 0.2 % are "
        "counted at the edges; fewer than 20 images are marks.",
    ),
    "timeline": (
        "In the order of the images",
        "Each point is the median score of a window of images, in the order in which "
        "they were given (a folder is sorted by path, not by time), with 5 to "
        "95 % of them, on the band of the calibration scores; below it, the share that "
        "is called OOD. A marked window differs from the calibration images by more "
        "than chance allows.",
    ),
}


def build(
    folder: pathlib.Path,
    rows: pa.Table,
    inputs: Inputs,
    summary: Mapping[str, Any],
    titles: Mapping[str, str],
) -> str:
    """Returns the page of a results folder that holds all but the page already.

    Args:
      folder: The folder with the pictures.
      rows: The table of all scores.
      inputs: The images, a few of which are read again for their thumbnails.
      summary: Content of `summary.json`.
      titles: Titles of detectors by name, where they differ from the name.
    """
    detectors = list(summary["called_ood"])
    images = rows[: len(inputs.names)]  # without archives that are broken
    cards: list[page.Block] = []
    for name in detectors:
        title = "" if len(detectors) == 1 else name
        resolved = summary["promises"][name]["images"]
        blocks = cards_lib.build(name, title, images, inputs, resolved)
        # Of several detectors the first is shown at once: the page stays short.
        folded = [page.Folded(f"Images by the scores of {name}", blocks)]
        cards += folded if cards and blocks else blocks
    if cards:
        within = cards_lib.folder(images[table_lib.PATH].to_pylist())
        text = (
            "Pictures are shown as the network takes them. The p-value is about the "
            "share of ID images with a score as low; it is at most "
            f"{1 - summary['tpr']:.4g} where an image is called OOD."
        ) + (f" Names are those in {within[:-1]}." if within else "")
        cards.insert(0, page.Text(text))
    about = [
        page.Facts("Detector", {key: summary[key] for key in ("spec", "network")}),
        page.Facts("Configuration", summary["configuration"]),
        page.Facts("Versions", summary["versions"]),
    ]
    sections = [
        page.Section("Detectors", [_overview(summary, titles)] if detectors else []),
        *(
            page.Section(title, [page.PictureBlock.read(path, caption)])
            for stem, (title, caption) in _PICTURES.items()
            if (path := folder / f"{stem}.png").exists()
        ),
        page.Section("Images", cards),
        page.Section("What could not be read", _failures(rows)),
        page.Section("How it was run", about),
    ]
    return page.render("Scores of images", "\n".join(_lead(summary)), sections)


def _lead(summary: Mapping[str, Any]) -> list[str]:
    """The result first, then the detector, then the meaning of the words."""
    scored = summary["images"] - summary["failed"]
    counted = f"{_images(scored)} {'is' if scored == 1 else 'are'} scored"
    failed = f" {summary['failed']:,} could not be read." if summary["failed"] else ""
    answers = [
        (name, _answer(share, scored, summary["promises"][name]["upper"]))
        for name, share in summary["called_ood"].items()
    ]
    if len(answers) == 1:
        lines = [f"{counted}: {answers[0][1]}.{failed}"]
    else:
        lines = [f"{counted}.{failed}", *(f"{n}: {answer}." for n, answer in answers)]
    images = next(iter(summary["promises"].values()))["images"]
    return [
        *lines,
        f"Detector: {textwrap.shorten(summary['spec'], 300)} on a "
        f"{summary['network']}, TPR {100 * summary['tpr']:.4g} %, "
        f"calibrated on {_images(images)}.",
        "Scores: higher means more in-distribution (ID); below the threshold an image "
        "is called out-of-distribution (OOD).",
    ]


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _answer(share: float, scored: int, upper: float) -> str:
    """The share called OOD, beside the share expected among ID images."""
    most = f"at most {100 * upper:.1f} %"
    sure = f"({100 * CONFIDENCE:.0f} % confidence)"
    if scored == 1:
        side = "OOD" if share else "ID"
        return f"it is called {side}; of ID images, {most} are called OOD {sure}"
    count = round(share * scored)
    verb = "is" if count == 1 else "are"
    return (
        f"{count:,} ({100 * share:.1f} %) {verb} called OOD; if all were ID it would "
        f"be {most} in the long run {sure}"
    )


def _overview(summary: Mapping[str, Any], titles: Mapping[str, str]) -> page.Grid:
    columns = [
        page.GridColumn("detector"),
        page.GridColumn("threshold"),
        page.GridColumn("called OOD, %", descending=True),
        page.GridColumn("false alarms, at most, %"),
        page.GridColumn("windows drifted", descending=True),
    ]
    rows, few = [], ""
    for name, share in summary["called_ood"].items():
        windows = summary["drift"][name]
        drifted = sum(window["drifted"] for window in windows)
        lines = plots.outermost(summary["thresholds"][name])
        numbers = (100 * share, 100 * summary["promises"][name]["upper"])
        rows.append(
            [
                page.Cell(titles.get(name, name)),
                page.Cell(" to ".join(f"{line:.4g}" for line in lines), lines[0]),
                *(page.Cell(f"{number:.4g}", number) for number in numbers),
                page.Cell(f"{drifted} of {len(windows):,}", drifted),
            ]
        )
        if sum(window["images"] for window in windows) < summary["window"]:
            few = f" Fewer images than --window={summary['window']}: one window."
    return page.Grid(
        columns,
        rows,
        "If all images were ID like those of the calibration, at most this share would "
        f"be called OOD in the long run ({100 * CONFIDENCE:.0f} % confidence). A "
        "clearly larger share called OOD means that there are OOD images; of a few "
        f"images it can be larger by chance.{few}",
    )


def _failures(rows: pa.Table) -> list[page.Block]:
    failed = rows.filter(pc.field(table_lib.ERROR) != "")
    if not len(failed):
        return []
    more = f"The first {LISTED} of {len(failed):,}." if len(failed) > LISTED else ""
    cells = [
        [page.Cell(row[table_lib.PATH]), page.Cell(row[table_lib.ERROR])]
        for row in failed[:LISTED].to_pylist()
    ]
    return [page.Grid([page.GridColumn("image"), page.GridColumn("why")], cells, more)]
