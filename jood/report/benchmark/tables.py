"""The benchmark table: detectors x OOD sets, as text, Markdown, LaTeX and CSV.

Cells are what `jood.metrics` shows, AUROC / FPR95, in percent (ID positive), over
several seeds mean ± standard deviation. Average columns close it: over the sets that
the paper averages, where others are scored beside them, over the far OOD sets, and over
all.

An average over a part says so in its name, which every format shows: 'mean (7 of 13)'
where six sets are absent, 'mean*' where a set within it is incomplete or lost images
that could not be read. The heading says which.
"""

from collections.abc import Mapping, Sequence, Set
import dataclasses
from typing import Any

import numpy as np
import tabulate

from jood import metrics
from jood._utils import csv_text
from jood.data.benchmarks.spec import Benchmark
from jood.evaluation.benchmark_run import Evaluation
from jood.metrics import Column

PAPER, FAR, ALL = "mean paper", "mean far", "mean"


@dataclasses.dataclass(frozen=True)
class Table:
    """Metrics of one or more seeds.

    Attributes:
      values: per seed {detector: {column: {metric: fraction}}}; columns are the OOD
        sets, then `PAPER` and `FAR` (where they differ from `ALL`) and `ALL`, each
        perhaps with a mark.
      accuracies: ID accuracy per seed, a fraction; NaN where the ID images carry no
        labels.
      absent: where each OOD set that is not scored was looked for.
      incomplete: sets, ID sets among them, that are not whole, and what was found.
      skipped: by set, the images that could not be read.
    """

    values: tuple[Mapping[str, Mapping[str, Mapping[str, float]]], ...]
    accuracies: tuple[float, ...]
    absent: Mapping[str, str]
    incomplete: Mapping[str, str]
    skipped: Mapping[str, Sequence[str]]

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
    evaluations: Sequence[Evaluation], names: Sequence[str], benchmark: Benchmark
) -> Table:
    """Returns the table of evaluations, one per seed.

    Args:
      evaluations: the same detectors' on the same benchmark.
      names: detectors in the order of the rows.
      benchmark: what was scored; says which sets are near, absent and incomplete and
        which the paper averages.
    """
    skipped = {n: list(s.values()) for n, s in evaluations[0].skipped.items()}
    dented = _dented(benchmark.incomplete, skipped)
    averages = _averages(list(evaluations[0].ood_scores), benchmark, dented)
    values = []
    for evaluation in evaluations:
        sets = evaluation.metrics()
        rows = {}
        for name in names:
            means = {
                title: _average([sets[name][ood] for ood in part])
                for title, part in averages.items()
            }
            rows[name] = {**sets[name], **means}
        values.append(rows)
    return Table(
        tuple(values),
        tuple(evaluation.accuracy for evaluation in evaluations),
        benchmark.absent,
        benchmark.incomplete,
        skipped,
    )


def _averages(
    scored: Sequence[str], benchmark: Benchmark, dented: Set[str]
) -> dict[str, list[str]]:
    """The columns of averages, and the sets that each is taken over."""
    paper = benchmark.paper
    # What should have been scored: also what was neither found nor chosen.
    every = list(dict.fromkeys([*scored, *benchmark.absent, *paper]))
    far = [name for name in every if name not in benchmark.near]
    groups = {FAR: far, ALL: every}
    if set(paper) not in (set(), set(far), set(every)):
        groups = {PAPER: list(paper), **groups}
    averages = {}
    for title, group in groups.items():
        part = [name for name in group if name in scored]
        if title == ALL or 0 < len(part) < len(scored):
            averages[_marked(title, part, group, dented)] = part
    return averages


def _dented(
    incomplete: Mapping[str, str], skipped: Mapping[str, Sequence[str]]
) -> set[str]:
    """The sets that were scored, but not whole."""
    return {*incomplete, *(name for name, images in skipped.items() if images)}


def _marked(
    title: str, part: Sequence[str], group: Sequence[str], dented: Set[str]
) -> str:
    """The name of an average, which says whether it is one over all that it should."""
    if len(part) < len(group):
        title += f" ({len(part)} of {len(group)})"
    return f"{title}*" if dented & set(part) else title


def _average(sets: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([m[name] for m in sets])) for name in metrics.COLUMNS}


def heading(table: Table, protocol: str, accuracy: str | None = None) -> str:
    """Returns the lines that say how the numbers were made, and on what.

    Args:
      table: what they are above.
      protocol: how the numbers are made.
      accuracy: what to say of the ID accuracy; None for that of the table.
    """
    lines = [protocol]
    if table.absent:
        lines.append(f"ABSENT, not scored: {', '.join(table.absent)}.")
    if table.incomplete:
        parts = [f"{name} {found}" for name, found in table.incomplete.items()]
        lines.append(f"INCOMPLETE (*): {'; '.join(parts)}.")
    lost = {name: len(images) for name, images in table.skipped.items() if images}
    if lost:
        parts = [f"{name} {count}" for name, count in lost.items()]
        lines.append(f"SKIPPED (*), images that cannot be read: {', '.join(parts)}.")
    told = _accuracy(table) if accuracy is None else accuracy
    columns = metrics.shown()
    cells = " / ".join(column.name for column in columns)
    better = " / ".join("lower" if c.lower_is_better else "higher" for c in columns)
    told += f"Cells: {cells} in %, ID positive; {better} is better."
    return "\n".join([*lines, told])


def _accuracy(table: Table) -> str:
    accuracies = 100 * np.array(table.accuracies)
    if not np.isfinite(accuracies).all():
        return "No ID accuracy: the ID images carry no labels. "
    spread = f" ± {accuracies.std(ddof=1):.2f}" if len(accuracies) > 1 else ""
    return f"ID accuracy {accuracies.mean():.2f}{spread} %. "


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
    headers = ["detector"] + [
        _escape(title, style) for title in column_titles(table).values()
    ]
    style = "latex_raw" if style == "latex_booktabs" else style
    body = tabulate.tabulate(
        rows, headers, tablefmt=style, stralign="right", colalign=("left",)
    )
    if style == "latex_raw":
        for rule in ("top", "mid", "bottom"):
            body = body.replace("\\hline", f"\\{rule}rule", 1)
    return body


def leader(table: Table) -> str:
    """Returns the detector with the highest AUROC, averaged over all sets."""
    overall = table.columns[-1]
    return max(table.detectors, key=lambda n: table.mean(n, overall, "AUROC"))


def column_titles(table: Table) -> dict[str, str]:
    """Returns what stands above each column: a star at what is not whole."""
    dented = _dented(table.incomplete, table.skipped)
    return {c: c + "*" if c in dented else c for c in table.columns}


def value_text(
    table: Table, detector: str, column: str, metric: str, plus_minus: str = " ± "
) -> str:
    """Returns a value in percent, of several seeds with its standard deviation."""
    shown = f"{table.mean(detector, column, metric):.1f}"
    if len(table.values) > 1:
        shown += f"{plus_minus}{table.std(detector, column, metric):.1f}"
    return shown


def ranking(table: Table, column: str, metric: Column) -> list[float]:
    """Returns the different values of a column as they are shown, the best first."""
    values = {round(table.mean(n, column, metric.name), 1) for n in table.detectors}
    return sorted(values, reverse=not metric.lower_is_better)


def _cell(table: Table, name: str, column: str, mark: str, style: str) -> str:
    plus_minus = r"$\pm$" if style == "latex_booktabs" else "±"
    cells = []
    for metric in metrics.shown():
        best = ranking(table, column, metric)[0]
        shown = value_text(table, name, column, metric.name, plus_minus)
        is_best = round(table.mean(name, column, metric.name), 1) == best
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
    header = ["detector", "spec", "ood_set", "seeds", "id_accuracy_percent"]
    for metric in metrics.COLUMNS:
        header += [f"{metric}_percent", f"{metric}_std"]
    accuracy = f"{100 * np.mean(table.accuracies):.2f}"
    rows = []
    for name in table.detectors:
        for column in table.columns:
            row: list[Any] = [name, specs[name], column, len(table.values), accuracy]
            for metric in metrics.COLUMNS:
                row.append(f"{table.mean(name, column, metric):.2f}")
                row.append(f"{table.std(name, column, metric):.2f}")
            rows.append(row)
    return csv_text.joined(header, rows)
