"""What networks that are called as a whole share: a function, a PyTorch module.

Their classifier is a collection beside their params, {'kernel' [D, K], 'bias' [K]}, and
they have no modules that jood could look into.
"""

from collections.abc import Callable, Collection, Mapping
import itertools
from typing import Any

import jax

from jood.core import added_heads
from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.backbones import blocks
from jood.core.backbones import parts
from jood.core.backbones.protocol import Taps
from jood.core.component import Component

HEAD = "head"


def head_collection(kernel: Any, bias: Any) -> dict[str, dict[str, Any]]:
    """Returns {'head': {'kernel', 'bias'}}, without a bias that is None."""
    return {HEAD: {"kernel": kernel} | ({} if bias is None else {"bias": bias})}


def head(variables: Mapping[str, Any], taps: Taps) -> tuple[Any, Any] | None:
    """Returns (kernel, bias or None); None for a network without a classifier."""
    if HEAD not in variables or taps.head is None:
        return None
    return variables[HEAD]["kernel"], variables[HEAD].get("bias")


def record(
    feature: jax.Array,
    stages: Mapping[str, jax.Array],
    variables: Mapping[str, Any],
    taps: Taps,
) -> Activations:
    """Returns the record of features [B, D] and maps; without a classifier K = 0."""
    classifier = parts.kernel_and_bias(head(variables, taps), feature)
    return parts.record((feature, *classifier), stages, variables)


def check_given(
    given: Mapping[str, Any] | None, own: Collection[str], holds: str
) -> None:
    """Raises ValueError if variables hold more than own collections and added heads.

    Args:
      given: the variables that the user passed, if any.
      own: names of the collections that the network itself has.
      holds: says that it has them: 'a jood.Backbone holds its own params'.
    """
    others = [k for k in given or () if k not in own and not added_heads.is_added(k)]
    if others:
        raise ValueError(
            f"{holds}: leave variables out. They may hold added heads, such as "
            f"'ood_head', got {', '.join(map(str, others))}."
        )


def lacks(
    component: Component, missing: Callable[[StageEdit], str], without_blocks: str
) -> str:
    """Says what a component needs that such a network lacks; '' if nothing.

    Args:
      component: component to compute.
      missing: edit of a stage -> what the network lacks for it; '' if nothing.
      without_blocks: reason why it has none, as it follows 'residual blocks, '.
    """
    for edit in itertools.chain(*component.edits):
        if lack := missing(edit):
            return lack
    if blocks.READS in component.reads:
        return f"{component.spec} chooses among residual blocks, {without_blocks}"
    return ""


def no_blocks(*arguments: Any) -> dict[str, jax.Array]:
    """Returns no maps of residual blocks; takes what `Kind.blocks` takes."""
    del arguments
    return {}
