"""Looks for NaN and infinite values in a record, and names the rows that have them.

A NaN need not reach the score: a comparison is False (DICE's mask, a median), and a
maximum or the column of another class leaves it out. The score is then finite, and the
same for every image. So everything that a component may read is checked.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import compiling

# What is finite: bool [B] by what the rows hold, bool [] of what all rows share.
Report = dict[str, Any]
HEAD = "classifier head"
_CAUSES = ("classifier", "OOD", "maps", "penultimate", "logits", "scores")


def report(acts: Any, stages: Iterable[str] = (), xp: Any = jnp) -> Report:
    """Returns which parts of a record and of its edited runs are finite.

    Args:
      acts: the record, `jood.Activations`.
      stages: names of the maps that are looked at, of those that it has.
      xp: `jax.numpy`, or `numpy` for a record that is not traced.
    """
    head = xp.isfinite(acts.kernel).all() & xp.isfinite(acts.bias).all()
    return {HEAD: head} | of_run(acts, stages, xp)


def of_run(acts: Any, stages: Iterable[str] = (), xp: Any = jnp) -> Report:
    """Returns what `report` does, without the classifier head.

    In a program each check costs compilation, and the head is the same in every batch:
    `check_head` checks it once.
    """
    whole = {}
    if acts.ood_head is not None:
        kernel, bias = acts.ood_head
        whole["OOD head"] = xp.isfinite(kernel).all() & xp.isfinite(bias).all()
    return whole | _rows(acts, tuple(stages), "", xp)


def check_head(kernel: Any, bias: Any = None) -> None:
    """Raises ValueError if a classifier head holds NaN or infinite values."""
    weights = [leaf for leaf in (kernel, bias) if leaf is not None]
    if all(hasattr(leaf, "__array__") for leaf in weights):  # no mere shapes
        check({HEAD: all(np.isfinite(np.asarray(leaf)).all() for leaf in weights)})


def of_rows(given: Report) -> jax.Array:
    """Returns whether all of each row is finite, bool [B]."""
    result = jnp.array(True)
    for finite in given.values():
        result = result & finite
    return result


def check(given: Report, first: int = 0) -> None:
    """Raises ValueError if anything is not finite, naming it and the rows.

    Args:
      given: result of `report`, on the device or on the host.
      first: index of row 0 in the data set.
    """
    flags = compiling.on_host(given)
    # Causes first: a NaN in the head, or in a feature, is one in the logits, too.
    for what in sorted(flags, key=lambda what: (_CAUSES.index(what.split()[0]), what)):
        finite = flags[what]
        if np.ndim(finite):
            check_rows(finite, what, first)
        elif not finite:
            raise ValueError(
                f"the {what}'s kernel or bias holds NaN or infinite values, with which "
                "no image can be scored. The network's weights are damaged, or its "
                "training diverged: load them from another file."
            )


def check_rows(finite: np.ndarray, what: str, first: int = 0) -> None:
    """Raises ValueError where `finite` (bool [B]) is False, naming the rows.

    Args:
      finite: whether each row is fine.
      what: name of the rows' values, for the message.
      first: index of row 0 in the data set.
    """
    wrong = np.flatnonzero(~finite) + first
    if wrong.size:
        shown = ", ".join(str(i) for i in wrong[:8]) + ", ..." * (wrong.size > 8)
        raise ValueError(
            f"NaN or infinite {what} at index {shown} ({wrong.size} of {finite.size} "
            "in this batch). Remove or repair these examples."
        )


def check_learned(method: str, values: Any) -> None:
    """Raises ValueError if a value that is learned from data is NaN or +infinite.

    -inf is allowed: a threshold that lets everything pass (`line`).

    Args:
      method: the text of the component, for the message.
      values: pytree of arrays on the host.
    """
    for leaf in jax.tree.leaves(values):
        array = np.asarray(leaf)
        if array.dtype.kind in "fc" and not (array < np.inf).all():
            raise ValueError(
                f"{method} learned NaN or infinite values from the training data, with "
                "which every later score would be wrong. Its features are too large "
                "for their squares in float32 (1.8e19), or its weights are damaged."
            )


def _rows(acts: Any, stages: tuple[str, ...], after: str, xp: Any) -> Report:
    parts: Mapping[str, Any] = {
        "penultimate features": acts.penultimate,
        "logits": acts.logits,
        **{
            f"maps of {name}": acts.stages[name]
            for name in stages
            if name in acts.stages
        },
    }
    finite = {
        name + after: xp.isfinite(part).all(axis=tuple(range(1, part.ndim)))
        for name, part in parts.items()
    }
    for spec, record in acts.edited.items():
        finite |= _rows(record, stages, f" after {spec}{after}", xp)
    return finite
