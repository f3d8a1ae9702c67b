"""The types of a table that was run: ours beside the paper's numbers."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import NamedTuple

Cells = Mapping[tuple[str, str], float]  # percent by (column, metric)


class ReproducedRow(NamedTuple):
    """A row with our numbers beside the paper's.

    Attributes:
      name: the paper's name of the row.
      text: the detector that was run, with every value; '' if none was.
      sources: origin of each value; see `jood.methods.value_sources`.
      why: reason why it could not be run; '' if it was.
      ours: jood's numbers in %; a cell that could not be made is missing.
      papers: the paper's numbers in %; a cell that it does not give is missing.
    """

    name: str
    text: str
    sources: Mapping[str, str]
    why: str
    ours: Cells
    papers: Cells


@dataclasses.dataclass(frozen=True)
class ReproducedPart:
    """A part of a table, run or not.

    Attributes:
      title: words that distinguish it from the table's other parts.
      cells: (column, metric) in the order of the table.
      rows: the paper's rows.
      remarks: sentences on what is not as in the paper.
      dented: columns that are made of a part of the paper's images.
      comparable: whether ours and the paper's numbers are of the same benchmark.
    """

    title: str
    cells: Sequence[tuple[str, str]]
    rows: Sequence[ReproducedRow]
    remarks: Sequence[str]
    dented: frozenset[str]
    comparable: bool

    def difference(self, row: ReproducedRow, cell: tuple[str, str]) -> float | None:
        """Ours less the paper's, in points; None where one is missing."""
        if not self.comparable or cell not in row.ours or cell not in row.papers:
            return None
        return row.ours[cell] - row.papers[cell]

    @property
    def gaps(self) -> int:
        """How many of the paper's numbers have none of ours beside them."""
        return sum(len(row.papers.keys() - row.ours.keys()) for row in self.rows)
