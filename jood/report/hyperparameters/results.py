"""The results folder of a sweep: curves as CSV, pictures and a page."""

from collections.abc import Mapping, Sequence
import json
import os
from typing import Any

from jood._utils import atomic_files
from jood._utils import provenance
from jood.evaluation import hyperparameter_curves
from jood.evaluation.hyperparameter_curves import Curve
from jood.report import pictures
from jood.report.benchmark import results
from jood.report.html import page
from jood.report.hyperparameters import plots
from jood.report.pictures import Picture

WARNING = (
    "These curves are of the test sets: they show what a value does, and no value may "
    "be chosen on them."
)


def write(
    folder: str | os.PathLike[str],
    curves: Sequence[Curve],
    *,
    name: str,
    protocol: str,
    configuration: Mapping[str, Any],
) -> None:
    """Writes a results folder.

    Args:
      folder: a new folder.
      curves: in the order of the page.
      name: the name of the benchmark.
      protocol: how its numbers are made.
      configuration: whatever is needed to run this again, JSON values.
    """
    run_with = provenance.versions()
    summary = {
        "configuration": configuration,
        "versions": run_with,
        "sweeps": {c.sweep.name: c.sweep._asdict() for c in curves},
    }
    with atomic_files.atomic_folder(folder) as partial:
        (partial / "sweeps.csv").write_text(hyperparameter_curves.as_csv(curves))
        (partial / results.SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        sections = []
        for curve in curves:
            sweep = curve.sweep
            drawn = Picture(f"sweep_{sweep.name}", sweep.title, _caption, plots.draw)
            (section,) = pictures.save(partial, [drawn], curve)
            sections.append(page.Section(sweep.title, [*section.blocks, grid(curve)]))
        about = [
            page.Facts("Configuration", configuration),
            page.Facts("Versions", run_with),
        ]
        text = page.render(
            f"What the papers' values do on {name}",
            f"{protocol}\n{WARNING}",
            [*sections, page.Section("How it was run", about)],
        )
        (partial / page.FILE).write_text(text, encoding="utf-8")


def grid(curve: Curve) -> page.Grid:
    """Returns a row per value: means over the OOD sets, and the ID accuracy."""
    columns = [page.GridColumn(curve.sweep.name)]
    for row in curve.auroc:
        columns.append(page.GridColumn("AUROC", row, descending=True))
        columns.append(page.GridColumn("FPR95", row))
    if curve.accuracy is not None:
        columns.append(page.GridColumn("ID accuracy", descending=True))
    rows = []
    for i, value in enumerate(curve.sweep.values):
        cells = [page.Cell(f"{value:g}", value)]
        for row in curve.auroc:
            for metric in ("auroc", "fpr95"):
                cells.append(_percent(curve.mean(metric, row)[i]))
        if curve.accuracy is not None:
            cells.append(_percent(curve.accuracy[i]))
        rows.append(cells)
    return page.Grid(columns, rows, "Averages over the OOD sets, in %.")


def _percent(fraction: float) -> page.Cell:
    return page.Cell(f"{100 * fraction:.2f}", 100 * fraction)


def _caption(curve: Curve) -> str:
    parts = [
        f"AUROC against {curve.sweep.name}: each detector averaged over the OOD sets, "
        f"and {next(iter(curve.auroc))} on each set."
    ]
    if curve.accuracy is not None:
        text = curve.sweep.rewrite
        who = f"the rewritten network ({text})" if text else "the network"
        parts.append(f"On the right how many ID images {who} classifies correctly.")
    if curve.sweep.usual is not None:
        parts.append(f"The dotted line is the usual value, {curve.sweep.usual:g}.")
    return " ".join(parts)
