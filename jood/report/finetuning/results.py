"""What fine-tuning did to a network: the results folder of launch/finetune.py.

Rows come in pairs, a detector on the network before and after, as in LFF's Table IV;
with them go the ID accuracy and how large OOD features are, relative to ID ones.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import json
import os
from typing import Any, NamedTuple

from flax import linen as nn
import numpy as np
import tabulate

from jood._utils import atomic_files
from jood._utils import provenance
from jood.data.benchmarks.spec import Benchmark
from jood.evaluation.benchmark_run import Evaluation
from jood.report import figures
from jood.report.benchmark import network_view
from jood.report.benchmark import results
from jood.report.benchmark import tables
from jood.report.finetuning import page as page_lib
from jood.report.finetuning import plots
from jood.report.html import page

NORM = "Feature L2 norm"  # the row whose score is ‖h‖₂


class Pair(NamedTuple):
    """One seed's network before and after, as detectors see it."""

    before: Evaluation
    after: Evaluation


class Networks(NamedTuple):
    """One seed's network before and after, for the pictures.

    Attributes:
      model: of both.
      before: variables.
      after: variables.
      sample: probabilities of the true class [B, HW] -> the patches to show.
    """

    model: nn.Module
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    sample: Any


def joined(pair: Pair, label: str, names: Sequence[str]) -> Evaluation:
    """Returns both evaluations as one, whose rows 'MSP' and 'MSP + LFF' alternate.

    Args:
      pair: of evaluations.
      label: what is added to the names of the rows after.
      names: of the detectors in the order of the rows; not each is in both.
    """

    def rows(
        before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        both = {}
        for name in names:
            if name in before:
                both[name] = before[name]
            if name in after:
                both[f"{name} + {label}"] = after[name]
        return both

    before, after = pair
    return dataclasses.replace(
        after,
        id_scores=rows(before.id_scores, after.id_scores),
        ood_scores={
            name: rows(before.ood_scores[name], after.ood_scores[name])
            for name in after.ood_scores
        },
    )


def norm_ratios(evaluation: Evaluation) -> dict[str, float]:
    """Returns mean ‖h‖₂ of each OOD set over that of the ID test set."""
    inside = evaluation.id_scores[NORM].mean()
    return {
        name: float(scores[NORM].mean() / inside)
        for name, scores in evaluation.ood_scores.items()
    }


def write(
    folder: str | os.PathLike[str],
    pairs: Sequence[Pair],
    *,
    label: str,
    benchmark: Benchmark,
    detectors: Mapping[str, str],
    configuration: Mapping[str, Any],
    networks: Networks,
) -> str:
    """Writes a results folder; returns the table as text.

    Args:
      folder: a new folder.
      pairs: one per seed.
      label: the objective's name, for the rows: 'LFF'.
      benchmark: what was scored.
      detectors: texts by row name; those that only the network after can be asked
        have one row.
      configuration: whatever is needed to run this again, JSON values.
      networks: of the first seed.
    """
    both = [joined(pair, label, list(detectors)) for pair in pairs]
    table = tables.build(
        both,
        list(both[0].id_scores),
        benchmark.near,
        paper=benchmark.paper,
        absent=benchmark.absent,
        incomplete=benchmark.incomplete,
        skipped=pairs[0].after.skipped,
    )
    texts = {
        name: detectors[name.removesuffix(f" + {label}")] for name in table.detectors
    }
    accuracies = [[p.before.accuracy for p in pairs], [p.after.accuracy for p in pairs]]
    told = f"ID accuracy {_spread(accuracies[0])} % before, "
    told += f"{_spread(accuracies[1])} % after {label}. "
    heading = tables.heading(table, benchmark.protocol, told)
    ratios = {
        "before": [norm_ratios(pair.before) for pair in pairs],
        "after": [norm_ratios(pair.after) for pair in pairs],
    }
    drawn = {"before": networks.before, f"after {label}": networks.after}
    seen = {"before": pairs[0].before, f"after {label}": pairs[0].after}
    pictures = {"norms": plots.norm_distributions(seen, NORM)}
    if network_view.has_maps(networks.model, benchmark):
        pictures["heatmaps"] = plots.norm_heatmaps(benchmark, networks.model, drawn)
        pictures["patches"] = plots.patches(
            benchmark, networks.model, drawn, networks.sample
        )
    summary: dict[str, Any] = {
        "configuration": configuration,
        "versions": provenance.versions(),
        "detectors": dict(detectors),
        "id_accuracy": dict(zip(("before", "after"), accuracies, strict=True)),
        "norm_ratios": ratios,
        "absent": dict(benchmark.absent),
        "incomplete": dict(benchmark.incomplete),
        "metrics_by_seed": list(table.values),
    }
    printed = _page(heading, tables.text(table), _ratios_text(ratios, "simple"))
    with atomic_files.atomic_folder(folder) as partial:
        (partial / results.TABLE).write_text(printed)
        markdown = _page(
            heading, tables.text(table, "github"), _ratios_text(ratios, "github")
        )
        (partial / "table.md").write_text(markdown)
        (partial / "table.tex").write_text(tables.text(table, "latex_booktabs") + "\n")
        (partial / "table.csv").write_text(tables.as_csv(table, texts))
        (partial / results.SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        figures.save_pictures(partial, pictures)
        shown = page_lib.build(
            partial,
            label=label,
            name=benchmark.name,
            table=table,
            heading=heading,
            ratios=ratios,
            texts=texts,
            configuration=configuration,
            versions=summary["versions"],
        )
        (partial / page.FILE).write_text(shown, encoding="utf-8")
    return printed


def _page(heading: str, table: str, ratios: str) -> str:
    return f"{heading}\n\n{table}\n\nMean ‖h‖₂ of OOD over ID, in %:\n\n{ratios}\n"


def _ratios_text(
    ratios: Mapping[str, Sequence[Mapping[str, float]]], style: str
) -> str:
    sets = list(ratios["before"][0])
    rows = [
        [when, *(_spread([one[name] for one in seeds], digits=0) for name in sets)]
        for when, seeds in ratios.items()
    ]
    return tabulate.tabulate(rows, ["", *sets], tablefmt=style, stralign="right")


def _spread(fractions: Sequence[float], digits: int = 2) -> str:
    """A mean in percent, of several with their standard deviation."""
    values = 100 * np.array(fractions)
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" ± {values.std(ddof=1):.{digits}f}"
    return text
