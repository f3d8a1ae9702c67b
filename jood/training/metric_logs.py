"""What a run tells while it trains: CSV files, TensorBoard events, and the log.

`train.csv` has a row every few steps, `validation.csv` one per validation; a resumed
run continues both without a row twice.
"""

from collections.abc import Mapping
import contextlib
import csv
import os
import pathlib
from typing import Any

from jood._utils import atomic_files

TRAIN, VALIDATION = "train", "validation"


class Log(contextlib.ExitStack):
    """Writes the rows of one run; use it as a context manager.

    Args:
      folder: The run's folder.
      start: The step that the run resumes from; what was logged later is forgotten.
      writes: Whether to write at all; of several processes the first one does.
    """

    def __init__(self, folder: str | os.PathLike[str], start: int, writes: bool = True):
        super().__init__()
        self._folder, self._start = pathlib.Path(folder), start
        self._files: dict[str, Any] = {}
        self._events: Any = None
        if writes:
            from tensorboardX import SummaryWriter  # takes a second to import

            # Readers drop what an earlier process logged after this step.
            self._events = SummaryWriter(str(folder), purge_step=start + 1)
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
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, step)
            self._events.flush()  # else a killed process takes two minutes with it
        except OSError as error:
            raise OSError(
                f"cannot write the log in {self._folder}: {error.strerror or error}. "
                "Free space or make it writable; the same command goes on."
            ) from error

    def _opened(self, kind: str, columns: list[str]) -> tuple[Any, Any]:
        """Opens a file with the rows up to the start, which were complete."""
        path = self._folder / f"{kind}.csv"
        kept = read(path, self._start) if self._start and path.exists() else []
        with (
            atomic_files.atomic_file(path) as partial,
            partial.open("w", newline="") as begun,
        ):
            writer = csv.DictWriter(begun, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        file = self.enter_context(path.open("a", newline=""))
        return file, csv.DictWriter(file, columns, extrasaction="ignore")


def read(path: str | os.PathLike[str], last: int | None = None) -> list[dict[str, Any]]:
    """Returns the rows of a log, text by column, up to a step; skips one cut short."""
    with pathlib.Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if None not in row.values() and row["step"].isdigit()]
    return [row for row in whole if last is None or int(row["step"]) <= last]
