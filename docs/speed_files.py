"""What measuring jobs wrote: the files speed_NAME.json of docs/results/data/.

`make_speed.py` and `make_scaling.py` read their numbers here.
"""

from collections.abc import Mapping
import json
import pathlib
from typing import Any

DATA = pathlib.Path(__file__).resolve().parent / "results" / "data"

Files = Mapping[str, Mapping[str, Any]]


def read() -> Files:
    """Returns the contents of all files by their names, 'speed_knn' for example."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(DATA.glob("speed_*.json"))
    }


def number(
    files: Files, name: str, where: Mapping[str, Any], column: str
) -> float | None:
    """Returns a number of a file, None without the file.

    Args:
      files: The contents that `read` returns.
      name: The file, such as 'speed_knn'.
      where: The cells by which one row is known.
      column: The column of the number.

    Raises:
      ValueError: Not exactly one row has these cells and this column.
    """
    if name not in files:
        return None
    rows = [
        row
        for row in files[name]["rows"]
        if column in row and where.items() <= row.items()
    ]
    if len(rows) != 1:
        raise ValueError(
            f"{name}.json: expected one row with {dict(where)} and the column "
            f"{column!r}, got {len(rows)}. Mend the file, or what asks for the row."
        )
    return rows[0][column]
