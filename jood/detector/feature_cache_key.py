"""Keys of cached features: everything that decides what they are.

Two folders of cached features are the same if and only if their keys are. The key of
a data set's features joins the network's *program* (the jaxpr from pixels to the
penultimate feature, so that an edited `__call__` counts although its class and
fields keep their names), every weight's bytes, the preprocessing, the taps, and the
fingerprint of the data. Devices and their number are left out: they change features
by rounding only, and what a GPU filled a laptop may read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import hashlib
import json
import re
from typing import Any

import jax
from jax.extend import core as jex_core

from jood import version
from jood._utils import fingerprinting
from jood.core.activations import Activations
from jood.core.backbones import kinds
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.protocol import Taps
from jood.core.batch import Batch
from jood.core.features import Run
from jood.core.preprocessing import Preprocessing

FORMAT = 3  # of the cache; raise it when the layout or the meaning changes

# (variables, images, edit paths) -> the record, as `jood.observe` gives it.
Observe = Callable[[Any, jax.Array, Sequence[EditPath]], Activations]


def names(path: EditPath) -> Run:
    """Returns the specs of an edit path."""
    return tuple(edit.spec for edit in path)


def of_data(
    model: Any,
    variables: Mapping[str, Any],
    preprocessing: Preprocessing | None,
    taps: Taps,
    data: str,
    first: Batch,
    observe: Observe,
) -> dict[str, Any]:
    """Returns the key that all runs over one data set share, as JSON values.

    Args:
      model: the network.
      variables: its parameters and statistics.
      preprocessing: The images' preprocessing, or None.
      taps: paths of the stages and the head.
      data: fingerprint of the batches.
      first: the first of them.
      observe: runs the network on the batches' images.
    """
    leaves = jax.tree_util.tree_leaves_with_path(dict(variables))
    arrays = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    arrays |= kinds.of(model).weights(model, variables)  # those that stay in PyTorch
    kind = type(model)
    return {
        "format": FORMAT,
        "jood": version.VERSION,
        "model": f"{kind.__module__}.{kind.__qualname__}",
        "model_fields": _without_addresses(kinds.of(model).text(model)),
        "program": program(observe, variables, first.image, ()),
        "variables": fingerprinting.array_digest(**arrays),
        "preprocessing": repr(preprocessing),
        "stages": taps.stages and dict(taps.stages),
        "head": taps.head,
        "data": data,
        "first_batch": fingerprinting.array_digest(**first._asdict()),
    }


def of_run(
    path: EditPath, variables: Any, images: jax.Array, observe: Observe
) -> dict[str, Any]:
    """Returns what distinguishes a run over a data set from others, as JSON values."""
    return {
        "edits": names(path),
        "program": program(observe, variables, images, path) if path else "plain",
    }


def program(observe: Observe, variables: Any, images: jax.Array, path: EditPath) -> str:
    """Returns the SHA-256 of the program from images to one run's features."""

    def run(variables: Any, images: jax.Array) -> jax.Array:
        record = observe(variables, images, (path,))
        for edit in path:
            record = record.edit(edit.spec)
        return record.penultimate

    def shape(x: Any) -> jax.ShapeDtypeStruct:  # no sharding: it is not in the key
        return jax.ShapeDtypeStruct(x.shape, x.dtype)

    jaxpr = jax.make_jaxpr(run)(*jax.tree.map(shape, (variables, images)))
    digest = hashlib.sha256(_without_addresses(str(jaxpr)).encode())
    for constant in _constants(jaxpr):  # of which the text shows a name only
        digest.update(fingerprinting.array_digest(constant=constant).encode())
    return digest.hexdigest()


def digest(key: Mapping[str, Any]) -> str:
    """Returns the name of a key's folder."""
    text = json.dumps(key, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _constants(value: Any) -> Iterator[Any]:
    """Constants of a jaxpr and of those inside it, in the order of the text."""
    if isinstance(value, jex_core.ClosedJaxpr | jex_core.Jaxpr):
        # A jaxpr with its constants is of a class of its own until JAX 0.11.
        yield from getattr(value, "consts", ())
        for equation in getattr(value, "jaxpr", value).eqns:
            for operand in equation.invars:
                if isinstance(operand, jex_core.Literal):
                    yield operand.val
            for _, parameter in sorted(equation.params.items()):
                yield from _constants(parameter)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _constants(item)


def _without_addresses(text: str) -> str:
    """Drops the memory addresses of functions, which differ between processes."""
    return re.sub(r"(at )?0x[0-9a-f]+", "", text)
