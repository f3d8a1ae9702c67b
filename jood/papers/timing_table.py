"""Runs a table of times: each row, and its score without and with TA."""

from collections.abc import Mapping, Sequence

import jax

from jood.core import compose
from jood.core.component import Component
from jood.evaluation import pass_times
from jood.evaluation import preflight
from jood.methods import detector_list
from jood.methods import detector_text
from jood.methods import presets
from jood.papers import given_networks
from jood.papers import row_reading
from jood.papers.given_networks import Given
from jood.papers.given_networks import Maker
from jood.papers.reproduced import ReproducedPart
from jood.papers.reproduced import ReproducedRow
from jood.papers.transcription import PaperTable
from jood.papers.transcription import TablePart
from jood.papers.transcription import TableRow

WITHOUT, WITH = "without TA", "with TA"  # columns that are ours alone
TIME = "time"


def run(
    table: PaperTable, given: Sequence[Given], other: str | None, batch_size: int
) -> list[ReproducedPart]:
    """Measures the rows of a table of times on the networks that are given.

    Args:
      table: A table of kind `TIMING`.
      given: The networks.
      other: Name of the benchmark whose classes they have, if it is not the table's.
      batch_size: Images of the batch that is timed.
    """
    makers = given_networks.makers(table, given, other)
    return [
        _part(
            part, makers.get(given_networks.key(part)), other, table.paper, batch_size
        )
        for part in table.parts
    ]


def _part(
    part: TablePart,
    maker: Maker | None,
    other: str | None,
    paper: str,
    batch_size: int,
) -> ReproducedPart:
    columns = (*part.columns, WITHOUT, WITH)
    cells = [(column, TIME) for column in columns]
    if maker is None:
        lacks = f"no network {given_networks.key(part)} was given"
        rows = [_row(part, row, None, {}, row.why or lacks) for row in part.rows]
        return ReproducedPart(part.title, cells, rows, [], frozenset(), True)
    network, benchmark = maker.given.network, other or part.benchmark
    read = {
        row.name: row_reading.read(row.text, benchmark, network.name, paper)
        for row in part.rows
        if row.text
    }
    ta = detector_text.parse(presets.fill("ta(k={k})", benchmark, network.name).text)
    asked: dict[str, Component] = {}
    for name, row in read.items():
        variants = (row.component, *_pair(row.component, ta))
        asked |= {f"{name} {c}": x for c, x in zip(columns, variants, strict=True)}
    possible, out = preflight.possible(asked, network.model, network.variables)
    ratios = pass_times.ratios(possible, network, batch_size)
    rows = []
    for one in part.rows:
        of = {c: f"{one.name} {c}" for c in columns}
        ours = {c: ratios[name] for c, name in of.items() if name in ratios}
        why = one.why or out.get(of[columns[0]], "")
        rows.append(_row(part, one, read.get(one.name), ours, why))
    device = jax.devices()[0].device_kind
    remarks = [
        f"{network.name}, batches of {batch_size} on {device}: from images on the "
        "device to scores, over the forward pass to logits."
    ]
    if not maker.is_named_one:
        remarks.append(f"Run with {network.name}; the paper's is {part.network}.")
    return ReproducedPart(part.title, cells, rows, remarks, frozenset(), True)


def _row(
    part: TablePart,
    row: TableRow,
    read: detector_list.Row | None,
    ours: Mapping[str, float],
    why: str,
) -> ReproducedRow:
    papers = dict(zip(part.columns, row.numbers, strict=True))
    return ReproducedRow(
        name=row.name,
        text=read.component.spec if read else "",
        sources=read.sources if read else {},
        why=why,
        ours={(column, TIME): number for column, number in ours.items()},
        papers={(c, TIME): n for c, n in papers.items() if n is not None},
    )


def _pair(component: Component, ta: Component) -> tuple[Component, Component]:
    """A row's score without TA, and with it."""
    plain = detector_text.parse(component.spec.removeprefix(f"{ta.spec}|"))
    return plain, compose.chain(ta, plain)
