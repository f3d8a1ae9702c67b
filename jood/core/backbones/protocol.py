"""What jood needs from a network of any kind: the protocol that each kind implements.

A kind (Linen, flax.nnx, a function) is a `Kind`: a handful of pure functions that
read the network, run it once with some stage edits, and say what it cannot do.
Everything else (edited runs, fitting, calibration, export) is written once, on top.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any, NamedTuple

import jax

from jood.core import added_heads
from jood.core.activations import Activations
from jood.core.backbones.edited_runs import EditPath
from jood.core.component import Component

# A network's arrays by collection: 'params', and added heads such as 'ood_head'.
Variables = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Taps:
    """Where a model's stages and head are, as module paths ('backbone/layer4').

    Attributes:
      stages: module path by stage name, all of which must exist; None takes those of
        the modules 'C2' to 'C5' and 'decoded' that the model has.
      head: path of the linear module from the penultimate feature to the logits; None
        for a backbone without one, whose feature is the last map's mean (K = 0).
    """

    stages: Mapping[str, str] | None = None
    head: str | None = "head"


class Kind(NamedTuple):
    """One kind of network.

    Attributes:
      name: its usual name, for messages: 'Linen', 'flax.nnx'.
      foreign: whether the owner keeps the weights: a saved detector then holds their
        fingerprint, not the weights.
      complete: (model, variables as given or None) -> the variables to run it with.
      check: (model, variables, taps) -> None; raises TypeError or ValueError if they
        cannot be run, before anything is.
      head: (variables, taps) -> the classifier's (kernel, bias or None); None if there
        is none, or if its kernel is not where it should be.
      forward: (model, variables, images [B, H, W, C], edits, taps, record of the run
        without the last edit or None) -> the record of one run with these edits.
      blocks: as `forward` -> the map of each residual block by its path.
      lacks: (model, taps, component) -> what a component needs and it lacks, in words;
        '' if nothing is known to be missing before it runs.
      text: model -> what distinguishes it from others of its class, for cache keys.
      weights: (model, variables) -> its own arrays by name, for a fingerprint.
      shared: variables -> what is computed of them once for all chunks of a batch, by
        collection; its `forward` takes it among the variables, but can do without.
      bound: reason why its program cannot be exported; '' if it can.
    """

    name: str
    foreign: bool
    complete: Callable[[Any, Variables | None], Variables]
    check: Callable[[Any, Variables, Taps], None]
    head: Callable[[Variables, Taps], tuple[Any, Any] | None]
    forward: Callable[..., Activations]
    blocks: Callable[[Any, Variables, jax.Array, EditPath, Taps], dict[str, jax.Array]]
    lacks: Callable[[Any, Taps, Component], str]
    text: Callable[[Any], str]
    weights: Callable[[Any, Variables], Mapping[str, Any]] = lambda _, v: own_arrays(v)
    shared: Callable[[Variables], Variables] = lambda _: {}
    bound: str = ""


def own_arrays(variables: Variables) -> dict[str, Any]:
    """Returns a network's arrays by path, without added heads."""
    own = {k: v for k, v in variables.items() if not added_heads.is_added(k)}
    leaves = jax.tree_util.tree_leaves_with_path(own)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
