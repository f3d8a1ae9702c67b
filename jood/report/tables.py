"""The benchmark table: detectors x OOD sets, as text, Markdown, LaTeX and CSV.

Cells are AUROC / FPR95 in percent (ID positive; see `jood.metrics`), over several
seeds mean ± standard deviation. Two average columns close it: over the far OOD sets,
and over all.
"""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import io
from typing import Any

import numpy as np
import tabulate

from jood import metrics
from jood.evaluation import Evaluation

FAR, ALL = "mean far", "mean"


@dataclasses.dataclass(frozen=True)
class Table:
    """Metrics of one or more seeds.

    Attributes:
      values: per seed {detector: {column: {metric: fraction}}}; columns are the OOD
        sets, then `FAR` (where there are near sets) and `ALL`.
      accuracies: ID accuracy per seed, a fraction.
    """

    values: tuple[Mapping[str, Mapping[str, Mapping[str, float]]], ...]
    accuracies: tuple[float, ...]

    @property
    def detectors(self) -> list[str]:
        """Returns the rows."""
        return list(self.values[0])

    @property
    def columns(self) -> list[str]:
        """Returns the OOD sets and the averages."""
        return list(self.values[0][self.detectors[0]])

    def mean(self, detector: str, column: str, metric: str) -> float:
        """Returns the mean over seeds, in percent."""
        return float(np.mean(self._percent(detector, column, metric)))

    def std(self, detector: str, column: str, metric: str) -> float:
        """Returns the standard deviation over seeds (N - 1), in percent points."""
        values = self._percent(detector, column, metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    def _percent(self, detector: str, column: str, metric: str) -> list[float]:
        return [100 * seed[detector][column][metric] for seed in self.values]


def build(
    evaluations: Sequence[Evaluation], names: Sequence[str], near: Sequence[str]
) -> Table:
    """Returns the table of evaluations, one per seed.

    Args:
      evaluations: of the same detectors on the same benchmark.
      names: detectors in the order of the rows.
      near: names of near OOD sets, left out of the far average.
    """
    values = []
    for evaluation in evaluations:
        sets = evaluation.metrics()
        rows = {}
        for name in names:
            columns = dict(sets[name])
            far = [m for ood, m in columns.items() if ood not in near]
            if 0 < len(far) < len(columns):
                rows[name] = {**columns, FAR: _average(far)}
            else:
                rows[name] = columns
            rows[name] = {**rows[name], ALL: _average(list(columns.values()))}
        values.append(rows)
    return Table(tuple(values), tuple(e.accuracy for e in evaluations))


def _average(sets: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([m[name] for m in sets])) for name in metrics.METRICS}


def heading(table: Table, protocol: str) -> str:
    """Returns the lines that say how the numbers were made, and the ID accuracy."""
    accuracies = 100 * np.array(table.accuracies)
    spread = f" ± {accuracies.std(ddof=1):.2f}" if len(accuracies) > 1 else ""
    return (
        f"{protocol}\nID accuracy {accuracies.mean():.2f}{spread} %. "
        "Cells: AUROC / FPR95 in %, ID positive; higher / lower is better."
    )


def text(table: Table, style: str = "simple") -> str:
    """Formats the table.

    Args:
      table: what to print.
      style: 'simple' (terminal), 'github' (Markdown) or 'latex_booktabs'; the last
        two mark the best AUROC and FPR95 of each column.
    """
    marks = {"github": "**{}**", "latex_booktabs": r"\textbf{{{}}}"}
    mark = marks.get(style, "{}")
    rows = [
        [_escape(name, style)]
        + [_cell(table, name, column, mark, style) for column in table.columns]
        for name in table.detectors
    ]
    headers = ["detector"] + [_escape(c, style) for c in table.columns]
    style = "latex_raw" if style == "latex_booktabs" else style
    body = tabulate.tabulate(
        rows, headers, tablefmt=style, stralign="right", colalign=("left",)
    )
    if style == "latex_raw":
        for rule in ("top", "mid", "bottom"):
            body = body.replace("\\hline", f"\\{rule}rule", 1)
    return body


def _cell(table: Table, name: str, column: str, mark: str, style: str) -> str:
    plus_minus = r"$\pm$" if style == "latex_booktabs" else "±"
    cells = []
    for metric in ("AUROC", "FPR95"):
        value = f"{table.mean(name, column, metric):.1f}"
        everyone = [f"{table.mean(n, column, metric):.1f}" for n in table.detectors]
        best = min if metric in metrics.LOWER_IS_BETTER else max
        shown = value
        if len(table.values) > 1:
            shown += f"{plus_minus}{table.std(name, column, metric):.1f}"
        is_best = float(value) == best(float(v) for v in everyone)
        cells.append(mark.format(shown) if is_best else shown)
    return " / ".join(cells)


def _escape(name: str, style: str) -> str:
    if style == "latex_booktabs":
        return name.replace("_", r"\_").replace("|", r"\textbar{}")
    return name.replace("|", r"\|") if style == "github" else name


def as_csv(table: Table, specs: Mapping[str, str]) -> str:
    """Returns the long form: one line per detector and column, every metric.

    Args:
      table: what to write.
      specs: the full text of every detector.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = ["detector", "spec", "ood_set", "seeds", "id_accuracy_percent"]
    for metric in metrics.METRICS:
        header += [f"{metric}_percent", f"{metric}_std"]
    writer.writerow(header)
    accuracy = f"{100 * np.mean(table.accuracies):.2f}"
    for name in table.detectors:
        for column in table.columns:
            row: list[Any] = [name, specs[name], column, len(table.values), accuracy]
            for metric in metrics.METRICS:
                row.append(f"{table.mean(name, column, metric):.2f}")
                row.append(f"{table.std(name, column, metric):.2f}")
            writer.writerow(row)
    return stream.getvalue()
