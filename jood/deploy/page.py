"""The page of a scoring job: what was called OOD, and the images behind it."""

from collections.abc import Mapping
import pathlib
import textwrap
from typing import Any

from jood.data.inputs import Inputs
from jood.deploy import cards as cards_lib
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
    titles: Mapping[str, str],
) -> str:
    """Returns the page of a results folder that holds all but the page already.

    Args:
      folder: with the pictures.
      table: the CSV file of all scores.
      inputs: the images, of which a few are read again for their thumbnails.
      summary: what `summary.json` says.
      titles: of detectors by name, where it is not the name.
    """
    detectors = list(summary["called_ood"])
    sections = [
        page.Section("Detectors", [_overview(summary, titles)] if detectors else [])
    ]
    for stem, (title, caption) in _PICTURES.items():
        path = folder / f"{stem}.png"
        blocks = [page.PictureBlock.read(path, caption)] if path.exists() else []
        sections.append(page.Section(title, blocks))
    cards: list[page.Block] = []
    for name in detectors:
        images = summary["promises"][name]["images"]
        own = "" if len(detectors) == 1 else name
        cards += cards_lib.build(name, own, table, inputs, images)
    if cards:
        alpha = f"{1 - summary['tpr']:.4g}"
        within = cards_lib.folder(inputs.names)
        text = (
            "Pictures are shown as the network takes them. The p-value is about the "
            f"share of ID images with a score as low; it is at most {alpha} where an "
            "image is called OOD."
        ) + (f" Names are those in {within[:-1]}." if within else "")
        sections.append(page.Section("Images", [page.Text(text), *cards]))
    sections.append(page.Section("What could not be read", _failures(table)))
    about = [
        page.Facts("Detector", {key: summary[key] for key in ("spec", "network")}),
        page.Facts("Configuration", summary["configuration"]),
        page.Facts("Versions", summary["versions"]),
    ]
    sections.append(page.Section("How it was run", about))
    return page.render("Scores of images", "\n".join(_lead(summary)), sections)


def _lead(summary: Mapping[str, Any]) -> list[str]:
    """The answer first, then who gives it, then what the words mean."""
    scored = summary["images"] - summary["failed"]
    counted = f"{_images(scored)} {'is' if scored == 1 else 'are'} scored"
    failed = f" {summary['failed']:,} could not be read." if summary["failed"] else ""
    answers = {
        name: _answer(share, scored, summary["promises"][name]["upper"])
        for name, share in summary["called_ood"].items()
    }
    if len(answers) == 1:
        (answer,) = answers.values()
        lines = [f"{counted}: {answer}.{failed}"]
    else:
        lines = [f"{counted}.{failed}"]
        lines += [f"{name}: {answer}." for name, answer in answers.items()]
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
    """What was found, beside what would be found among ID images."""
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
        upper = 100 * summary["promises"][name]["upper"]
        rows.append(
            [
                page.Cell(titles.get(name, name)),
                _number(summary["thresholds"][name]),
                _number(100 * share),
                _number(upper),
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


def _number(value: float) -> page.Cell:
    return page.Cell(f"{value:.4g}", value)


def _failures(table: pathlib.Path) -> list[page.Block]:
    errors = table_lib.read_column(table, table_lib.ERROR)
    paths = table_lib.read_column(table, table_lib.PATH)
    failed = [pair for pair in zip(paths, errors, strict=True) if pair[1]]
    if not failed:
        return []
    more = f"The first {LISTED} of {len(failed):,}." if len(failed) > LISTED else ""
    rows = [[page.Cell(path), page.Cell(error)] for path, error in failed[:LISTED]]
    return [page.Grid([page.GridColumn("image"), page.GridColumn("why")], rows, more)]
