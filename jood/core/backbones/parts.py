"""Parts of a record that networks of several kinds are read for in the same way."""

from collections.abc import Iterator, Mapping, Sequence
import inspect
from typing import Any

import jax
import jax.numpy as jnp

from jood.core import activations
from jood.core import added_heads
from jood.core import ood_head as ood_head_lib
from jood.core.activations import Activations
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.protocol import Taps

USUAL_STAGES = (*activations.STAGES, activations.DECODED)


def descend(tree: Any, path: Sequence[str]) -> Any:
    """Returns the node of nested dicts at a module path; {} if there is none."""
    for key in path:
        tree = tree.get(key, {}) if isinstance(tree, Mapping) else {}
    return tree


def pooled_feature(feature: jax.Array) -> jax.Array:
    """Returns the penultimate feature float32 [B, D]; of a head's map, its mean.

    Raises:
      ValueError: the head's input is neither [B, D] nor [B, H, W, D].
    """
    if feature.ndim not in (2, 4):
        raise ValueError(
            "the head's input must be the penultimate feature [B, D], or the map of a "
            f"segmentation head [B, H, W, D], got shape {feature.shape}."
        )
    return feature.astype(jnp.float32).mean(axis=tuple(range(1, feature.ndim - 1)))


def without_head(stages: Mapping[str, jax.Array]) -> Sequence[jax.Array]:
    """Returns the last map's mean [B, D], and kernel [D, 0] and bias [0] of no class.

    Raises:
      ValueError: there is no map.
    """
    if not stages:
        raise ValueError(
            "a backbone without a head needs stages to be read from: name them with "
            "stages={name: module path} (of jood.Detector, or of jood.Taps)."
        )
    last = stages[max(stages)].astype(jnp.float32)
    feature = last.mean(axis=tuple(range(1, last.ndim - 1)))
    return feature, *kernel_and_bias(None, feature)


def head_of(variables: Mapping[str, Any], head: str) -> tuple[Any, Any]:
    """Returns the kernel [D, K], and the bias [K] or None, of a linear module.

    Raises:
      ValueError: the module has no kernel, or one that is not linear.
    """
    node = descend(variables["params"], head.split("/"))
    if not isinstance(node, Mapping) or "kernel" not in node:
        parameters = ", ".join(node) if isinstance(node, Mapping) else ""
        raise ValueError(
            f"the head {head!r} must be a Dense module with a kernel [D, K], "
            f"found parameters: {parameters or 'none'}."
        )
    kernel = _matrix(node["kernel"])
    if kernel.ndim != 2:
        raise ValueError(
            f"the head {head!r} must be a Dense module (kernel [D, K]) or a 1x1 "
            f"convolution, but its kernel has shape {kernel.shape}. Name the "
            "classifier's last linear layer with head=module path."
        )
    return kernel, node.get("bias")


def _matrix(kernel: jax.Array) -> jax.Array:
    """The kernel [D, K] of a 1x1 convolution, which is a Dense at each location."""
    return kernel[0, 0] if kernel.shape[:-2] == (1, 1) else kernel


def kernel_and_bias(
    head: tuple[Any, Any] | None, feature: jax.Array
) -> tuple[Any, Any]:
    """Returns kernel [D, K] and bias of a head as stored; without one, K is 0."""
    if head is None:
        return jnp.zeros([feature.shape[-1], 0]), jnp.zeros([0])
    return _matrix(head[0]), head[1]


def head_node(variables: Mapping[str, Any], taps: Taps) -> tuple[Any, Any] | None:
    """Returns (kernel as stored, bias or None); None where there is no kernel."""
    if taps.head is None:
        return None
    node = descend(variables["params"], taps.head.split("/"))
    return (node["kernel"], node.get("bias")) if "kernel" in node else None


def assembled(
    stages: Mapping[str, jax.Array],
    head_inputs: Sequence[jax.Array],
    edits: EditPath,
    taps: Taps,
    variables: Mapping[str, Any],
) -> Activations:
    """Returns the record of one run of modules.

    Args:
      stages: maps by name, those of the modules that were called.
      head_inputs: inputs of the head, one per call.
      edits: edits that the run was to make.
      taps: paths of the stages and the head.
      variables: the network's variables, with kernel and bias of the head in 'params'.

    Raises:
      ValueError: a named stage, the stage of an edit or the head was not called, or
        the head is not linear; the message lists the modules.
    """
    there = modules(variables["params"])
    for name, path in (taps.stages or {}).items():
        if name not in stages:
            raise ValueError(
                f"the model has no module {path!r} to be the stage {name!r}, or does "
                f"not call it; modules: {there}."
            )
    for edit in edits:
        if edit.stage not in stages:
            raise ValueError(missing_stage(edit, [*stages], there))
    if taps.head is None:
        parts: Sequence[Any] = without_head(stages)
    elif len(head_inputs) == 1:
        parts = (pooled_feature(head_inputs[0]), *head_of(variables, taps.head))
    else:
        raise ValueError(
            f"the head {taps.head!r} was called {len(head_inputs)} times, expected "
            "once. Name the classifier's Dense module with head=module path (of "
            "jood.Detector, or of jood.Taps for jood.observe), or head=None for a "
            f"backbone without one; modules: {there}."
        )
    return record(parts, stages, variables)


def record(
    parts: Sequence[Any], stages: Mapping[str, jax.Array], variables: Mapping[str, Any]
) -> Activations:
    """Returns the record of (penultimate, kernel, bias), maps and added heads."""
    ood_head = variables.get(ood_head_lib.COLLECTION)
    ood_head = None if ood_head is None else ood_head_lib.OodHead(**ood_head)
    heads = added_heads.of(variables)
    return Activations.of(*parts, stages=stages, ood_head=ood_head, heads=heads)


def modules(params: Mapping[str, Any]) -> str:
    """Returns the paths of modules with parameters, two levels deep, as a list."""

    def paths() -> Iterator[str]:
        for name, node in params.items():
            yield name
            inner = node.items() if isinstance(node, Mapping) else ()
            yield from (f"{name}/{k}" for k, v in inner if isinstance(v, Mapping))

    return ", ".join(paths())


def missing_stage(
    edit: activations.StageEdit, stages: Sequence[str], there: str
) -> str:
    """Returns why an edit cannot be made: the model lacks its stage."""
    return (
        f"{edit.spec} needs the stage {edit.stage!r}, which the model lacks; it has: "
        f"{', '.join(stages) or 'none'}. Name it with stages={{{edit.stage!r}: module "
        f"path}} (of jood.Detector, or of jood.Taps for jood.observe); modules: "
        f"{there}."
    )


def required_arguments(model: Any) -> list[str]:
    """Returns the names of what a model's `__call__` needs beside the images."""
    try:
        signature = inspect.signature(type(model).__call__)
    except (TypeError, ValueError, AttributeError):
        return []
    others = list(signature.parameters.values())[2:]  # after self and the images
    passing = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in others if p.default is p.empty and p.kind not in passing]
