"""Rows as the text of a CSV file."""

from collections.abc import Iterable, Sequence
import csv
import io
from typing import Any


def joined(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a header and rows as CSV, a line each."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    return stream.getvalue()
