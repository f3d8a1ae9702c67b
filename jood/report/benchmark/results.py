"""Results folders: complete or absent, never half-written.

A folder holds the table in four formats, on a benchmark with near and far groups also
in that of OpenOOD's leaderboard, `results.json` (what was run, by which
versions, and every number), the pictures as PNG and PDF, and `report.html` with all.
"""

from collections.abc import Callable, Mapping
import json
import logging
import math
import os
import pathlib
from typing import Any

from jood._utils import atomic_files
from jood._utils import provenance
from jood.evaluation import bootstrap
from jood.report import pictures as pictures_lib
from jood.report.benchmark import leaderboard
from jood.report.benchmark import mistakes
from jood.report.benchmark import page as page_lib
from jood.report.benchmark import pictures
from jood.report.benchmark import selections
from jood.report.benchmark import table_csv
from jood.report.benchmark import tables
from jood.report.benchmark.benchmark_results import BenchmarkResults
from jood.report.benchmark.tables import Table
from jood.report.html import page

_LOGGER = logging.getLogger(__name__)
TABLE, SUMMARY = "table.txt", "results.json"


def write(folder: str | os.PathLike[str], results: BenchmarkResults) -> str:
    """Writes a new results folder; returns the table as text."""
    table, benchmark = results.table, results.benchmark
    heading = tables.heading(table, benchmark.protocol)
    accuracies = [None if math.isnan(a) else a for a in table.accuracies]
    run = summary(results, table, id_accuracy=accuracies)
    if table.draws:
        run["bootstrap"] = {
            "draws": table.draws,
            "level": bootstrap.LEVEL,
            "seed": results.seed,
            "intervals": table.intervals,
        }

    def as_text(style: str) -> str:
        return f"{heading}\n\n{tables.text(table, style)}\n"

    with atomic_files.atomic_folder(folder) as partial:
        write_tables(partial, table, results.detectors, as_text, run, results.sources)
        given = (benchmark, results.detectors, results.configuration)
        for name, text in leaderboard.files(table, *given).items():
            (partial / name).write_text(text)
        _LOGGER.info("the tables are written; drawing the pictures and the page")
        (partial / "mistakes.csv").write_text(mistakes.as_csv(results.mistakes))
        seeds = len(results.evaluations)
        several = page.Text(f"Pictures are of the first of {seeds} networks.")
        shown = page_lib.build(
            f"Out-of-distribution detection on {benchmark.name}",
            heading,
            table,
            results.detectors,
            run,
            [several] if seeds > 1 else [],
            [
                *pictures_lib.save(partial, pictures.PICTURES, results),
                mistakes.section(results.mistakes, results.examined, results.viewer),
                selections.write(partial, results.curves),
            ],
            results.sources,
        )
        (partial / page.FILE).write_text(shown, encoding="utf-8")
    return as_text("simple")


def summary(results: Any, table: Table, **own: Any) -> dict[str, Any]:
    """Returns what results.json says of results, with further JSON values `own`."""
    return {
        "configuration": dict(results.configuration),
        "versions": provenance.versions(),
        "detectors": dict(results.detectors),
        "values": {name: dict(of) for name, of in results.sources.items()},
        **own,
        "absent": dict(table.absent),
        "incomplete": dict(table.incomplete),
        "skipped": dict(table.skipped),
        "metrics_by_seed": list(table.values),
    }


def write_tables(
    folder: pathlib.Path,
    table: Table,
    texts: Mapping[str, str],
    as_text: Callable[[str], str],
    run: Mapping[str, Any],
    sources: Mapping[str, Mapping[str, str]],
) -> None:
    """Writes a table in four formats, and `run` as results.json.

    The detectors' texts, and where their values come from, are by row name; `as_text`
    returns the table under its heading in a style of `tables.text`.
    """
    (folder / TABLE).write_text(as_text("simple"))
    (folder / "table.md").write_text(as_text("github"))
    (folder / "table.tex").write_text(tables.text(table, "latex_booktabs") + "\n")
    (folder / "table.csv").write_text(table_csv.as_csv(table, texts, sources))
    (folder / SUMMARY).write_text(json.dumps(run, indent=2) + "\n")


def finished(
    folder: str | os.PathLike[str],
    configuration: Mapping[str, Any],
    detectors: Mapping[str, str],
) -> str | None:
    """Returns the table of a results folder that this very job wrote earlier, or None.

    Raises:
      FileExistsError: the folder holds results of another job.
    """
    path = pathlib.Path(folder)
    if not path.exists():
        return None
    content = json.loads((path / SUMMARY).read_text()) if path.is_dir() else {}
    asked = {"configuration": dict(configuration), "detectors": dict(detectors)}
    if {name: content.get(name) for name in asked} != asked:
        raise FileExistsError(
            f"{path} holds results of another configuration or other detectors and is "
            "not overwritten. Choose another --workdir or delete that folder."
        )
    return (path / TABLE).read_text()
