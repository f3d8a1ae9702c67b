"""The folder of a run: what belongs to it, and the network in it, for others to read.

config.json      what the run is; no other run may use the folder
120/, 240/       checkpoints by step (`jood.training.checkpoints`)
train.csv, validation.csv, events.*      the log (`jood.training.metric_logs`)
starts.jsonl     a line per start: versions, devices, the step
"""

from collections.abc import Mapping
import datetime
import json
import pathlib
from typing import Any

import jax

from jood._utils import atomic_files
from jood._utils import provenance
from jood.training.config import TrainConfig
from jood.weights import run_checkpoint

STARTS = "starts.jsonl"


def claim(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Claims a folder for a run, or checks that it already belongs to it.

    A run that has no checkpoint yet has nothing to lose, so that another takes its
    place: a command with a mistake in it can be mended and given again.

    Raises:
      ValueError: it belongs to a run with another configuration; all differences are
        listed. Or it holds checkpoints, and nothing says of which run.
      OSError: it cannot be written.
    """
    path = folder / run_checkpoint.CONFIG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(entry.name[:1].isdigit() for entry in folder.iterdir()):
            with atomic_files.atomic_file(path) as partial:
                partial.write_text(json.dumps(config, indent=2) + "\n")
    except OSError as error:
        raise not_writable(folder, error) from error
    if not path.exists():
        raise ValueError(
            f"{folder} holds checkpoints but no {run_checkpoint.CONFIG}, so it "
            "is unknown which run they belong to. Restore the file, or "
            "choose another --workdir."
        )
    # What an older jood did not know of has the value that it has by default.
    found = {**TrainConfig().as_json(), **run_checkpoint.read_config(folder)}
    config = json.loads(json.dumps(config))
    differ = [
        f"{k}: there {found.get(k)!r}, now {config.get(k)!r}"
        for k in sorted(found.keys() | config.keys())
        if found.get(k) != config.get(k)
    ]
    if differ:
        raise ValueError(
            f"{folder} belongs to a run with another configuration "
            f"({'; '.join(differ)}). Choose another --workdir or delete that folder."
        )


def note_start(folder: pathlib.Path, step: int) -> None:
    """Appends to `starts.jsonl` what a part of a run computes with, and since when.

    Raises:
      OSError: the folder cannot be written.
    """
    start = {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": step,
        "devices": jax.device_count(),
        "kind": jax.devices()[0].device_kind,
        "processes": jax.process_count(),
        "versions": provenance.versions(),
    }
    try:
        with (folder / STARTS).open("a") as file:
            file.write(json.dumps(start) + "\n")
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: pathlib.Path, error: OSError) -> OSError:
    """Returns the error that says which folder could not be written, and why."""
    return OSError(
        f"cannot write to the run's folder {folder}: {error.strerror or error}. Choose "
        "another --workdir, or make it writable."
    )
