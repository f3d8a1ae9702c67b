"""Linen modules: one forward pass with stage edits, as a record.

Reading uses Flax's `capture_intermediates`, rewriting its method interceptors.
Both see modules by their path, so no model is wrapped or changed.
"""

from collections.abc import Mapping
import contextlib
from typing import Any

from flax import linen as nn
import jax

from jood.core.activations import Activations
from jood.core.backbones import blocks
from jood.core.backbones import linen_checks
from jood.core.backbones import parts
from jood.core.backbones import winograd
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.protocol import Kind
from jood.core.backbones.protocol import Taps
from jood.core.component import Component


def forward(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    path: EditPath,
    taps: Taps,
    train: bool = False,
    key: jax.Array | None = None,
) -> tuple[Activations, Mapping[str, Any]]:
    """Runs the network once, with the edits of one path; see `observing.observe`.

    `key` decides what a network in training drops; None drops nothing.

    Returns:
      The record, and the collections that the pass changed: with `train`, where the
      model is called with train=True, batch statistics too.
    """
    variables = dict(variables)
    grids, params = variables.pop(winograd.COLLECTION, {}), variables.get("params", {})
    paths = taps.stages or {name: name for name in parts.USUAL_STAGES}
    stage_of = {tuple(path.split("/")): name for name, path in paths.items()}
    head_path = None if taps.head is None else tuple(taps.head.split("/"))
    head_inputs: list[jax.Array] = []

    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        module_path = context.module.path
        if module_path == head_path:
            head_inputs.append(args[0])
        output = winograd.convolved(context.module, args, params, grids)
        if output is None:
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
    owners_terms = linen_checks.owners_terms(model, variables)
    with (
        nn.intercept_methods(intercept),
        contextlib.nullcontext() if train else owners_terms,
    ):
        _, captured = model.apply(
            variables, images, **mode, capture_intermediates=is_stage, mutable=mutable
        )
    stages = _stages(captured.get("intermediates", {}), stage_of)
    record = parts.assembled(stages, head_inputs, path, taps, variables)
    return record, captured


def _stages(
    intermediates: Mapping[str, Any], stage_of: Mapping[tuple[str, ...], str]
) -> dict[str, jax.Array]:
    stages = {}
    for path, name in stage_of.items():
        maps = parts.descend(intermediates, (*path, "__call__"))
        if len(maps) > 1:
            raise ValueError(
                f"the stage {'/'.join(path)!r} was called {len(maps)} times in one "
                "pass, expected once: a stage is one module with one map."
            )
        if maps:
            stages[name] = maps[0]
    return stages


def _complete(model: Any, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    linen_checks.check_model(model)
    if given is None:
        raise TypeError(
            f"{type(model).__name__} keeps no parameters of its own: pass them, "
            "jood.Detector(component, model, variables), as model.init returns them."
        )
    return given


def _check(model: Any, variables: Any, taps: Taps) -> None:
    del taps  # which modules there are is known once it runs
    linen_checks.check(model, variables)


def _forward(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    path: EditPath,
    taps: Taps,
    before: Activations | None = None,
) -> Activations:
    del before  # XLA merges what both runs compute
    return forward(model, variables, images, path, taps)[0]


def _blocks(*arguments: Any) -> dict[str, jax.Array]:
    return blocks.maps(lambda: forward(*arguments))


def _lacks(model: Any, taps: Taps, component: Component) -> str:
    del model, taps, component  # as `_check`
    return ""


KIND = Kind(
    name="Linen",
    foreign=False,
    complete=_complete,
    check=_check,
    head=parts.head_node,
    forward=_forward,
    blocks=_blocks,
    lacks=_lacks,
    text=repr,
    shared=winograd.filters,
)
