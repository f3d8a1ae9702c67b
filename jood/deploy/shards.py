"""Jobs that score to files and survive any interruption: a folder of numbered shards.

A job's table is cut into shards, ranges of its rows. Each is one Parquet file that is
named by the shard's number and appears whole or not at all. So it does not matter which
process writes a shard, when, or how often one dies: every row is in the table once, and
the same job, given again, writes what is missing.

    plan.json   the images and the detector; another job in the folder is refused
    parts/      part-000000.parquet, ...

`score_job` fills the shards in order on one machine, `cluster_job` in any order by any
number of workers.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import os
import pathlib
import shutil
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from jood._utils import atomic_files
from jood._utils import checked_json
from jood._utils import folder_lock

FORMAT, VERSION = "jood.scores", 1
PLAN, PARTS = "plan.json", "parts"
_ADVICE = "Delete that folder to start over, or choose another --output."


def cut(rows: int, size: int) -> list[tuple[int, int]]:
    """Returns the ranges [start, stop) of `size` rows; the last may be shorter."""
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of a job.

    Attributes:
      folder: The folder of the job, which all its processes see.
      sizes: The number of rows of each shard.
    """

    folder: str
    sizes: tuple[int, ...]

    def claim(self, job: Mapping[str, Any]) -> None:
        """Makes the folder this job's, or checks that it already is.

        Args:
          job: The images, the detector and the settings, JSON values.

        Raises:
          FileExistsError: The folder holds something else; the message says what
            differs.
          OSError: The folder cannot be written.
        """
        folder = pathlib.Path(self.folder)
        path = folder / PLAN
        if path.exists():
            there = checked_json.read(
                path, FORMAT, VERSION, advice="Delete its folder."
            )
            differ = [name for name, value in job.items() if there.get(name) != value]
            if differ:
                names = ", ".join(f"the {name.replace('_', ' ')}" for name in differ)
                raise FileExistsError(
                    f"{folder} holds scores of another job, which differs from this "
                    f"one in {names}. {_ADVICE}"
                )
            return
        if folder.is_dir() and any(f.name[:1] != "." for f in folder.iterdir()):
            raise FileExistsError(
                f"{folder} holds something other than scores: it has no {PLAN}. "
                f"{_ADVICE}"
            )
        try:
            with atomic_files.atomic_file(path) as partial:
                checked_json.write(partial, FORMAT, VERSION, dict(job))
        except OSError as error:
            raise OSError(
                f"cannot write to {folder}: {error.strerror or error}."
            ) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from working in the folder, which must be claimed.

        Raises:
          OSError: Another one does.
        """
        with folder_lock.held(self.folder) as locked:
            if locked is False:
                raise OSError(
                    f"another process is scoring into {self.folder}. Wait for it, or "
                    "choose another --output."
                )
            yield

    def path(self, number: int) -> pathlib.Path:
        """Returns the file of a shard."""
        return pathlib.Path(self.folder, PARTS, f"part-{number:06d}.parquet")

    def missing(self) -> list[int]:
        """Returns the numbers of the shards that are not written yet."""
        parts = pathlib.Path(self.folder, PARTS)
        there = set(os.listdir(parts)) if parts.is_dir() else ()
        return [n for n in range(len(self.sizes)) if self.path(n).name not in there]

    def write(self, number: int, table: pa.Table) -> None:
        """Writes a shard; if several processes write it, each file is whole.

        Raises:
          OSError: The disk is full or gone; the message says what to do.
        """
        path = self.path(number)
        try:
            with atomic_files.atomic_file(path) as partial:
                parquet.write_table(table, partial)
        except OSError as error:
            raise OSError(
                f"cannot write {path}: {error.strerror or error}. What was written "
                "before is kept: mend that (free space) and give the same command "
                "again."
            ) from error

    def check(self) -> None:
        """Checks that every row is there, and removes what killed processes left.

        Raises:
          ValueError: A shard is missing or has another number of rows.
        """
        for number, rows in enumerate(self.sizes):
            path = self.path(number)
            if not path.exists():
                raise ValueError(
                    f"{path} is missing, so the job is not done; start it again."
                )
            count = parquet.read_metadata(path).num_rows
            if count != rows:
                raise ValueError(
                    f"{path} has {count} rows instead of {rows}. Delete it and start "
                    "the job again."
                )
        for left in pathlib.Path(self.folder, PARTS).glob(".part-*"):
            shutil.rmtree(left, ignore_errors=True)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yields the shards in their order, with all or some of their columns."""
        for number in range(len(self.sizes)):
            yield parquet.read_table(self.path(number), columns=columns)

    def column(self, name: str) -> pa.ChunkedArray:
        """Returns a column of the whole table."""
        return pa.concat_tables(self.tables([name]))[name]
