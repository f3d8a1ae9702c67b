"""The results folder of a sweep: curves as CSV, pictures and a page."""

from collections.abc import Mapping, Sequence
import json
import os
import re
from typing import Any

import numpy as np

from jood._utils import atomic_files
from jood._utils import provenance
from jood.evaluation import hyperparameter_curves
from jood.evaluation.hyperparameter_curves import Curve
from jood.evaluation.paper_sweeps import value_text
from jood.report import pictures
from jood.report.benchmark import page as page_lib
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
    """Writes a new results folder of a benchmark's curves.

    `name` and `protocol` are the benchmark's; `configuration` is whatever is needed to
    run this again, JSON values.
    """
    run = {"configuration": configuration, "versions": provenance.versions()}
    summary = {**run, "sweeps": {c.sweep.name: c.sweep._asdict() for c in curves}}
    with atomic_files.atomic_folder(folder) as partial:
        (partial / "sweeps.csv").write_text(hyperparameter_curves.as_csv(curves))
        (partial / results.SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        sections = []
        for curve in curves:
            stem = re.sub(r"[^\w.=-]+", "_", f"sweep_{curve.sweep.name}").strip("_")
            title = curve.sweep.title
            drawn = [Picture(stem, title, _caption, plots.draw)]
            (section,) = pictures.save(partial, drawn, curve)
            sections.append(page.Section(title, [*section.blocks, grid(curve)]))
        text = page.render(
            f"What the papers' values do on {name}",
            f"{protocol}\n{WARNING}",
            [*sections, page_lib.how_it_was_run(run)],
        )
        (partial / page.FILE).write_text(text, encoding="utf-8")


def grid(curve: Curve) -> page.Grid:
    """Returns a row per value: means over the OOD sets, and the ID accuracy."""
    columns = {}
    for row in curve.auroc:
        auroc = page.GridColumn("AUROC", row, descending=True)
        columns[auroc] = curve.mean("auroc", row)
        columns[page.GridColumn("FPR95", row)] = curve.mean("fpr95", row)
    if curve.accuracy is not None:
        accuracy = page.GridColumn("ID accuracy", descending=True)
        columns[accuracy] = np.array(curve.accuracy)
    rows = []
    for i, value in enumerate(curve.sweep.values):
        percents = [100 * float(fractions[i]) for fractions in columns.values()]
        cells = [page.Cell(f"{percent:.2f}", percent) for percent in percents]
        number = None if isinstance(value, str) else value
        rows.append([page.Cell(value_text(value), number), *cells])
    caption = "Averages over the OOD sets, in %."
    return page.Grid([page.GridColumn(curve.sweep.symbol), *columns], rows, caption)


def _caption(curve: Curve) -> str:
    parts = [
        f"AUROC against {curve.sweep.symbol}: each detector averaged over the OOD "
        f"sets, and {next(iter(curve.auroc))} on each set."
    ]
    if curve.accuracy is not None:
        text = curve.sweep.rewrite
        who = f"the rewritten network ({text})" if text else "the network"
        parts.append(f"On the right how many ID images {who} classifies correctly.")
    if curve.sweep.usual is not None:
        parts.append(
            f"The dotted line is the usual value, {value_text(curve.sweep.usual)}."
        )
    return " ".join(parts)
