"""The PyTorch kind: a network that JAX's program calls back, with its gradients.

A stage edit is JAX's: one run gives the stage's map, JAX rewrites it, and a second run
takes the rewritten map in place of its own. The record of the run before is at hand, so
that each edit costs one run.
"""

from collections.abc import Collection, Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.backbones import called_networks
from jood.core.backbones import torch_support
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.protocol import Kind
from jood.core.backbones.protocol import Taps
from jood.core.backbones.torch_support import TorchBackbone
from jood.core.component import Component

Run = tuple[jax.Array, dict[str, jax.Array]]  # features [B, D] and maps by stage


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
    model: TorchBackbone, images: jax.Array, replaced: dict[str, jax.Array]
) -> Run:
    shapes = _shapes(model, images.shape)
    return jax.pure_callback(
        model.run, shapes, images, replaced, vmap_method="sequential"
    )


def _forwards(
    model: TorchBackbone, images: jax.Array, replaced: dict[str, jax.Array]
) -> tuple[Run, Any]:
    return _run(model, images, replaced), (images, replaced)


def _backwards(model: TorchBackbone, kept: Any, gradients: Run) -> Any:
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.float32), kept)
    return jax.pure_callback(
        model.gradients, shapes, *kept, *gradients, vmap_method="sequential"
    )


_run.defvjp(_forwards, _backwards)


def _shapes(model: TorchBackbone, shape: tuple[int, ...]) -> Any:
    """Shapes of a run's results, from one run on a black image."""
    one = (1, *shape[1:])
    if one not in model.shapes:
        try:
            feature, maps = model.run(np.zeros(one, np.float32), {})
        except RuntimeError as error:  # torch's own, about shapes
            raise ValueError(
                f"{type(model.module).__name__} does not take images of height, width "
                f"and channels {one[1:]}: {error}"
            ) from error
        model.shapes[one] = {"": feature.shape} | {k: z.shape for k, z in maps.items()}
    shapes = {
        name: jax.ShapeDtypeStruct((shape[0], *rest), jnp.float32)
        for name, (_, *rest) in model.shapes[one].items()
    }
    return shapes.pop(""), shapes


def _complete(
    model: TorchBackbone, given: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    head = called_networks.head_collection(*torch_support.classifier(model))
    own = {"params": {}, **head}
    called_networks.check_given(given, own, "a PyTorch network holds its own weights")
    return {**own, **(given or {})}


def _check(model: TorchBackbone, variables: Mapping[str, Any], taps: Taps) -> None:
    del variables
    model.check()
    if taps.stages is not None or taps.head not in ("head", None):
        raise ValueError(
            "the stages and the head of a PyTorch network are submodules: name them "
            "in jood.torch_backbone(module, stages=..., head=...), not here."
        )


def _forward(
    model: TorchBackbone,
    variables: Mapping[str, Any],
    images: jax.Array,
    edits: EditPath,
    taps: Taps,
    before: Activations | None = None,
) -> Activations:
    images = images.astype(jnp.float32)
    ordered = sorted(edits, key=lambda edit: edit.stage)
    replaced: dict[str, jax.Array] = {}
    if before is not None and list(edits) == ordered:
        replaced = {edit.stage: before.stages[edit.stage] for edit in edits[:-1]}
        feature, stages, ordered = before.penultimate, before.stages, list(edits[-1:])
    else:
        feature, stages = _run(model, images, {})
    for edit in ordered:
        if lack := _missing(model, edit, stages):
            raise ValueError(lack)
        replaced[edit.stage] = edit.rewrite(stages[edit.stage]).astype(jnp.float32)
        feature, stages = _run(model, images, replaced)
    return called_networks.record(feature, stages, variables, taps)


def _missing(model: TorchBackbone, edit: StageEdit, stages: Collection[str]) -> str:
    if edit.stage in stages:
        return ""
    return (
        f"{edit.spec} needs the stage {edit.stage!r}, which this PyTorch network "
        f"lacks; it has: {', '.join(model.stages) or 'none'}. Name it: "
        f"jood.torch_backbone(module, stages={{{edit.stage!r}: 'layer3'}})."
    )


def _lacks(model: TorchBackbone, taps: Taps, component: Component) -> str:
    del taps
    return called_networks.lacks(
        component,
        lambda edit: _missing(model, edit, model.stages),
        "which jood does not look for in a PyTorch network. Name the maps to choose "
        "from as stages and use among='stages'.",
    )


KIND = Kind(
    name="PyTorch",
    foreign=True,
    complete=_complete,
    check=_check,
    head=called_networks.head,
    forward=_forward,
    blocks=called_networks.no_blocks,
    lacks=_lacks,
    text=lambda model: f"{model.module!r} {dict(model.stages)} {model.head}",
    weights=lambda model, variables: torch_support.tensors(model),
    bound="computes in PyTorch, outside of JAX's program",
)
