"""JSON files that reveal if they were cut short or changed by hand.

A file says its format and version and carries the SHA-256 of its content.
"""

import hashlib
import json
import pathlib
from typing import Any

from jood import version


def write(path: pathlib.Path, kind: str, number: int, content: dict[str, Any]) -> None:
    """Writes JSON values with the name and version of their format and a checksum."""
    plain = json.loads(json.dumps({"format": kind, "version": number, **content}))
    plain["sha256"] = _checksum(plain)
    path.write_text(json.dumps(plain, indent=2) + "\n")


def read(
    path: pathlib.Path,
    kind: str,
    number: int,
    *,
    what: str = "",
    advice: str = "Write it again with the job that made it.",
) -> dict[str, Any]:
    """Reads what `write` wrote.

    Args:
      path: The file.
      kind: The name of the format.
      number: The format's version.
      what: Name of such a file, for errors; else the format's name.
      advice: Sentence on how to get the file again, for the error of a changed one.

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: The file is truncated, was changed, or has another format or version.
    """
    try:
        content = json.loads(path.read_text())
        checksum = content.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        message = f"{path} is truncated or no {what or kind}: {error!r}."
        raise ValueError(message) from None
    header = content.get("format"), content.get("version")
    if header != (kind, number):
        raise ValueError(
            f"{path} has format {header[0]!r} version {header[1]!r}; this jood "
            f"({version.VERSION}) reads {kind!r} version {number}."
        )
    if _checksum(content) != checksum:
        raise ValueError(
            f"{path} was changed by hand after it was written: its content does not "
            f"match its SHA-256. {advice}"
        )
    return content


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
