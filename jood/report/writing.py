"""Results folders: complete or absent, never half-written.

A folder holds the table in four formats, `results.json` (what was run, by which
versions, and every number) and the pictures as PNG and PDF.
"""

from collections.abc import Mapping, Sequence
import importlib.metadata
import json
import os
import platform
from typing import Any

from matplotlib import figure

import jood
from jood import folders
from jood.evaluation import Evaluation
from jood.report import plots
from jood.report import tables

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")
DOTS_PER_INCH = 150


def versions() -> dict[str, str]:
    """Returns the versions that a result depends on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    system = f"{platform.system()} {platform.machine()}"
    return {
        "jood": jood.__version__,
        "python": platform.python_version(),
        "system": system,
        **found,
    }


def write(
    folder: str | os.PathLike[str],
    table: tables.Table,
    *,
    specs: Mapping[str, str],
    configuration: Mapping[str, Any],
    evaluation: Evaluation,
    shown: Sequence[str],
    figures: Mapping[str, figure.Figure],
    replace: bool = False,
) -> str:
    """Writes a results folder; returns the table as text.

    Args:
      folder: where to.
      table: of all seeds.
      specs: the full text of each detector.
      configuration: whatever is needed to run this again, JSON values.
      evaluation: of the first seed, for histograms and ROC curves.
      shown: the detectors to draw.
      figures: further pictures by file name.
      replace: whether an earlier folder of that name is replaced.
    """
    printed = f"{tables.heading(table)}\n\n{tables.text(table)}\n"
    pictures = {
        "histograms": plots.histograms(evaluation, shown),
        "roc": plots.roc_curves(evaluation, shown),
        **figures,
    }
    summary = {
        "configuration": configuration,
        "versions": versions(),
        "detectors": dict(specs),
        "id_accuracy": list(table.accuracies),
        "metrics_by_seed": list(table.values),
    }
    with folders.atomic_folder(folder, replace=replace) as partial:
        (partial / "table.txt").write_text(printed)
        markdown = f"{tables.heading(table)}\n\n{tables.text(table, 'github')}\n"
        (partial / "table.md").write_text(markdown)
        (partial / "table.tex").write_text(tables.text(table, "latex_booktabs") + "\n")
        (partial / "table.csv").write_text(tables.as_csv(table, specs))
        (partial / "results.json").write_text(json.dumps(summary, indent=2) + "\n")
        for name, picture in pictures.items():
            for suffix in ("png", "pdf"):
                picture.savefig(partial / f"{name}.{suffix}", dpi=DOTS_PER_INCH)
    return printed
