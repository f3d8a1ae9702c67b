"""Curves of an objective's values, from runs of launch/finetune.py: LFF's Fig. 6.

Runs whose objectives differ in one value alone give a curve of that value, whatever the
others are. A value may be a word, as SSOD's balance schemes (its Table 5) are.
"""

import ast
from collections.abc import Mapping, Sequence
import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from jood._utils import call_text
from jood.evaluation.hyperparameter_curves import Curve
from jood.evaluation.paper_sweeps import Sweep
from jood.report.benchmark import results
from jood.training import objectives

Value = float | str


class Run(NamedTuple):
    """A finished run: its objective's text and values, and its results.json."""

    text: str

    values: Mapping[str, Value]
    summary: Mapping[str, Any]


def read(workdir: str | os.PathLike[str], objective: str) -> list[Run]:
    """Reads the finished runs of an objective ('lff') in a --workdir of finetune.py.

    Raises:
      ValueError: a file is truncated, there are fewer than two runs, or they differ in
        more than the objective.
    """
    paths = sorted(pathlib.Path(workdir).glob(f"*/results/{results.SUMMARY}"))
    runs = []
    for path in paths:
        try:
            summary = json.loads(path.read_text())
            text = summary["configuration"]["objective"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is truncated or no results of finetune.py: {error!r}. Delete "
                "its folder and run jood finetune again."
            ) from None
        if text.split("(")[0] == objective:
            runs.append(Run(text, _values(text), summary))
    if len(runs) < 2:
        raise ValueError(
            f"{workdir} holds {len(runs)} finished run(s) of {objective}, expected two "
            f"or more: jood finetune --workdir=... --objective='{objective}(...)'."
        )
    for name in runs[0].summary["configuration"]:
        settings = {json.dumps(r.summary["configuration"].get(name)) for r in runs}
        if name != "objective" and len(settings) > 1:
            raise ValueError(
                f"the runs in {workdir} were made with different --{name}: "
                f"{', '.join(sorted(settings))}. Only the objective may differ: keep "
                "other runs in a --workdir of their own."
            )
    return runs


def per_value(runs: Sequence[Run], objective: str) -> list[Curve]:
    """Returns a curve for each set of runs that differ in one value alone.

    Rows are those after fine-tuning, averaged over the seeds. A curve is named after
    its value, and after those of the others that are not the defaults.
    """
    usual = _values(objectives.parse(objective).spec)
    curves = []
    for name in usual:
        groups: dict[str, list[Run]] = {}
        for run in (run for run in runs if name in run.values):
            others = {k: v for k, v in run.values.items() if k != name}
            groups.setdefault(json.dumps(others, sort_keys=True), []).append(run)
        for part in groups.values():
            if len(part) > 1:
                part.sort(key=lambda run: run.values[name])
                curves.append(_curve(name, usual, part, objective))
    return curves


def _curve(
    name: str, usual: Mapping[str, Value], runs: Sequence[Run], objective: str
) -> Curve:
    label = f" + {objective.replace('_', ' ').upper()}"
    first = runs[0].summary
    rows = [row for row in first["metrics_by_seed"][0] if row.endswith(label)]
    sets = list(first["norm_ratios"]["after"][0])

    def curve(metric: str) -> dict[str, dict[str, list[float]]]:
        def mean(run: Run, row: str, ood: str) -> float:
            seeds = run.summary["metrics_by_seed"]
            return float(np.mean([seed[row][ood][metric] for seed in seeds]))

        return {r: {o: [mean(run, r, o) for run in runs] for o in sets} for r in rows}

    values = [run.values[name] for run in runs]
    others = [
        f"{other}={value}"
        for other, value in runs[0].values.items()
        if other != name and value != usual.get(other)
    ]
    full = f"{name} ({', '.join(others)})" if others else name
    title = f"{objective.upper()}'s {full}"
    # A default belongs to the other defaults: the papers' values go together.
    line = None if others else usual[name]
    sweep = Sweep(full, title, dict.fromkeys(rows, ""), "", values, line)
    accuracy = [float(np.mean(run.summary["id_accuracy"]["after"])) for run in runs]
    return Curve(sweep, accuracy, curve("AUROC"), curve("FPR95"))


def _values(text: str) -> dict[str, Value]:
    """The values in an objective's text, "ssod(gamma=0.95, balance='lwb')"."""
    _, named = call_text.literals(ast.parse(text, mode="eval").body)
    return {k: v if isinstance(v, str) else float(v) for k, v in named.items()}
