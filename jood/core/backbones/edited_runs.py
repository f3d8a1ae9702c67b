"""Edited runs: the records of stage edits, hung into the record of the plain run.

Independent of what runs the network: every kind of backbone passes its own `run`.
"""

from collections.abc import Callable, Sequence

from jood.core.activations import Activations
from jood.core.activations import Network
from jood.core.activations import StageEdit

EditPath = tuple[StageEdit, ...]


def with_edits(
    record: Activations,
    prefix: EditPath,
    paths: Sequence[EditPath],
    run: Callable[[EditPath], Activations],
    network: Callable[[EditPath], Network] | None,
) -> Activations:
    """Hangs the records of all edit paths below `prefix` into `record`.

    Args:
      record: The record of the run with the edits of `prefix`.
      prefix: The edits that were made.
      paths: The edits to make after them.
      run: All edits of a run -> its record.
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
        # What the ID task answers, and the features behind it, stay the plain pass's.
        changed = run(path).replace(
            labels=record.labels,
            prediction=record.prediction,
            original=record.original,
        )
        edited[edit.spec] = with_edits(changed, path, rest, run, network)
    return record.replace(edited=edited)
