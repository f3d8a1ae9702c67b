"""Scores a list of images with any number of workers, shard by shard.

The list is cut into ranges of its rows, and a worker scores a range and writes it as a
shard (`jood.deploy.shards`). A scheduler such as Ray (`launch/score_ray.py`) decides
which worker scores what when, and nothing else. Beside the shards the output's folder
gets

    images.parquet   the list, if a folder of images was given
    summary.json     counts, when all is done
    scores.csv       all shards in one file, on request
"""

import collections
import dataclasses
import json
import os
import pathlib
import socket
import time
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet

from jood._utils import arguments
from jood._utils import atomic_files
from jood._utils import csv_text
from jood._utils import unicode_text
from jood.data.sources import file_lists
from jood.deploy import shards as shards_lib
from jood.deploy.scorer import Scorer
from jood.detector import saving

LIST, SUMMARY, CSV = "images.parquet", "summary.json", "scores.csv"
_KEY = b"jood"  # of a shard's counts, in the metadata of its schema
_BYTES = "path in bytes"  # the list's column of names, if some are not Unicode


class Rows(NamedTuple):
    """Rows [start, stop) of one file of the list."""

    file: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class ClusterJob:
    """A job: pickles, and says everything that a worker has to know.

    Attributes:
      output: The folder of the job, which all workers see.
      scorer: Scorer of the images in the list's column `scorer.column`.
      shard_size: Images of a shard; the last one of a file may have fewer.
      rows: Rows that each shard scores.
    """

    output: str
    scorer: Scorer
    shard_size: int
    rows: tuple[Rows, ...]

    @property
    def shards(self) -> shards_lib.Shards:
        """The files of the scores."""
        sizes = tuple(rows.stop - rows.start for rows in self.rows)
        return shards_lib.Shards(self.output, sizes)


def plan(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    scorer: Scorer,
    shard_size: int,
) -> ClusterJob:
    """Starts a job or resumes one.

    Args:
      images: A folder of images; or a Parquet file, or folder of such files, with a
        column of paths, absolute or relative to its folder, or of images.
      output: A new folder, or that of this very job.
      scorer: Scorer of the images; for a folder of images the column is 'path'.
      shard_size: Images of a shard: what a worker loses at most when it dies.

    Raises:
      FileNotFoundError: There are no such images or no such detector.
      FileExistsError: The output holds another job.
      ValueError: The list is empty or lacks the column.
    """
    arguments.check_count("shard_size", shard_size)
    root, output = pathlib.Path(images).resolve(), pathlib.Path(output).resolve()
    files, listed = _parquet_files(root), output / LIST
    names = []
    if files or listed.exists():
        rows = {str(f): _count(f, scorer.column) for f in files or [listed]}
    else:
        names = [str(root / name) for name in file_lists.candidates(root)]
        rows = {str(listed): len(names)}
    if not any(rows.values()):
        raise ValueError(f"{root} lists no image.")
    cut = [
        Rows(file, *part)
        for file, count in rows.items()
        for part in shards_lib.cut(count, shard_size)
    ]
    job = ClusterJob(str(output), scorer, shard_size, tuple(cut))
    job.shards.claim(
        {
            "images": str(root),
            "column": scorer.column,
            "detector": saving.identity(scorer.path),
            "files": [list(file) for file in rows.items()],
            "shard_size": shard_size,
        }
    )
    if names:
        shown = list(map(unicode_text.encodable, names))
        content: dict[str, Any] = {scorer.column: shown}
        if shown != names:  # Parquet's texts are Unicode
            content[_BYTES] = list(map(os.fsencode, names))
        with atomic_files.atomic_file(listed) as partial:
            parquet.write_table(pa.table(content), partial)
    return job


def score(job: ClusterJob, number: int) -> dict[str, Any]:
    """Scores a shard and writes it, unless it is there already.

    Returns:
      Its counts: 'images', how many of them are 'unreadable', how many are OOD by each
      column that begins with 'is_ood', 'seconds' and 'process' (host and number).

    Raises:
      ValueError: No image of a whole shard can be read, as where a worker does not
        see the images' folder; or as `Scorer`.
    """
    path, rows = job.shards.path(number), job.rows[number]
    if path.exists():
        return _counts(path)
    began = time.perf_counter()
    table = _read(rows)
    images = table[job.scorer.column].to_pylist()
    if _BYTES in table.column_names:
        images = list(map(os.fsdecode, table[_BYTES].to_pylist()))
        table = table.drop_columns(_BYTES)
    folder = os.path.dirname(rows.file)
    cells = [os.path.join(folder, i) if isinstance(i, str) else i for i in images]
    batch = {**dict.fromkeys(table.column_names), job.scorer.column: cells}
    scored = job.scorer(batch)
    added = {name: scored[name] for name in scored if name not in table.column_names}
    added["error"] = np.array(list(map(unicode_text.encodable, added["error"])), object)
    unreadable = [error for error in added["error"] if error]
    if len(unreadable) == job.shard_size:
        raise ValueError(
            f"none of the {len(unreadable)} images of rows {rows.start} to "
            f"{rows.stop} of {rows.file} can be read; the first: {unreadable[0]}. "
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
    job.shards.write(number, table)
    return counts


def finish(job: ClusterJob, as_csv: bool = False) -> dict[str, Any]:
    """Checks that every image is in the output once, and writes the summary.

    Args:
      job: A job whose shards are all scored.
      as_csv: Whether to write all scores into one CSV file, too.

    Returns:
      The sums of the shards' counts.

    Raises:
      ValueError: A shard is missing or has another number of rows.
    """
    output, shards = pathlib.Path(job.output), job.shards
    shards.check()
    total: collections.Counter[str] = collections.Counter()
    for number in range(len(job.rows)):
        counts = _counts(shards.path(number))
        total.update({n: count for n, count in counts.items() if n != "process"})
    if as_csv:
        schema = parquet.read_schema(shards.path(0)).remove_metadata()
        with (
            atomic_files.atomic_file(output / CSV) as partial,
            csv.CSVWriter(partial, schema) as writer,
        ):
            for table in shards.tables():
                writer.write_table(_safe(table.cast(schema), job.scorer.column))
    with atomic_files.atomic_file(output / SUMMARY) as partial:
        partial.write_text(json.dumps(total, indent=2) + "\n")
    return dict(total)


def _parquet_files(root: pathlib.Path) -> list[pathlib.Path]:
    if root.is_dir():
        return sorted(root.glob("*.parquet"))
    if not root.exists():
        raise FileNotFoundError(f"there is no {root}.")
    return [root]


def _count(file: pathlib.Path, column: str) -> int:
    """The number of rows of a file of the list, which must have the column."""
    try:
        metadata = parquet.read_metadata(file)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{file} is not a Parquet file: {error}. Give a folder of images, or a "
            "Parquet file (or a folder of them) with a column of paths."
        ) from None
    names = metadata.schema.to_arrow_schema().names
    if column not in names:
        raise ValueError(
            f"{file} has no column {column!r}, only {names}. Name that of the images: "
            "--column."
        )
    return metadata.num_rows


def _read(rows: Rows) -> pa.Table:
    """The rows themselves; only the row groups that hold them are read."""
    with parquet.ParquetFile(rows.file) as file:
        ends = np.cumsum(
            [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        )
        first = int(np.searchsorted(ends, rows.start, side="right"))
        last = int(np.searchsorted(ends, rows.stop, side="left"))
        table = file.read_row_groups(range(first, last + 1))
    before = int(ends[first - 1]) if first else 0
    return table.slice(rows.start - before, rows.stop - rows.start)


def _safe(table: pa.Table, column: str) -> pa.Table:
    """A table whose paths no spreadsheet takes for formulas."""
    place = table.column_names.index(column) if column in table.column_names else -1
    if place < 0 or not pa.types.is_string(table[column].type):
        return table
    paths = [name and csv_text.path(name) for name in table[column].to_pylist()]
    return table.set_column(place, table.schema.field(place), pa.array(paths))


def _counts(path: pathlib.Path) -> dict[str, Any]:
    metadata = parquet.read_schema(path).metadata or {}
    return json.loads(metadata.get(_KEY, b"{}"))
