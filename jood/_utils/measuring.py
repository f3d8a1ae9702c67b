"""What a measuring job tells: what it measured, where, and a table, also as JSON.

The JSON holds "what", "machine", "command", "date" and "rows", a list of objects with
the same keys, and docs/results/speed.md shows the files that lie in docs/results/data/.
"""

import argparse
from collections.abc import Mapping, Sequence
import datetime
import json
import pathlib
import platform
import shlex
import sys
from typing import Any

import jax
import tabulate

from jood._utils import affinity
from jood._utils import atomic_files
from jood._utils import provenance

OUTPUT = "File for the numbers as JSON; else they are only printed."  # help of --output


def report(
    what: str, rows: Sequence[Mapping[str, Any]], output: str | None = None
) -> None:
    """Prints a headline and a table, and writes them to a file if one is named.

    Args:
      what: Headline: the measured work and its sizes, such as '1,000 queries, k = 50'.
      rows: Numbers and texts by column; a row may lack some.
      output: JSON file, which is replaced.
    """
    where = machine()
    print(f"{what}\n{described(where)}\n\n{table(rows)}", flush=True)
    if output is None:
        return
    content = {
        "what": what,
        "machine": where,
        "command": _command(),
        "date": datetime.date.today().isoformat(),
        "rows": [{key: _short(value) for key, value in row.items()} for row in rows],
    }
    with atomic_files.atomic_file(output) as partial:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8")
    print(f"written to {output}")


def table(rows: Sequence[Mapping[str, Any]], style: str = "simple") -> str:
    """Returns rows in a style of `tabulate`, numbers as `cell` writes them."""
    texts = [{key: cell(value) for key, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    numeric = [
        all(isinstance(row.get(key, 0), int | float) for row in rows) for key in columns
    ]
    return tabulate.tabulate(
        [[row.get(key, "") for key in columns] for row in texts],
        columns,
        style,
        disable_numparse=True,
        colalign=["right" if one else "left" for one in numeric] if rows else None,
    )


def cell(value: Any) -> str:
    """Returns a number with two or more digits, None as a dash, else the text."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def machine() -> dict[str, Any]:
    """Returns what a time depends on: processor, cores, devices and versions."""
    return {
        "processor": _processor(),
        "cores": affinity.cores(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "versions": provenance.versions(),
    }


def described(machine: Mapping[str, Any]) -> str:
    """Returns `machine` in a line, such as 'AMD EPYC, 2 cores, jax 0.10.2'."""
    parts = [machine["processor"], f"{machine['cores']} cores"]
    if machine["device"] != "cpu" or machine["devices"] > 1:
        parts.insert(0, f"{machine['devices']} x {machine['device']}")
    return ", ".join([*parts, f"jax {machine['versions']['jax']}"])


def _processor() -> str:
    """The processor's name, which Linux alone has in a file."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def _command() -> str:
    """The command line without the file that its results are written to."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-output", "--output")
    _, flags = parser.parse_known_args(sys.argv[1:])
    return shlex.join(["jood", pathlib.Path(sys.argv[0]).stem, *flags])


def _short(value: Any) -> Any:
    """A number with five digits, which are more than repeat."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
