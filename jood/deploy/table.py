"""The table of scored images: a row each, as CSV or Parquet.

    path,class,score,threshold,is_ood,p_value,error
    traffic/0001.jpg,bee,7.12,3.4,false,0.31,
    traffic/0002.jpg,,,3.4,,,its content is of none of the formats ...

Of a bundle, `score` to `p_value` stand there once per detector, as 'score_NAME'. What
could not be read has an error and no score.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
import os
import pathlib
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
from pyarrow import csv as pa_csv
from pyarrow import parquet

from jood.detector import SINGLE
from jood.detector.calibration import Calibration
from jood.detector.streaming import Scored

PATH, CLASS, ERROR = "path", "class", "error"
_OF_SCORE = ("score", "threshold", "is_ood", "p_value")
_FLAG = {True: "true", False: "false"}


def columns(names: Iterable[str]) -> list[str]:
    """Returns the columns of a table for detectors of these names."""
    own = [column(name, what) for name in names for what in _OF_SCORE]
    return [PATH, CLASS, *own, ERROR]


def column(name: str, what: str) -> str:
    """Returns the column of a detector's 'score', 'threshold', 'is_ood', 'p_value'."""
    return what if name == SINGLE else f"{what}_{name}"


def rows(
    scored: Scored,
    names: Sequence[str],
    calibration: Calibration,
    class_names: Sequence[str] | None,
) -> list[list[str]]:
    """Returns the rows of a batch as texts that give back every float32.

    Args:
      scored: what the detector gave for the batch.
      names: of its images.
      calibration: of the detector.
      class_names: one per class; None prints numbers.
    """
    p_values = calibration.p_values(scored.scores)
    thresholds = calibration.thresholds()
    found = []
    for i, path in enumerate(names):
        reason = scored.skipped.get(scored.first + i, "")
        row = [path, "" if reason else _class(scored.prediction[i], class_names)]
        for name in calibration.scores:
            score, threshold = scored.scores[name][i], thresholds[name]
            if reason:
                row += ["", f"{threshold:.9g}", "", ""]
                continue
            row += [
                f"{score:.9g}",
                f"{threshold:.9g}",
                _FLAG[bool(score < threshold)],
                f"{p_values[name][i]:.9g}",
            ]
        found.append([*row, reason])
    return found


def broken_rows(broken: Mapping[str, str], calibration: Calibration) -> list[list[str]]:
    """Returns a row for each archive that ends before its end."""
    width = len(columns(calibration.scores)) - 2
    return [[path, *[""] * width, reason] for path, reason in broken.items()]


def write(path: pathlib.Path, table: Iterable[Sequence[str]]) -> None:
    """Writes rows as CSV; the file appears complete or not at all.

    Raises:
      OSError: the disk is full or gone; the message says what to do.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Names of files need not be text; what is none is written as \xNN.
        with partial.open("w", newline="", errors="backslashreplace") as file:
            _writer(file).writerows(table)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. Parts that were written "
            "before are kept: mend that (free space) and give the same command again."
        ) from error


def join(parts: Iterable[pathlib.Path], path: pathlib.Path, head: list[str]) -> None:
    """Writes one CSV file with a head from parts without one."""
    with path.open("w", newline="") as file:
        _writer(file).writerow(head)
        for part in parts:
            with part.open(newline="") as source:
                for line in source:
                    file.write(line)


def read_column(path: pathlib.Path, name: str) -> list[str]:
    """Returns a column of a table, a text per row."""
    with path.open(newline="") as file:
        reader = csv.reader(file)
        place = next(reader).index(name)
        return [row[place] for row in reader]


def to_parquet(path: pathlib.Path, target: pathlib.Path) -> None:
    """Writes a CSV table as Parquet, with types, a block at a time."""
    with path.open(newline="") as file:
        head = next(csv.reader(file))
    types = {name: _kind(name) for name in head}
    reader = pa_csv.open_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=types, strings_can_be_null=False
        ),
    )
    with parquet.ParquetWriter(target, reader.schema) as writer:
        for block in reader:
            writer.write_batch(block)


def as_scores(texts: Sequence[str]) -> np.ndarray:
    """Returns the scores of a column, float32, without the rows that have none."""
    return np.array([text for text in texts if text], np.float32)


def _kind(name: str) -> pa.DataType:
    if name in (PATH, CLASS, ERROR):
        return pa.string()
    if name.startswith("is_ood"):
        return pa.bool_()
    return pa.float32() if name.startswith("score") else pa.float64()


def _class(label: Any, class_names: Sequence[str] | None) -> str:
    return str(int(label)) if class_names is None else class_names[int(label)]


def _writer(file: TextIO) -> Any:
    return csv.writer(file, lineterminator="\n")
