"""Rows as the text of a CSV file that every reader splits into the same cells.

Cells are quoted where they hold a comma, a quote, a line feed or a carriage return
(which Python's own writer leaves bare, so that readers see two rows).
"""

from collections.abc import Iterable, Sequence
import csv
import io
from typing import Any, TextIO

from jood._utils import unicode_text

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for one


class Writer:
    """Writes rows to a file that was opened with newline=''."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.writer(self, lineterminator="\r\n")  # quotes both

    def writerow(self, row: Iterable[Any]) -> None:
        """Writes a row, which ends with a line feed."""
        self._writer.writerow(row)

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Writes rows."""
        self._writer.writerows(rows)

    def write(self, line: str) -> int:
        """Takes a line from Python's writer."""
        return self._file.write(
            unicode_text.encodable(line.removesuffix("\r\n")) + "\n"
        )


def joined(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a header and rows as CSV, a line each."""
    stream = io.StringIO(newline="")
    Writer(stream).writerows([header, *rows])
    return stream.getvalue()


def path(name: str) -> str:
    """Returns the path of a file as a cell that no spreadsheet takes for a formula.

    It is still a path of that file: '=1.png' becomes './=1.png'.
    """
    safe = f"./{name}" if name.startswith(_FORMULAS) else name
    return unicode_text.encodable(safe)
