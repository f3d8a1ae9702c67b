"""The page of launch/finetune.py: a network before and after fine-tuning."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

import numpy as np

from jood.report.benchmark import results_grid
from jood.report.benchmark.tables import Table
from jood.report.html import page

_PICTURES = {
    "norms": (
        "Feature norms",
        "Distributions of ‖h‖₂, the norm of the penultimate feature, of ID images and "
        "of each OOD set, before and after (LFF's Fig. 5).",
    ),
    "heatmaps": (
        "Where the network responds",
        "‖z_j‖₂ at each location of the last map, before and after (LFF's Fig. 7). "
        "Each row has its own colour scale.",
    ),
    "patches": (
        "Patches that are sampled",
        "Locations that the network takes for the object (green) and for background "
        "(red), before and after (SSOD's Fig. 2).",
    ),
}


def build(
    folder: pathlib.Path,
    *,
    label: str,
    name: str,
    table: Table,
    heading: str,
    ratios: Mapping[str, Sequence[Mapping[str, float]]],
    texts: Mapping[str, str],
    configuration: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """Returns the page of a folder that holds the pictures already.

    Args:
      folder: with the pictures.
      label: the objective's name, for the rows: 'LFF'.
      name: of the benchmark.
      table: detectors before and after.
      heading: how the numbers were made.
      ratios: mean ‖h‖₂ of OOD over ID, by 'before' and 'after', seed and set.
      texts: of the rows.
      configuration: what is needed to run this again, JSON values.
      versions: of the packages.
    """
    results = [results_grid.grid(table), _ratios(ratios)]
    drawn = [
        page.Section(title, [page.Picture.read(folder / f"{stem}.png", caption)])
        for stem, (title, caption) in _PICTURES.items()
        if (folder / f"{stem}.png").exists()
    ]
    about = [
        page.Facts("Configuration", configuration),
        page.Facts("Versions", versions),
    ]
    sections = [
        page.Section("Results", results),
        *drawn,
        page.Section("Detectors", [results_grid.texts_grid(texts)]),
        page.Section("How it was run", about),
    ]
    return page.render(f"{label} on {name}: before and after", heading, sections)


def _ratios(ratios: Mapping[str, Sequence[Mapping[str, float]]]) -> page.Grid:
    sets = list(ratios["before"][0])
    rows = [
        [page.Cell(when)] + [_mean([seed[ood] for seed in seeds]) for ood in sets]
        for when, seeds in ratios.items()
    ]
    columns = [page.Column(title) for title in ("network", *sets)]
    return page.Grid(columns, rows, "Mean ‖h‖₂ of OOD images over ID images, in %.")


def _mean(ratios: Sequence[float]) -> page.Cell:
    value = 100 * float(np.mean(ratios))
    return page.Cell(f"{value:.0f}", value)
