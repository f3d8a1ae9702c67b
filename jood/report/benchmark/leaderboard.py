"""A table in the form of OpenOOD's leaderboard: near and far AUROC, a row per detector.

Its files are results/<benchmark>_ood.csv and, for the full spectrum, _fsood.csv, with
these columns. A number is in percent, over several seeds mean ± standard deviation; '/'
stands where there is none, as it does there. The last column is
jood's own: the detector's text, and which averages are over a part of the sets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jood import version
from jood._utils import csv_text
from jood.data.benchmarks.spec import Benchmark
from jood.report.benchmark import averages
from jood.report.benchmark import tables
from jood.report.benchmark.tables import Table

HEADER = (
    "Training",
    "Postprocessor",
    "Near-OOD_AUROC",
    "Far-OOD_AUROC",
    "ID_Accuracy",
    "Outlier_Data",
    "Arch",
    "Additional_Description",
)
NONE = "/"
_TRAININGS = {"cross_entropy": "CrossEntropy"}


def files(
    table: Table,
    benchmark: Benchmark,
    texts: Mapping[str, str],
    configuration: Mapping[str, Any],
) -> dict[str, str]:
    """Returns CSV by file name; none of a benchmark without near and far groups.

    Args:
      table: The numbers.
      benchmark: Benchmark that they are of.
      texts: The detectors' texts by row.
      configuration: The run's, as `jood.cli.evaluation_configuration` returns it.
    """
    contents: dict[str, str] = {}
    if not {"near", "far"} <= benchmark.groups.keys():
        return contents
    for name, full in (("leaderboard_ood.csv", False), ("leaderboard_fsood.csv", True)):
        columns = [
            averages.column(table.columns, group, full=full)
            for group in ("near", "far")
        ]
        if any(columns):
            accuracies = table.spectrum if full else table.accuracies
            contents[name] = _csv(table, texts, configuration, columns, accuracies)
    return contents


def _csv(
    table: Table,
    texts: Mapping[str, str],
    configuration: Mapping[str, Any],
    columns: Sequence[str | None],
    accuracies: Sequence[float],
) -> str:
    parts = [
        column for column in columns if column and ("(" in column or "*" in column)
    ]
    marks = f"; partial: {', '.join(parts)}" if parts else ""
    trained = configuration.get("trained", {})
    sources = trained if isinstance(trained, list) else [trained]
    objectives = {str(one.get("objective", "")).partition("(")[0] for one in sources}
    objective = objectives.pop() if len(objectives) == 1 else ""
    rows = [
        [
            _TRAININGS.get(objective, objective) or NONE,
            name,
            *(_number(_values(table, name, column)) for column in columns),
            _number([100 * accuracy for accuracy in accuracies]),
            "No" if objective else NONE,
            configuration.get("model", NONE),
            f"jood {version.VERSION}: {texts[name]}{marks}",
        ]
        for name in table.detectors
    ]
    return csv_text.joined(HEADER, rows)


def _values(table: Table, name: str, column: str | None) -> list[float]:
    return [] if column is None else table.percents(name, column, "AUROC")


def _number(values: Sequence[float]) -> str:
    is_known = len(values) > 0 and bool(np.isfinite(values).all())
    return tables.spread(values, 2) if is_known else NONE
