"""`observe`: one forward pass of any Linen model, with stage edits, as a record.

Reading uses Flax's `capture_intermediates`, rewriting its method interceptors.
Both see modules by their path, so no model is wrapped or changed.
"""

from collections.abc import Mapping, Sequence
import contextlib
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from jood.core import activations
from jood.core import added_heads
from jood.core import ood_head as ood_head_lib
from jood.core.activations import Activations
from jood.core.backbones import blocks
from jood.core.backbones import linen_checks
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.edited_runs import with_edits


@dataclasses.dataclass(frozen=True)
class Taps:
    """Where a model's stages and head are, as module paths ('backbone/layer4').

    Attributes:
      stages: module path by stage name, all of which must exist; None takes those of
        the modules 'C2' to 'C5' and 'decoded' that the model has.
      head: path of the Dense module from the penultimate feature to the logits; None
        for a backbone without one, whose feature is the last map's mean (K = 0).
    """

    stages: Mapping[str, str] | None = None
    head: str | None = "head"


def observe(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    *,
    edits: Sequence[EditPath] = (),
    labels: jax.Array | None = None,
    taps: Taps | None = None,
    std: jax.Array | None = None,
    needs_network: bool = False,
) -> Activations:
    """Runs the network and returns what detectors read. Pure; use it under `jit`.

    Args:
      model: a Linen model; `model.apply(variables, images)` gives logits, in
        evaluation mode.
      variables: its parameters and batch statistics.
      images: floating [B, H, W, C], preprocessed.
      edits: paths of stage edits, as `component.edits` gives them. Each distinct
        path adds one record and costs the layers after its first edit.
      labels: int32 [B], carried along for fitting.
      taps: where the stages and the head are; by default modules C2..C5 and head.
      std: float [C], what the preprocessing divided by; methods that perturb the
        images (ODIN) divide their step by it.
      needs_network: whether a component runs the network again on other images, as
        `component.needs_network` says.

    Returns:
      The record of the plain pass; `record.edited[edit.spec]` are those of the
      edited ones, nested where a path has several edits.

    Raises:
      ValueError: `images` is not of rank 4, or the model has no such stage or head;
        the message lists the modules it has.

    Example:
      >>> from jood import testing
      >>> images, _ = testing.toy_images(2, seed=0)
      >>> acts = observe(testing.ToyNet(), testing.toy_variables(), jnp.asarray(images))
      >>> {name: z.shape for name, z in acts.stages.items()}['C5']
      (2, 4, 4, 32)
    """
    if images.ndim != 4:
        raise ValueError(f"images must be [B, H, W, C], got shape {images.shape}.")
    linen_checks.check(model, variables)
    taps = taps or Taps()
    plain = forward(model, variables, images, (), taps)[0].replace(labels=labels)
    scale = None if std is None else jnp.asarray(std, jnp.float32)

    def network(prefix: EditPath) -> activations.Network:
        def again(other: jax.Array) -> Activations:
            paths = (prefix,) if prefix else ()
            record = observe(model, variables, other, edits=paths, taps=taps, std=std)
            for edit in prefix:
                record = record.edit(edit.spec)
            return record

        def maps(other: jax.Array) -> dict[str, jax.Array]:
            return blocks.maps(lambda: forward(model, variables, other, prefix, taps))

        return activations.Network(images, scale, again, maps)

    def run(path: EditPath) -> Activations:
        return forward(model, variables, images, path, taps)[0]

    behind = network if needs_network else None
    return with_edits(plain, (), edits, run, behind)


def forward(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    path: EditPath,
    taps: Taps,
    train: bool = False,
    key: jax.Array | None = None,
) -> tuple[Activations, Mapping[str, Any]]:
    """Runs the network once, with the edits of one path; see `observe`.

    `key` decides what a network in training drops; None drops nothing.

    Returns:
      The record, and the collections that the pass changed: with `train`, where the
      model is called with train=True, batch statistics too.
    """
    usual = (*activations.STAGES, activations.DECODED)
    paths = taps.stages or {name: name for name in usual}
    stage_of = {tuple(path.split("/")): name for name, path in paths.items()}
    head_path = None if taps.head is None else tuple(taps.head.split("/"))
    head_inputs: list[jax.Array] = []

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        module_path = context.module.path
        if module_path == head_path:
            head_inputs.append(args[0])
        output = call(*args, **kwargs)
        for edit in path:
            if stage_of.get(module_path) == edit.stage:
                output = edit.rewrite(output).astype(output.dtype)
        return output

    def is_stage(module: nn.Module, method: str) -> bool:
        return method == "__call__" and module.path in stage_of

    mutable = ["intermediates", "batch_stats"] if train else ["intermediates"]
    mode: dict[str, Any] = {"train": True} if train else {}  # not all models have it
    if key is not None:
        mode["rngs"] = {"dropout": key}
    told = linen_checks.owners_terms(model, variables)
    with nn.intercept_methods(intercept), contextlib.nullcontext() if train else told:
        _, captured = model.apply(
            variables, images, **mode, capture_intermediates=is_stage, mutable=mutable
        )
    stages = _stages(captured.get("intermediates", {}), stage_of)
    absent = [name for name in taps.stages or () if name not in stages]
    if absent:
        raise ValueError(
            f"the model has no module {paths[absent[0]]!r} to be the stage "
            f"{absent[0]!r}, or does not call it; modules: {_modules(variables)}."
        )
    for edit in path:
        if edit.stage not in stages:
            raise ValueError(
                f"{edit.spec} needs the stage {edit.stage!r}, which the model lacks; "
                f"it has: {', '.join(stages) or 'none'}. Name it with "
                f"stages={{{edit.stage!r}: module path}} (of jood.Detector, or of "
                f"jood.Taps for jood.observe); modules: {_modules(variables)}."
            )
    if taps.head is None:
        parts: Sequence[Any] = _without_head(stages)
    elif len(head_inputs) == 1:
        parts = (_pooled_feature(head_inputs[0]), *_head(variables, taps.head))
    else:
        raise ValueError(
            f"the head {taps.head!r} was called {len(head_inputs)} times, expected "
            "once. Name the classifier's Dense module with head=module path (of "
            "jood.Detector, or of jood.Taps for jood.observe), or head=None for a "
            f"backbone without one; modules: {_modules(variables)}."
        )
    ood_head = variables.get(ood_head_lib.COLLECTION)
    ood_head = None if ood_head is None else ood_head_lib.OodHead(**ood_head)
    record = Activations.of(
        *parts, stages=stages, ood_head=ood_head, heads=added_heads.of(variables)
    )
    return record, captured


def descend(tree: Any, path: Sequence[str]) -> Any:
    """Returns the node of nested dicts at a module path; {} if there is none."""
    for key in path:
        tree = tree.get(key, {}) if isinstance(tree, Mapping) else {}
    return tree


def _stages(
    intermediates: Mapping[str, Any], stage_of: Mapping[tuple[str, ...], str]
) -> dict[str, jax.Array]:
    stages = {}
    for path, name in stage_of.items():
        maps = descend(intermediates, (*path, "__call__"))
        if len(maps) > 1:
            raise ValueError(
                f"the stage {'/'.join(path)!r} was called {len(maps)} times in one "
                "pass, expected once: a stage is one module with one map."
            )
        if maps:
            stages[name] = maps[0]
    return stages


def _pooled_feature(feature: jax.Array) -> jax.Array:
    """The penultimate feature; of a convolutional head's map, its mean."""
    if feature.ndim not in (2, 4):
        raise ValueError(
            "the head's input must be the penultimate feature [B, D], or the map of a "
            f"segmentation head [B, H, W, D], got shape {feature.shape}."
        )
    return feature.astype(jnp.float32).mean(axis=tuple(range(1, feature.ndim - 1)))


def _without_head(stages: Mapping[str, jax.Array]) -> Sequence[jax.Array]:
    """The last map's mean [B, D], and the kernel [D, 0] and bias [0] of no class."""
    if not stages:
        raise ValueError(
            "a backbone without a head needs stages to be read from: name them with "
            "stages={name: module path} (of jood.Detector, or of jood.Taps)."
        )
    last = stages[max(stages)].astype(jnp.float32)
    feature = last.mean(axis=tuple(range(1, last.ndim - 1)))
    return feature, jnp.zeros([feature.shape[-1], 0]), jnp.zeros([0])


def _head(variables: Mapping[str, Any], head: str) -> tuple[Any, Any]:
    """The kernel [D, K], and the bias [K] or None."""
    node = descend(variables["params"], head.split("/"))
    if "kernel" not in node:
        raise ValueError(
            f"the head {head!r} must be a Dense module with a kernel [D, K], "
            f"found parameters: {', '.join(node) or 'none'}."
        )
    kernel = node["kernel"]
    if kernel.shape[:-2] == (1, 1):  # a 1x1 convolution is a Dense at each location
        kernel = kernel[0, 0]
    if kernel.ndim != 2:
        raise ValueError(
            f"the head {head!r} must be a Dense module (kernel [D, K]) or a 1x1 "
            f"convolution, but its kernel has shape {kernel.shape}. Name the "
            "classifier's last linear layer with head=module path."
        )
    return kernel, node.get("bias")


def _modules(variables: Mapping[str, Any]) -> str:
    """The paths of modules with parameters, two levels deep."""
    paths = []
    for name, node in variables["params"].items():
        inner = node.items() if isinstance(node, Mapping) else ()
        paths += [name, *(f"{name}/{k}" for k, v in inner if isinstance(v, Mapping))]
    return ", ".join(paths)
