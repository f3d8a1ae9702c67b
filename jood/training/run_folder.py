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
import tempfile
from typing import Any

import filelock
import jax

from jood._utils import atomic_files
from jood._utils import provenance
from jood.training.config import TrainConfig
from jood.weights import run_checkpoint

STARTS = "starts.jsonl"


def claim(
    folder: pathlib.Path, config: Mapping[str, Any], lock: filelock.BaseFileLock
) -> None:
    """Claims a folder for a run, or checks that it already belongs to it.

    A run without a checkpoint has nothing to lose, so another one takes its place: a
    command with a mistake in it can be corrected and given again.

    Raises:
      ValueError: It belongs to another run, or to an unknown one.
      OSError: It cannot be written, or another process trains in it.
    """
    path = folder / run_checkpoint.CONFIG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        if any(entry.name[:1].isdigit() for entry in folder.iterdir()):
            tempfile.TemporaryFile(dir=folder).close()  # tries to write
        else:
            with atomic_files.atomic_file(path) as partial:
                partial.write_text(json.dumps(config, indent=2) + "\n")
    except filelock.Timeout:
        raise OSError(
            f"another process is training in {folder}. Wait for it, or choose another "
            "--workdir."
        ) from None
    except OSError as error:
        raise _not_writable(folder, error) from error
    if not path.exists():
        raise ValueError(
            f"{folder} holds checkpoints but no {path.name}, so it is unknown which "
            "run they belong to. Restore the file, or choose another --workdir."
        )
    # A field that an older version of jood did not have has its default value.
    old_config = {**TrainConfig().as_json(), **run_checkpoint.read_config(folder)}
    config = json.loads(json.dumps(config))
    # The checkpoints give the shapes of an architecture that it did not record.
    old_config.setdefault("architecture", config.get("architecture"))
    config = {**dict.fromkeys(sorted(old_config)), **config}
    if differ := changes(old_config, config, "there"):
        raise ValueError(
            f"{folder} belongs to a run with another configuration ({differ}). Choose "
            "another --workdir or delete that folder."
        )


def changes(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> str:
    """Returns in one line the values of `now` that differ from `before`; '' if none."""
    return "; ".join(
        f"{name}: {where} {before.get(name)!r}, now {value!r}"
        for name, value in now.items()
        if before.get(name) != value
    )


def note_start(folder: pathlib.Path, step: int) -> None:
    """Appends to `starts.jsonl` a start: step, versions, devices."""
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
        raise _not_writable(folder, error) from error


def _not_writable(folder: pathlib.Path, error: OSError) -> OSError:
    return OSError(
        f"cannot write to the run's folder {folder}: {error.strerror or error}. Choose "
        "another --workdir, or make it writable."
    )
