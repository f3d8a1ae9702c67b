"""What a run logs while it trains: CSV files, TensorBoard events, and the log.

`train.csv` has a row every few steps, `validation.csv` one per validation; a resumed
run continues both without a row twice.
"""

from collections.abc import Mapping
import contextlib
import csv
import os
import pathlib
import time
from typing import Any

from jood._utils import atomic_files

TRAIN, VALIDATION = "train", "validation"


class Log(contextlib.ExitStack):
    """Writes the rows of one run; use it as a context manager.

    Args:
      folder: The run's folder.
      start: The step that the run resumes from; later rows are dropped.
      writes: Whether to write at all; with several processes, only the first one does.
    """

    def __init__(self, folder: str | os.PathLike[str], start: int, writes: bool = True):
        super().__init__()
        self._folder, self._start = pathlib.Path(folder), start
        self._files: dict[str, Any] = {}
        self._events: Any = None
        if writes:
            self._events = _Events(folder, start + 1)
            self.callback(self._events.close)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Appends a row to the log of a kind; raises OSError if that fails."""
        if self._events is None:
            return
        try:
            if kind not in self._files:
                self._files[kind] = self._opened(kind, ["step", *values])
            file, writer = self._files[kind]
            writer.writerow({"step": step, **values})
            file.flush()
            self._events.write(step, {f"{kind}/{k}": v for k, v in values.items()})
        except OSError as error:
            raise OSError(
                f"cannot write the log in {self._folder}: {error.strerror or error}. "
                "Free space or make it writable; the same command resumes."
            ) from error

    def _opened(self, kind: str, columns: list[str]) -> tuple[Any, Any]:
        """Opens a file with the rows up to the start, which were complete."""
        path = self._folder / f"{kind}.csv"
        kept = read(path, self._start) if self._start and path.exists() else []
        with (
            atomic_files.atomic_file(path) as partial,
            partial.open("w", newline="") as new_file,
        ):
            writer = csv.DictWriter(new_file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        file = self.enter_context(path.open("a", newline=""))
        return file, csv.DictWriter(file, columns, extrasaction="ignore")


class _Events:
    """TensorBoard's file of events, written when `write` returns.

    tensorboardX's SummaryWriter leaves that to a thread, and its `flush` does not wait
    for it: a process that is killed would take the last row with it.
    """

    def __init__(self, folder: str | os.PathLike[str], first: int):
        from tensorboardX import event_file_writer  # takes a second to import
        from tensorboardX import summary
        from tensorboardX.proto import event_pb2

        self._event, self._scalar = event_pb2.Event, summary.scalar
        self._file = event_file_writer.EventsWriter(os.path.join(folder, "events"))
        # Readers drop what an earlier process logged from this step on.
        log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(first, session_log=log)
        self.close = self._file.close

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends scalars by tag."""
        for tag, value in scalars.items():
            self._write(step, summary=self._scalar(tag, value))
        self._file.flush()

    def _write(self, step: int, **content: Any) -> None:
        self._file.write_event(self._event(step=step, wall_time=time.time(), **content))


def read(path: str | os.PathLike[str], last: int | None = None) -> list[dict[str, Any]]:
    """Returns the rows of a log, text by column, up to a step; skips one cut short."""
    with pathlib.Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if None not in row.values() and row["step"].isdigit()]
    return [row for row in whole if last is None or int(row["step"]) <= last]
