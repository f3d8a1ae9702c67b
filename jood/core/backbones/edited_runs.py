"""Edited runs: the records of stage edits, added to the record of the plain run.

Independent of what runs the network: every kind of backbone passes its own `run`.
"""

from collections.abc import Callable, Sequence

import jax

from jood.core.activations import Activations
from jood.core.activations import Network
from jood.core.activations import StageEdit

EditPath = tuple[StageEdit, ...]


def prefixes(edits: Sequence[EditPath]) -> tuple[EditPath, ...]:
    """Returns the runs that edit paths take: the plain one and the edited ones.

    A path of two edits is two runs, one with the first and one with both.
    """
    runs: dict[EditPath, None] = {(): None}
    for path in edits:
        runs.update((path[:n], None) for n in range(1, len(path) + 1))
    return tuple(runs)


def with_edits(
    record: Activations,
    prefix: EditPath,
    paths: Sequence[EditPath],
    run: Callable[[EditPath, Activations], Activations],
    network: Callable[[EditPath], Network] | None,
) -> Activations:
    """Adds the records of all edit paths below `prefix` to `record`.

    Args:
      record: The record of the run with the edits of `prefix`.
      prefix: The edits that were made.
      paths: The edits to make after them.
      run: All edits of a run, and the record of the run without the last of them, ->
        its record.
      network: All edits of a run -> the network with them, for components that run it
        on other images; None if there are none.
    """
    below: dict[StageEdit, list[EditPath]] = {}
    for path in paths:
        if path:
            below.setdefault(path[0], []).append(path[1:])
    if network is not None:
        record = record.replace(network=network(prefix))
    edited = {}
    for edit, rest in below.items():
        path = (*prefix, edit)
        # The prediction, and the features behind it, stay the plain pass's.
        changed = run(path, record).replace(
            labels=record.labels,
            prediction=record.prediction,
            original=record.original,
        )
        edited[edit.spec] = with_edits(changed, path, rest, run, network)
    return record.replace(edited=edited)


def every_logits(record: Activations) -> list[jax.Array]:
    """Returns the logits of the plain run and of all edited ones, nested ones too."""
    edited = [every_logits(one) for one in record.edited.values()]
    return [record.logits, *(logits for one in edited for logits in one)]
