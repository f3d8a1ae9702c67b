"""The benchmark table as CSV: every metric, not only those that are shown."""

from collections.abc import Mapping
import types

import numpy as np

from jood import metrics
from jood._utils import csv_text
from jood.evaluation import bootstrap
from jood.methods import value_sources
from jood.report.benchmark import averages
from jood.report.benchmark.tables import Table


def as_csv(
    table: Table,
    specs: Mapping[str, str],
    sources: Mapping[str, Mapping[str, str]] = types.MappingProxyType({}),
) -> str:
    """Returns a line per detector and column with every metric and the full text.

    The lines of a detector are those of the OOD sets, then those of the averages.
    `sources` says by detector where its values come from. The ends of the bootstrap's
    intervals are the last columns, where there are any.
    """
    header = ["detector", "spec", "values_from", "ood_set"]
    header += ["seeds", "id_accuracy_percent"]
    values_from = {name: value_sources.written(of) for name, of in sources.items()}
    header += [f"{m}_{unit}" for m in metrics.COLUMNS for unit in ("percent", "std")]
    bounded = bootstrap.METRICS if table.draws else ()
    header += [f"{m}_{end}_percent" for m in bounded for end in ("low", "high")]
    accuracy = f"{100 * np.mean(table.accuracies):.2f}"
    rows = [
        [
            name,
            specs[name],
            values_from.get(name, ""),
            column,
            len(table.values),
            accuracy,
        ]
        + [
            f"{value(name, column, metric):.2f}"
            for metric in metrics.COLUMNS
            for value in (table.mean, table.std)
        ]
        + [
            f"{100 * end:.2f}"
            for metric in bounded
            for end in table.intervals[name][column][metric]
        ]
        for name in table.detectors
        for column in sorted(table.columns, key=lambda c: bool(averages.kind(c)))
    ]
    return csv_text.joined(header, rows)
