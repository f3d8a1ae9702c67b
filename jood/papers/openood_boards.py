"""OpenOOD's leaderboard as data: what it lists, and which row of jood's is the same.

The numbers are in `tables/openood.toml`, which says where and when they were read;
`docs/make_openood.py` writes the page that shows them beside jood's.
"""

import dataclasses
import functools
import importlib.resources
import tomllib


@dataclasses.dataclass(frozen=True)
class BoardRow:
    """A method on one network.

    Attributes:
      name: OpenOOD's name of the postprocessor.
      text: jood's row or text of the same method; '' if there is none.
      near: AUROC in %, over the near sets; with its standard deviation over networks.
      far: the same over the far sets.
    """

    name: str
    text: str
    near: str
    far: str


@dataclasses.dataclass(frozen=True)
class Board:
    """The rows of one network on one benchmark.

    Attributes:
      file: the file of OpenOOD's results.
      commit: its version.
      benchmark: name of jood's benchmark.
      network: OpenOOD's name of the network.
      accuracy: ID accuracy in %, of the full spectrum where `is_full`.
      is_full: whether covariate-shifted images count as ID.
      rows: the lines, in OpenOOD's order.
    """

    file: str
    commit: str
    benchmark: str
    network: str
    accuracy: str
    is_full: bool
    rows: tuple[BoardRow, ...]


@functools.cache
def boards() -> tuple[Board, ...]:
    """Returns every board that is transcribed."""
    content, ours = _content(), _content()["rows"]
    return tuple(
        Board(
            **{key: one[key] for key in ("file", "commit", "benchmark", "network")},
            accuracy=one["accuracy"],
            is_full=one.get("spectrum") == "full",
            rows=tuple(
                BoardRow(name, ours.get(name, ""), near, far)
                for name, near, far in map(_cells, one["values"].strip().splitlines())
            ),
        )
        for one in content["boards"]
    )


def origin() -> tuple[str, str]:
    """Returns where the numbers come from, and the day on which they were read."""
    content = _content()
    return content["source"], content["read"]


@functools.cache
def _content() -> dict:
    where = importlib.resources.files("jood.papers") / "tables" / "openood.toml"
    return tomllib.loads(where.read_text(encoding="utf-8"))


def _cells(line: str) -> tuple[str, str, str]:
    name, near, far = (cell.strip() for cell in line.split("|"))
    return name, near, far
