"""Edited runs: the records of stage edits, hung into the record of the plain run.

Independent of what runs the network: every kind of backbone passes its own `run`.
"""

from collections.abc import Callable, Sequence

from jood.core.activations import Activations
from jood.core.activations import Network
from jood.core.activations import StageEdit
from jood.core.input_perturbation import NETWORK

EditPath = tuple[StageEdit, ...]


def with_edits(
    record: Activations,
    prefix: EditPath,
    paths: Sequence[EditPath],
    run: Callable[[EditPath], Activations],
    network: Callable[[EditPath], Network],
) -> Activations:
    """Hangs the records of all edit paths below `prefix` into `record`."""
    below: dict[StageEdit, list[EditPath]] = {}
    for path in paths:
        if path:
            below.setdefault(path[0], []).append(path[1:])
    if below.pop(NETWORK, None) is not None:
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
