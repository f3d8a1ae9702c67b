"""The page of a results folder: what was measured, how it looks, how it was run."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from jood.evaluation.selection import Selection
from jood.report.benchmark import results_grid
from jood.report.benchmark.tables import Table
from jood.report.html import page

# Section and caption of a picture, by the stem of its file.
_PICTURES: dict[str, tuple[str, str]] = {
    "histograms": (
        "Score distributions",
        "Scores of the ID test set (grey) and of each OOD set (lines), a panel per "
        "detector, each drawn to the same height. The dashed line is the threshold "
        "that keeps 95 % of the ID images: what lies right of it is taken for ID.",
    ),
    "distributions": (
        "Score distributions",
        "One detector's scores of ID images and of those of each OOD set, as shares. "
        "Where the two overlap, no threshold tells them apart; the dashed line is the "
        "one that keeps 95 % of the ID images.",
    ),
    "roc": (
        "ROC curves",
        "The share of ID images that are accepted against the share of OOD images "
        "that are, for every threshold, a panel per OOD set. The dashed line is where "
        "FPR95 is read; the further a curve is to the upper left, the better.",
    ),
    "heatmaps": (
        "What the network looks at",
        "The last feature map, summed over channels, of images that were not picked "
        "by their score: without and with Threshold Activation, all on one colour "
        "scale. FS is the Feature Sim score: how much the map stands out from its "
        "mean.",
    ),
    "tsne": (
        "Where features lie",
        "t-SNE of the penultimate features of up to 600 ID test images (dots, one "
        "colour a class where there are at most ten) and 200 images of each OOD set "
        "(black crosses), embedded together. It keeps who is near whom, not distances: "
        "crosses among the dots are images that resemble ID images to the network.",
    ),
    "intensities": (
        "Intensities of the last map",
        "How strong the last feature map is, averaged over channels, at each location "
        "of the same images (grey), and the mixture of a background and a foreground "
        "that is fitted to it. 'apart' is the distance of their means: Feature Sim "
        "rests on it being larger in ID images.",
    ),
}


def build(
    folder: pathlib.Path,
    *,
    name: str,
    table: Table,
    heading: str,
    detectors: Mapping[str, str],
    configuration: Mapping[str, Any],
    versions: Mapping[str, str],
    curves: Mapping[str, Selection],
    sections: Sequence[page.Section] = (),
) -> str:
    """Returns the page of a folder that holds all but the page already.

    Args:
      folder: with the pictures.
      name: of the benchmark.
      table: the numbers.
      heading: how they were made.
      detectors: texts by row name.
      configuration: what is needed to run this again, JSON values.
      versions: of the packages.
      curves: selections by row name.
      sections: what else is to be shown, after the pictures.
    """
    about = [
        page.Facts("Configuration", configuration),
        page.Facts("Versions", versions),
    ]
    if table.absent:
        about.append(page.Facts("Sets that are absent", table.absent))
    if table.incomplete:
        about.append(page.Facts("Sets that are not whole", table.incomplete))
    skipped = {name: "; ".join(images) for name, images in table.skipped.items()}
    if skipped:
        about.append(page.Facts("Images that cannot be read", skipped))
    results: list[page.Block] = [results_grid.grid(table)]
    if len(table.values) > 1:
        several = f"Pictures are of the first of {len(table.values)} networks."
        results.append(page.Text(several))
    every = [
        page.Section("Results", results),
        *_picture_sections(folder),
        *sections,
        page.Section("Chosen on noise", [_selection(n, c) for n, c in curves.items()]),
        page.Section("Detectors", [results_grid.texts_grid(detectors)]),
        page.Section("How it was run", about),
    ]
    title = f"Out-of-distribution detection on {name}"
    return page.render(title, heading, every)


def _picture_sections(folder: pathlib.Path) -> list[page.Section]:
    """The sections of the pictures that were drawn."""
    sections: dict[str, list[page.Block]] = {}
    for stem, (title, caption) in _PICTURES.items():
        if (folder / f"{stem}.png").exists():
            picture = page.Picture.read(folder / f"{stem}.png", caption)
            sections.setdefault(title, []).append(picture)
    return [page.Section(title, pictures) for title, pictures in sections.items()]


def _selection(name: str, curve: Selection) -> page.Grid:
    """The curve of a selection as a grid."""
    rows = curve.rows()
    columns = [page.Column(title) for title in rows[0]]
    return page.Grid(columns, [_cells(row) for row in rows], f"{name}: {curve.method}")


def _cells(row: Mapping[str, Any]) -> Sequence[page.Cell]:
    return [
        page.Cell(f"{value:.5g}", value)
        if isinstance(value, float)
        else page.Cell(str(value))
        for value in row.values()
    ]
