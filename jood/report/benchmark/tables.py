"""The benchmark table: detectors x OOD sets, as text, Markdown, LaTeX and CSV.

Cells are what `jood.metrics` shows, AUROC / FPR95, in percent (ID positive), over
several seeds mean ± standard deviation. The first columns are averages, which come last
in CSV.
With a bootstrap each cell has its interval in brackets (`jood.evaluation.bootstrap`).

`averages` says over which sets, and how an average over a part is marked.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
import tabulate

from jood import metrics
from jood.data.benchmarks.spec import Benchmark
from jood.evaluation import bootstrap
from jood.evaluation import comparison
from jood.evaluation.benchmark_run import Evaluation
from jood.evaluation.bootstrap import Intervals
from jood.metrics import Column
from jood.report.benchmark import averages as averages_lib
from jood.report.benchmark.averages import ALL as ALL
from jood.report.benchmark.averages import FAR as FAR
from jood.report.benchmark.averages import PAPER as PAPER


@dataclasses.dataclass(frozen=True)
class Table:
    """Metrics of one or more seeds.

    Attributes:
      values: per seed {detector: {column: {metric: fraction}}}; columns are the
        averages, each perhaps with a mark, then the OOD sets.
      accuracies: ID accuracy per seed, a fraction; NaN without labels.
      absent: places where each OOD or shifted set that is not scored was looked for.
      incomplete: ID and OOD sets that are not whole, and what was found.
      skipped: images that could not be read, by set; at least one each.
      draws: number of times that images were drawn for `intervals`; 0 without them.
      intervals: ends of the bootstrap's intervals, fractions, by detector, column and
        metric.
      spectrum: accuracy per seed on ID and shifted ID images, a fraction; () without.
      shifted: names of the shifted ID sets that the full spectrum counts as ID.
    """

    values: tuple[Mapping[str, Mapping[str, Mapping[str, float]]], ...]
    accuracies: tuple[float, ...]
    absent: Mapping[str, str]
    incomplete: Mapping[str, str]
    skipped: Mapping[str, Sequence[str]]
    draws: int = 0
    intervals: Intervals = dataclasses.field(default_factory=dict)
    spectrum: tuple[float, ...] = ()
    shifted: tuple[str, ...] = ()

    @property
    def detectors(self) -> list[str]:
        """Returns the rows."""
        return list(self.values[0])

    @property
    def columns(self) -> list[str]:
        """Returns the averages and the OOD sets."""
        return list(self.values[0][self.detectors[0]])

    def percents(self, detector: str, column: str, metric: str) -> list[float]:
        """Returns the values of the seeds, in percent."""
        return [100 * seed[detector][column][metric] for seed in self.values]

    def mean(self, detector: str, column: str, metric: str) -> float:
        """Returns the mean over seeds, in percent."""
        return float(np.mean(self.percents(detector, column, metric)))

    def std(self, detector: str, column: str, metric: str) -> float:
        """Returns the standard deviation over seeds (N - 1), in percent points."""
        values = self.percents(detector, column, metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    def interval(self, detector: str, column: str, metric: str) -> str:
        """Returns ' [95.1, 96.0]', an interval in percent; '' where there is none."""
        ends = self.intervals.get(detector, {}).get(column, {}).get(metric)
        return "" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def build(
    evaluations: Sequence[Evaluation],
    names: Sequence[str],
    benchmark: Benchmark,
    draws: int = 0,
    seed: int = 0,
) -> Table:
    """Returns the table of one evaluation of a benchmark per network, a row per name.

    `draws` of the bootstrap with this seed give each cell an interval; 0 gives none.
    """
    skipped = {n: list(s.values()) for n, s in evaluations[0].skipped.items() if s}
    dented = {*benchmark.incomplete, *skipped}
    scored = list(evaluations[0].ood_scores)
    plain = averages_lib.of_sets(scored, benchmark, dented)
    full = averages_lib.of_full_spectrum(scored, benchmark, dented)
    by_seed = [one.metrics() for one in evaluations]
    spectrum = [one.full_spectrum() for one in evaluations] if full else []
    with_means = [{n: {**_means(s[n], plain), **s[n]} for n in names} for s in by_seed]
    for values, one in zip(with_means, spectrum, strict=False):
        every = one.metrics()
        for n in names:
            values[n] = {**_means(every[n], full), **values[n]}
    bounds: dict[str, dict[str, Any]] = {name: {} for name in names}
    for results, part in ((evaluations, plain), (spectrum, full)):
        if draws and part:
            drawn = bootstrap.intervals(results, names, part, draws, seed)
            for name in names:
                bounds[name] = {**drawn[name], **bounds[name]}
    return Table(
        tuple(with_means),
        tuple(evaluation.accuracy for evaluation in evaluations),
        {**benchmark.absent, **benchmark.absent_shifted},
        benchmark.incomplete,
        skipped,
        draws,
        bounds if draws else {},
        tuple(one.accuracy for one in spectrum),
        tuple(benchmark.shifted),
    )


def _means(
    sets: Mapping[str, Mapping[str, float]], averages: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Every metric of every average."""
    return {
        title: {
            metric: float(np.mean([sets[name][metric] for name in part]))
            for metric in metrics.COLUMNS
        }
        for title, part in averages.items()
    }


def heading(table: Table, protocol: str, accuracy: str | None = None) -> str:
    """Returns the lines above a table: how its numbers were made, and on what.

    `accuracy` is a sentence on the ID accuracy; None for that of the table.
    """
    lines = [protocol]
    if table.absent:
        lines.append(f"ABSENT, not scored: {', '.join(table.absent)}.")
    if table.incomplete:
        parts = [f"{name} {remark}" for name, remark in table.incomplete.items()]
        lines.append(f"INCOMPLETE (*): {'; '.join(parts)}.")
    if table.skipped:
        parts = [f"{name} {len(images)}" for name, images in table.skipped.items()]
        lines.append(f"SKIPPED (*), images that cannot be read: {', '.join(parts)}.")
    if table.shifted:
        spectrum = spread(100 * np.array(table.spectrum), 2)
        lines.append(
            f"Full-spectrum averages count {', '.join(table.shifted)} as ID; accuracy "
            f"on ID and these {spectrum} %."
        )
    sentence = _accuracy(table) if accuracy is None else accuracy
    columns = metrics.shown()
    cells = " / ".join(column.name for column in columns)
    better = " / ".join("lower" if c.lower_is_better else "higher" for c in columns)
    sentence += f"Cells: {cells} in %, ID positive; {better} is better."
    if table.draws:
        sentence += (
            f" Brackets: {100 * bootstrap.LEVEL:g} % interval, {table.draws:,} draws "
            "of the ID and OOD images (percentile bootstrap)."
        )
    return "\n".join([*lines, sentence, *_warning(table)])


def _warning(table: Table) -> list[str]:
    """A line on the rows that barely work on average, if there are any."""
    overall, most = _overall(table), 100 * (1 - comparison.BARELY)
    rows = [n for n in table.detectors if table.mean(n, overall, "FPR95") > most]
    beginning = (
        f"BARELY WORKS HERE (catches less than {100 - most:.0f} % of the OOD images on "
        "average, with 5 % of the ID images called OOD): "
    )
    return [f"{beginning}{', '.join(rows)}."] if rows else []


def _accuracy(table: Table) -> str:
    if not np.isfinite(table.accuracies).all():
        return "No ID accuracy: the ID images carry no labels. "
    return f"ID accuracy {spread(100 * np.array(table.accuracies), 2)} %. "


def spread(values: Sequence[float] | np.ndarray, digits: int, sign: str = " ± ") -> str:
    """Returns a mean as text, of several values with their standard deviation."""
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f"{sign}{np.std(values, ddof=1):.{digits}f}"
    return text


def text(table: Table, style: str = "simple") -> str:
    """Formats the table as 'simple' (terminal), 'github' or 'latex_booktabs'.

    The last two mark the best values of each column.
    """
    marks = {"github": "**{}**", "latex_booktabs": r"\textbf{{{}}}"}
    mark, titles = marks.get(style, "{}"), column_titles(table)
    best = {c: [ranking(table, c, m)[0] for m in metrics.shown()] for c in titles}
    rows = [
        [
            _escape(name, style),
            *(_cell(table, name, c, best[c], mark, style) for c in titles),
        ]
        for name in table.detectors
    ]
    headers = ["detector", *(_escape(title, style) for title in titles.values())]
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
    return best_first(table)[0]


def best_first(table: Table) -> list[str]:
    """Returns the detectors by AUROC, averaged over all sets; ties keep their order."""
    overall = _overall(table)
    return sorted(table.detectors, key=lambda n: -table.mean(n, overall, "AUROC"))


def _overall(table: Table) -> str:
    """The column of the averages over all sets."""
    return next(column for column in table.columns if averages_lib.kind(column) == ALL)


def column_titles(table: Table) -> dict[str, str]:
    """Returns what stands above each column: a star at what is not whole."""
    dented = {*table.incomplete, *table.skipped}
    return {c: c + "*" if c in dented else c for c in table.columns}


def ranking(table: Table, column: str, metric: Column) -> list[float]:
    """Returns the different values of a column as they are shown, the best first."""
    values = {round(table.mean(n, column, metric.name), 1) for n in table.detectors}
    return sorted(values, reverse=not metric.lower_is_better)


def _cell(
    table: Table, name: str, column: str, best: list[float], mark: str, style: str
) -> str:
    sign = r"$\pm$" if style == "latex_booktabs" else "±"
    cells = []
    for metric, best_value in zip(metrics.shown(), best, strict=True):
        shown = spread(table.percents(name, column, metric.name), 1, sign)
        shown += table.interval(name, column, metric.name)
        is_best = round(table.mean(name, column, metric.name), 1) == best_value
        cells.append(mark.format(shown) if is_best else shown)
    return " / ".join(cells)


def _escape(name: str, style: str) -> str:
    if style == "latex_booktabs":
        return name.replace("_", r"\_").replace("|", r"\textbar{}")
    return name.replace("|", r"\|") if style == "github" else name
