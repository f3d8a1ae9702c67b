"""`--help` of a job on one screen: what it does, an example, a line per flag."""

import inspect
import re
import shutil
import textwrap
from typing import Any

from absl import flags

_WIDEST = 100


def asked(arguments: list[str]) -> bool:
    """Whether the arguments ask for help; `--helpfull` is absl's own, and long."""
    return any(one in ("--help", "-h", "-help", "--helpshort") for one in arguments)


def text(docstring: str, module: str) -> str:
    """Returns the help of a job.

    Args:
      docstring: of its module: what it does, and an example.
      module: the module's name, as absl knows it.
    """
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    found = list(flags.FLAGS.get_key_flags_for_module(module))
    if "dry_run" in flags.FLAGS:  # that of `jood.cli`
        found.append(flags.FLAGS["dry_run"])
    lines = [_line(flag, width) for flag in sorted(found, key=lambda flag: flag.name)]
    return "\n".join(
        [
            inspect.cleandoc(docstring),
            "",
            "flags (--helpfull explains them at length; --flagfile=FILE reads them):",
            *lines,
        ]
    )


def _line(flag: Any, width: int) -> str:
    default = (flag.default_as_str or "").strip("'")
    name = f"  --{flag.name}" + (f"={default}" if default else "")
    first = " ".join((flag.help or "").split())
    first = re.sub(r"^<[^>]{40,}>: ", "", first)  # absl lists an enum's values
    space = width - max(len(name), 30) - 2
    return f"{name:30}  {textwrap.shorten(first, max(space, 20), placeholder=' ...')}"
