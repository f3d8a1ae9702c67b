"""Scores of a list of images, in parts that any worker may make at any time.

The list is cut into shards, ranges of its rows. A shard's scores are one Parquet file
that is named by the shard's number and appears whole or not at all. So it does not
matter which worker makes it, nor how often one dies: an image is in the output once,
and the same job, started again, makes what is missing. A scheduler such as Ray
(`launch/score_ray.py`) decides who makes which shard when, and nothing else.

In the folder of the output:

    plan.json      what is scored by what, to refuse to go on with another job
    images.parquet the list, if a folder of images was given
    parts/         part-000000.parquet, ...: the list's columns and the scores
    summary.json   counts, when all is done
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import socket
import time
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet

from jood._utils import arguments
from jood._utils import atomic_files
from jood._utils import checked_json
from jood.data.sources import file_lists
from jood.deploy.scorer import Scorer
from jood.detector import saving

FORMAT, VERSION = "jood.scores", 1
PLAN, LIST, PARTS = "plan.json", "images.parquet", "parts"
SUMMARY, CSV = "summary.json", "scores.csv"
_KEY = b"jood"  # of a part's counts, in the metadata of its schema


class Shard(NamedTuple):
    """Rows [start, stop) of one file of the list."""

    number: int
    file: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """A job: pickles, and says everything that a worker has to know.

    Attributes:
      output: folder of the job, which all workers see.
      scorer: of the images in the list's column `scorer.column`.
      files: Parquet files of the list, with their numbers of rows.
      shard_size: rows of a shard; a file's last one may have fewer.
    """

    output: str
    scorer: Scorer
    files: tuple[tuple[str, int], ...]
    shard_size: int

    def shards(self) -> list[Shard]:
        """Returns all shards, numbered through all files."""
        ranges = [
            (file, start, min(start + self.shard_size, rows))
            for file, rows in self.files
            for start in range(0, rows, self.shard_size)
        ]
        return [Shard(number, *rows) for number, rows in enumerate(ranges)]

    def missing(self) -> list[Shard]:
        """Returns the shards whose scores are not there yet."""
        return [shard for shard in self.shards() if not self.part(shard).exists()]

    def part(self, shard: Shard) -> pathlib.Path:
        """Returns the path of a shard's scores."""
        return pathlib.Path(self.output, PARTS, f"part-{shard.number:06d}.parquet")


def plan(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    scorer: Scorer,
    shard_size: int,
) -> Plan:
    """Starts a job, or finds one to go on with.

    Args:
      images: a folder of images; or a Parquet file, or folder of such files, with a
        column of paths, absolute or relative to its folder, or of images.
      output: a new folder, or that of this very job.
      scorer: what scores them; of a folder of images the column is 'path'.
      shard_size: images of a shard: what a worker loses at most when it dies.

    Raises:
      FileNotFoundError: there are no such images or no such detector.
      FileExistsError: the output holds another job.
      ValueError: the list is empty or lacks the column.
    """
    arguments.check_count("shard_size", shard_size)
    root, output = pathlib.Path(images).resolve(), pathlib.Path(output).resolve()
    files = _parquet_files(root)
    listed = output / LIST
    if not files and not listed.exists():
        names = [str(root / name) for name in file_lists.images(root)]
        output.mkdir(parents=True, exist_ok=True)
        with atomic_files.atomic_file(listed) as partial:
            parquet.write_table(pa.table({scorer.column: names}), partial)
    rows = [(str(f), _rows(f, scorer.column)) for f in files or [listed]]
    if not sum(count for _, count in rows):
        raise ValueError(f"{root} lists no image.")
    job = Plan(str(output), scorer, tuple(rows), shard_size)
    _write_or_check(job, root)
    return job


def score(job: Plan, shard: Shard) -> dict[str, Any]:
    """Scores a shard and writes its part, unless that is there.

    Returns:
      Its counts: 'images', 'unreadable' of them, the columns that begin with 'is_ood'
      (how many are), 'seconds' and 'process' (host and number).

    Raises:
      ValueError: no image of a whole shard can be read, as where a worker does not
        see the images' folder; or as `Scorer`.
    """
    path = job.part(shard)
    if path.exists():
        return _counts(parquet.read_schema(path))
    began = time.perf_counter()
    table = _read(shard)
    images = table[job.scorer.column].to_pylist()
    folder = os.path.dirname(shard.file)
    cells = [os.path.join(folder, i) if isinstance(i, str) else i for i in images]
    batch = {**dict.fromkeys(table.column_names), job.scorer.column: cells}
    found = job.scorer(batch)
    added = {name: found[name] for name in found if name not in table.column_names}
    unreadable = [error for error in added["error"] if error]
    if len(unreadable) == job.shard_size:
        raise ValueError(
            f"none of the {len(unreadable)} images of rows {shard.start} to "
            f"{shard.stop} of {shard.file} can be read; the first: {unreadable[0]}. "
            "Does every worker see their folder?"
        )
    if not pa.types.is_string(table[job.scorer.column].type):
        table = table.drop_columns(job.scorer.column)  # images, which are there already
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    counts = {
        "images": len(images),
        "unreadable": len(unreadable),
        **{n: int(v.sum()) for n, v in added.items() if n.startswith("is_ood")},
        "seconds": round(time.perf_counter() - began, 3),
        "process": f"{socket.gethostname()} {os.getpid()}",
    }
    table = table.replace_schema_metadata({_KEY: json.dumps(counts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_files.atomic_file(path) as partial:
        parquet.write_table(table, partial)
    return counts


def finish(job: Plan, as_csv: bool = False) -> dict[str, Any]:
    """Checks that every image is in the output once, and writes the summary.

    Args:
      job: of which all shards are scored.
      as_csv: whether to write all scores into one CSV file, too.

    Returns:
      The sums of the shards' counts.

    Raises:
      ValueError: a part is missing or has another number of rows.
    """
    total: dict[str, Any] = {}
    for shard in job.shards():
        path = job.part(shard)
        if not path.exists():
            raise ValueError(
                f"{path} is missing, so the job is not done; start it again."
            )
        metadata = parquet.read_metadata(path)
        if metadata.num_rows != shard.stop - shard.start:
            raise ValueError(
                f"{path} has {metadata.num_rows} rows instead of "
                f"{shard.stop - shard.start}. Delete it and start the job again."
            )
        counts = _counts(metadata.schema.to_arrow_schema())
        for name in counts.keys() - {"process"}:
            total[name] = total.get(name, 0) + counts[name]
    output = pathlib.Path(job.output)
    for left in (output / PARTS).glob(".part-*"):  # by workers that were killed
        shutil.rmtree(left, ignore_errors=True)
    if as_csv:
        _write_csv(job, output / CSV)
    with atomic_files.atomic_file(output / SUMMARY) as partial:
        partial.write_text(json.dumps(total, indent=2) + "\n")
    return total


def _parquet_files(root: pathlib.Path) -> list[pathlib.Path]:
    if root.is_dir():
        return sorted(root.glob("*.parquet"))
    if not root.exists():
        raise FileNotFoundError(f"there is no {root}.")
    return [root]


def _rows(file: pathlib.Path, column: str) -> int:
    """The number of rows of a file of the list, which must have the column."""
    try:
        metadata = parquet.read_metadata(file)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{file} is no Parquet file: {error}. Give a folder of images, or a "
            "Parquet file (or a folder of them) with a column of paths."
        ) from None
    names = metadata.schema.to_arrow_schema().names
    if column not in names:
        raise ValueError(
            f"{file} has no column {column!r}, only {names}. Name that of the images: "
            "--column."
        )
    return metadata.num_rows


def _read(shard: Shard) -> pa.Table:
    """The rows of a shard; of the file, only the row groups that hold them."""
    with parquet.ParquetFile(shard.file) as file:
        ends = np.cumsum(
            [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        )
        first = int(np.searchsorted(ends, shard.start, side="right"))
        last = int(np.searchsorted(ends, shard.stop, side="left"))
        table = file.read_row_groups(range(first, last + 1))
    before = int(ends[first - 1]) if first else 0
    return table.slice(shard.start - before, shard.stop - shard.start)


def _write_or_check(job: Plan, root: pathlib.Path) -> None:
    """Writes what the job is, or raises FileExistsError if another one is there."""
    content = {
        "images": str(root),
        "column": job.scorer.column,
        "detector": _detector_digest(job.scorer.path),
        "files": [list(file) for file in job.files],
        "shard_size": job.shard_size,
    }
    path = pathlib.Path(job.output, PLAN)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.atomic_file(path) as partial:
            checked_json.write(partial, FORMAT, VERSION, content)
        return
    there = checked_json.read(path, FORMAT, VERSION, advice="Choose another --output.")
    differ = [name for name in content if there[name] != content[name]]
    if differ:
        raise FileExistsError(
            f"{job.output} holds scores of another job, with other "
            f"{', '.join(differ)}, and is not mixed with this one. Choose another "
            "--output, or delete that folder."
        )


def _detector_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of an exported detector, or of a saved one's JSON, which has more."""
    file = pathlib.Path(path)
    if file.is_dir():
        file = file / saving.JSON_NAME
    if not file.is_file():
        raise FileNotFoundError(f"there is no detector {path}.")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _counts(schema: pa.Schema) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    return found


def _write_csv(job: Plan, path: pathlib.Path) -> None:
    parts = [job.part(shard) for shard in job.shards()]
    schema = parquet.read_schema(parts[0]).remove_metadata()
    with (
        atomic_files.atomic_file(path) as partial,
        csv.CSVWriter(partial, schema) as writer,
    ):
        for part in parts:
            writer.write_table(parquet.read_table(part).cast(schema))
