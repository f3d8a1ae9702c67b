"""Results of detectors on a folder of features: the tables, and every score."""

from collections.abc import Mapping
import os
from typing import Any

import numpy as np

from jood._utils import atomic_files
from jood._utils import provenance
from jood.evaluation import feature_files
from jood.evaluation.comparison import Comparison
from jood.methods.detector_list import Row
from jood.report.benchmark import results
from jood.report.benchmark import tables

SCORES = "scores.npz"  # float32 [N] as 'SET/DETECTOR'; the ID test set is 'test'


def possible(
    rows: Mapping[str, Row], given: feature_files.FeatureFolder
) -> tuple[dict[str, Row], dict[str, str]]:
    """Returns the rows that features alone can serve, and why not the others."""
    trained = given.train is not None
    why = {n: feature_files.lacks(row.component, trained) for n, row in rows.items()}
    left = {name: row for name, row in rows.items() if not why[name]}
    return left, {name: text for name, text in why.items() if text}


def table(comparison: Comparison) -> tables.Table:
    """Returns a comparison as a results table: the average, then the OOD sets."""
    values: dict[str, Any] = {}
    for name, sets in comparison.evaluation.metrics().items():
        kinds = next(iter(sets.values()))
        mean = {k: float(np.mean([of[k] for of in sets.values()])) for k in kinds}
        values[name] = {tables.ALL: mean, **sets}
    return tables.Table((values,), (comparison.evaluation.accuracy,), {}, {}, {})


def write(
    folder: str | os.PathLike[str],
    comparison: Comparison,
    rows: Mapping[str, Row],
    features: str,
) -> str:
    """Writes a new folder of results; returns the table as text.

    Args:
      folder: the new folder: table.txt, .md, .tex, .csv, results.json, scores.npz.
      comparison: result of `feature_files.compare`.
      rows: the detectors by name.
      features: the folder of features, which the results name.
    """
    built = table(comparison)
    counts = {
        name: len(next(iter(s.values()))) for name, s in _sets(comparison).items()
    }
    sizes = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    heading = tables.heading(built, f"Features of {features}: {sizes}.")
    accuracy = comparison.evaluation.accuracy
    run = {
        "configuration": {"features": features},
        "versions": provenance.versions(),
        "detectors": dict(comparison.specs),
        "id_accuracy": [accuracy if np.isfinite(accuracy) else None],
        "metrics_by_seed": list(built.values),
    }

    def as_text(style: str) -> str:
        return f"{heading}\n\n{tables.text(built, style)}\n"

    sources = {name: row.sources for name, row in rows.items()}
    with atomic_files.atomic_folder(folder) as partial:
        results.write_tables(partial, built, comparison.specs, as_text, run, sources)
        arrays = {
            f"{s}/{n}": v for s, of in _sets(comparison).items() for n, v in of.items()
        }
        np.savez(partial / SCORES, allow_pickle=False, **arrays)
    return as_text("simple")


def _sets(comparison: Comparison) -> dict[str, dict[str, np.ndarray]]:
    return {"test": comparison.evaluation.id_scores, **comparison.evaluation.ood_scores}
