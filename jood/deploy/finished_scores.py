"""The results of a scoring job, and how to read them from a finished job's folder."""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from jood._utils import atomic_files
from jood.deploy import drift
from jood.deploy import table

TABLE, SUMMARY = "scores.csv", "summary.json"


@dataclasses.dataclass(frozen=True)
class ScoreResults:
    """What was scored; by detector name, nothing if no image could be read.

    Attributes:
      images: The number of rows.
      failed: The path of each image that could not be read, and the reason.
      scores: float32 [n], the scores of the others in their order; {} for a job that
        was finished before.
      called_ood: The fraction of them that is called OOD.
      drift: Their windows.
      discovered: Number called OOD at the false discovery rate that was asked for.
    """

    images: int
    failed: Sequence[tuple[str, str]]
    scores: dict[str, np.ndarray]
    called_ood: dict[str, float]
    drift: dict[str, list[drift.Drift]]
    discovered: dict[str, int] = dataclasses.field(default_factory=dict)


def read(folder: pathlib.Path, job: Mapping[str, Any]) -> ScoreResults | None:
    """Returns this very job's earlier results; None if the folder is not its own.

    Args:
      folder: The folder of its results.
      job: The images, the detector and the settings, JSON values.
    """
    summary = _summary(folder)
    if summary is None or summary["job"] != json.loads(json.dumps(job)):
        return None
    failed = []
    if summary["failed"]:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            failed = [(r[table.PATH], r[table.ERROR]) for r in rows if r[table.ERROR]]
    windows = {
        name: [drift.Drift(**window) for window in some]
        for name, some in summary["drift"].items()
    }
    return ScoreResults(
        summary["images"],
        failed,
        {},
        summary["called_ood"],
        windows,
        summary.get("discovered", {}),
    )


def check_new(folder: str | os.PathLike[str]) -> None:
    """Refuses, before anything is opened, a folder that no scoring job has written.

    Raises:
      FileExistsError: The folder exists and is none.
      OSError: It cannot be written.
    """
    if _summary(pathlib.Path(folder)) is None:
        atomic_files.check_new(folder)


def _summary(folder: pathlib.Path) -> dict[str, Any] | None:
    try:
        summary = json.loads((folder / SUMMARY).read_text())
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and "job" in summary else None
