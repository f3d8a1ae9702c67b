"""The averages of a table: the OOD sets that they cover, and the marks of partial ones.

A benchmark has the averages that its paper reports, over far sets and over all, or, if
its OOD sets are grouped, one of each group and over all. Where it has covariate-shifted
ID sets, those of the full spectrum count them as ID (OpenOOD v1.5).

An average over a part says so in its name: 'mean far (7 of 13)' where six sets are
absent, 'full-spectrum near (2 of 2; 1 of 3 shifted)' where two shifted sets are,
'mean*' where a set is incomplete or has images that cannot be read.
"""

from collections.abc import Collection, Mapping, Sequence

from jood.data.benchmarks.spec import Benchmark

PAPER, FAR, ALL = "mean paper", "mean far", "mean"
_GROUP, _FULL = f"{ALL} ", "full-spectrum "

Averages = dict[str, list[str]]  # the sets that a column is the mean of, by its name


def of_sets(
    scored: Sequence[str], benchmark: Benchmark, dented: Collection[str]
) -> Averages:
    """Returns the averages over OOD sets.

    Args:
      scored: The OOD sets that have scores, in their order.
      benchmark: Says which sets should have been scored.
      dented: Sets that are not whole.
    """
    # What should have been scored, including sets neither found nor chosen.
    every = list(dict.fromkeys([*scored, *benchmark.absent, *benchmark.paper]))
    if benchmark.groups:
        groups = {_GROUP + key: list(own) for key, own in benchmark.groups.items()}
        return _marked({**groups, ALL: every}, scored, dented)
    paper, far = benchmark.paper, [n for n in every if n not in benchmark.near]
    groups = {FAR: far, ALL: every}
    if set(paper) not in (set(), set(far), set(every)):
        groups = {PAPER: list(paper), **groups}
    marked = _marked(groups, scored, dented)
    return {
        title: part
        for title, part in marked.items()
        if kind(title) == ALL or len(part) < len(scored)
    }


def of_full_spectrum(
    scored: Sequence[str], benchmark: Benchmark, dented: Collection[str]
) -> Averages:
    """Returns the averages over OOD sets where shifted ID sets count as ID.

    The arguments are those of `of_sets`. Without a shifted set there is no average.
    """
    if not benchmark.shifted:
        return {}
    groups = {_FULL + key: list(own) for key, own in benchmark.groups.items()}
    groups = groups or {_FULL + ALL: [*scored, *benchmark.absent]}
    here, away = len(benchmark.shifted), len(benchmark.absent_shifted)
    note = f"{here} of {here + away} shifted" if away else ""
    is_dented = not {*dented}.isdisjoint(benchmark.shifted)
    return _marked(groups, scored, dented, note, is_dented)


def _marked(
    groups: Mapping[str, Sequence[str]],
    scored: Sequence[str],
    dented: Collection[str],
    note: str = "",
    is_dented: bool = False,
) -> Averages:
    """What is scored of each group, under a name that says how much it is."""
    averages = {}
    for title, group in groups.items():
        part = [name for name in group if name in scored]
        if not part:
            continue
        marks = (
            [f"{len(part)} of {len(group)}"] if len(part) < len(group) or note else []
        )
        marks += [note] if note else []
        star = "*" if is_dented or not {*dented}.isdisjoint(part) else ""
        name = f"{title} ({'; '.join(marks)}){star}" if marks else title + star
        averages[name] = part
    return averages


def kind(column: str) -> str:
    """Returns which average a column is, without its marks; '' for an OOD set."""
    title = column.partition(" (")[0].rstrip("*")
    return title if title == ALL or title.startswith((_GROUP, _FULL)) else ""


def column(columns: Sequence[str], group: str, *, full: bool = False) -> str | None:
    """Returns the column of a group's average, of the full spectrum or not, or None."""
    wanted = (_FULL if full else _GROUP) + group
    return next((one for one in columns if kind(one) == wanted), None)
