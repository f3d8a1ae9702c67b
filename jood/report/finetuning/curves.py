"""Curves of an objective's values, from runs of launch/finetune.py: LFF's Fig. 6.

Runs whose objective differs from its defaults in one value alone make the curve of that
value.
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
from jood.evaluation.hyperparameter_curves import Sweep
from jood.report.benchmark import results
from jood.training import objectives


class Run(NamedTuple):
    """A finished run: the values of its objective, and its results.json."""

    values: Mapping[str, float]
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
                "its folder and run launch/finetune.py again."
            ) from None
        if text.split("(")[0] == objective:
            runs.append(Run(_values(text), summary))
    if len(runs) < 2:
        raise ValueError(
            f"{workdir} holds {len(runs)} finished run(s) of {objective}, expected two "
            f"or more: launch/finetune.py --workdir=... --objective='{objective}(...)'."
        )
    for name in runs[0].summary["configuration"]:
        found = {json.dumps(r.summary["configuration"].get(name)) for r in runs}
        if name != "objective" and len(found) > 1:
            raise ValueError(
                f"the runs in {workdir} were made with different --{name}: "
                f"{', '.join(sorted(found))}. Only the objective may differ: keep "
                "other runs in a --workdir of their own."
            )
    return runs


def per_value(runs: Sequence[Run], objective: str) -> list[Curve]:
    """Returns the curve of each value that two or more runs tell apart.

    Rows are those after fine-tuning, averaged over the seeds.
    """
    usual = _values(objectives.parse(objective).spec)
    curves = []
    for name in usual:
        part = [r for r in runs if {**r.values, name: 0} == {**usual, name: 0}]
        part.sort(key=lambda run: run.values[name])
        if len(part) > 1:
            curves.append(_curve(name, usual[name], part, objective))
    return curves


def _curve(name: str, usual: float, runs: Sequence[Run], objective: str) -> Curve:
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
    title = f"{objective.upper()}'s {name}"
    sweep = Sweep(name, title, dict.fromkeys(rows, ""), "", values, usual)
    accuracy = [float(np.mean(run.summary["id_accuracy"]["after"])) for run in runs]
    return Curve(sweep, accuracy, curve("AUROC"), curve("FPR95"))


def _values(text: str) -> dict[str, float]:
    """The values in an objective's text, 'lff(delta=0.1, mu=1.0, lam=1.0)'."""
    _, named = call_text.literals(ast.parse(text, mode="eval").body)
    return {name: float(value) for name, value in named.items()}
