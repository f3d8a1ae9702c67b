"""Results folders: complete or absent, never half-written.

A folder holds the table in four formats, `results.json` (what was run, by which
versions, and every number), the pictures as PNG and PDF, and `report.html`, which shows
all of it on one page.
"""

from collections.abc import Mapping, Sequence
import json
import math
import os
import pathlib
from typing import Any

from flax import linen as nn

from jood._utils import atomic_files
from jood._utils import provenance
from jood.data.benchmarks.spec import Benchmark
from jood.evaluation.benchmark_run import Evaluation
from jood.evaluation.selection import Selection
from jood.methods import preset_values
from jood.methods import presets
from jood.report import figures
from jood.report.benchmark import heatmaps
from jood.report.benchmark import mistake_cards
from jood.report.benchmark import mistakes
from jood.report.benchmark import network_view
from jood.report.benchmark import page as page_lib
from jood.report.benchmark import plots
from jood.report.benchmark import sample_plots
from jood.report.benchmark import samples as samples_lib
from jood.report.benchmark import tables
from jood.report.html import page

TABLE, SUMMARY = "table.txt", "results.json"


def write(
    folder: str | os.PathLike[str],
    results: Sequence[Evaluation],
    *,
    benchmark: Benchmark,
    detectors: Mapping[str, str],
    configuration: Mapping[str, Any],
    model: nn.Module,
    variables: Mapping[str, Any],
    curves: Mapping[str, Selection] | None = None,
    examine: str | None = None,
) -> str:
    """Writes a results folder; returns the table as text.

    Args:
      folder: a new folder.
      results: one evaluation per seed; pictures show the first.
      benchmark: what was scored.
      detectors: texts by row name, in the order of the rows.
      configuration: whatever is needed to run this again, JSON values.
      model: the network, for the heatmaps.
      variables: of the first seed.
      curves: selections whose best candidates are rows of the table.
      examine: the row whose mistakes the page shows; None for the one with the
        highest mean AUROC.
    """
    table = tables.build(
        results,
        list(detectors),
        benchmark.near,
        paper=benchmark.paper,
        absent=benchmark.absent,
        incomplete=benchmark.incomplete,
        skipped=results[0].skipped,
    )
    heading = tables.heading(table, benchmark.protocol)
    printed = f"{heading}\n\n{tables.text(table)}\n"
    shown = [n for n in presets.SHOWN if n in detectors] or list(detectors)[:6]
    k = float(preset_values.values(benchmark.name)["k"])
    examined = examine or tables.leader(table)
    pictures = {
        "histograms": plots.histograms(results[0], shown),
        "distributions": plots.distributions(results[0], examined),
        "roc": plots.roc_curves(results[0], shown),
    }
    look = network_view.reader(benchmark, model, variables, k)
    if network_view.has_maps(model, benchmark):
        pictures["heatmaps"] = heatmaps.draw(benchmark, look, k)
    found = mistakes.find(results[0], examined, benchmark, look)
    run_with = provenance.versions()
    summary = {
        "configuration": configuration,
        "versions": run_with,
        "detectors": dict(detectors),
        "id_accuracy": [None if math.isnan(a) else a for a in table.accuracies],
        "absent": dict(benchmark.absent),
        "incomplete": dict(benchmark.incomplete),
        "skipped": results[0].skipped,
        "metrics_by_seed": list(table.values),
    }
    samples = samples_lib.take(benchmark, model, variables)
    pictures |= sample_plots.draw(samples)
    with atomic_files.atomic_folder(folder) as partial:
        (partial / TABLE).write_text(printed)
        markdown = f"{heading}\n\n{tables.text(table, 'github')}\n"
        (partial / "table.md").write_text(markdown)
        (partial / "table.tex").write_text(tables.text(table, "latex_booktabs") + "\n")
        (partial / "table.csv").write_text(tables.as_csv(table, detectors))
        (partial / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        for name, curve in (curves or {}).items():
            stem = name.replace(" (selected)", "").replace("+", "_")
            (partial / f"selection_{stem}.csv").write_text(curve.as_csv())
        (partial / "mistakes.csv").write_text(mistakes.as_csv(found))
        figures.save_pictures(partial, pictures)
        shown_page = page_lib.build(
            partial,
            name=benchmark.name,
            table=table,
            heading=heading,
            detectors=detectors,
            configuration=configuration,
            versions=run_with,
            curves=curves or {},
            sections=[mistake_cards.section(found, examined, k)],
        )
        (partial / page.FILE).write_text(shown_page, encoding="utf-8")
    return printed


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
    found = json.loads((path / SUMMARY).read_text()) if path.is_dir() else {}
    if (found.get("configuration"), found.get("detectors")) != (
        dict(configuration),
        dict(detectors),
    ):
        raise FileExistsError(
            f"{path} holds results of another configuration or other detectors and is "
            "not overwritten. Choose another --workdir or delete that folder."
        )
    return (path / TABLE).read_text()
