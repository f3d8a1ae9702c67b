"""The text of a job's --help: what it does, an example, and a line per flag."""

from collections.abc import Iterable
import inspect
import re
import shutil
import textwrap
from typing import Any

from jood._utils import broken_pipe

_WIDEST = 100  # columns


def show(docstring: str, flags: Iterable[Any]) -> None:
    """Prints the help of a job; a reader that stops, such as `head`, ends it."""
    broken_pipe.end_quietly()
    print(job_help(docstring, flags))


def job_help(docstring: str, flags: Iterable[Any]) -> str:
    """Returns the help of a job: its module's docstring, and its absl flags."""
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    title = "flags (--helpfull explains them at length; --flagfile=FILE reads them):"
    lines = [_line(flag, width) for flag in sorted(flags, key=lambda f: f.name)]
    return "\n".join([inspect.cleandoc(docstring), "", title, *lines])


def _line(flag: Any, width: int) -> str:
    default = (flag.default_as_str or "").strip("'")
    name = f"  --{flag.name}" + (f"={default}" if default else "")
    first = " ".join((flag.help or "").split())
    first = re.sub(r"^<[^>]{40,}>: ", "", first)  # absl lists an enum's values
    space = width - max(len(name), 30) - 2
    return f"{name:30}  {textwrap.shorten(first, max(space, 20), placeholder=' ...')}"
