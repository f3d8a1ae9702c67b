"""`flax.nnx` modules: one forward pass of a copy of the user's module, as a record.

The module's state is its parameters: arrays by path, as nested dicts like Linen's. A
run merges them with the module's graph into a copy, sets that to evaluation mode and
calls it; the user's own module, its mode and its batch statistics stay as they are.
"""

from collections.abc import Mapping, Sequence
import itertools
import re
from typing import Any, NamedTuple

from flax import nnx
import jax

from jood.core import added_heads
from jood.core.activations import Activations
from jood.core.backbones import blocks
from jood.core.backbones import nnx_calls
from jood.core.backbones import parts
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.protocol import Kind
from jood.core.backbones.protocol import Taps
from jood.core.component import Component


def parameters(model: nnx.Module) -> dict[str, Any]:
    """Returns a module's arrays by path, as nested dicts; random states are left out.

    The arrays are the module's own, not copies.
    """
    tree: dict[str, Any] = {}
    for path, leaf in nnx.to_flat_state(nnx.state(model)):
        if not isinstance(leaf, nnx.RngState):
            *modules, name = map(str, path)
            node = tree
            for module in modules:
                node = node.setdefault(module, {})
            node[name] = _value(leaf)
    return tree


def _value(leaf: Any) -> Any:
    return leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf


def _copy(model: nnx.Module, params: Mapping[str, Any]) -> nnx.Module:
    """The module in evaluation mode with other values; none of its own changes."""
    graph, state = nnx.split(model)
    leaves = []
    for path, leaf in nnx.to_flat_state(state):
        if isinstance(leaf, nnx.RngState):
            value = leaf.get_value()
        else:
            value = parts.descend(params, [str(name) for name in path])
            _check_value(value, leaf, path)
        fresh = isinstance(leaf, nnx.Variable)
        leaves.append((path, leaf.replace(value) if fresh else value))
    copied = nnx.merge(graph, nnx.from_flat_state(leaves))
    copied.eval()
    return copied


def _check_value(value: Any, leaf: Any, path: Sequence[Any]) -> None:
    """Raises ValueError if a value is not one for its place in the module."""
    wanted = getattr(_value(leaf), "shape", None)
    given = getattr(value, "shape", "none")
    if wanted is not None and given != wanted:
        raise ValueError(
            f"the module has {'/'.join(map(str, path))!r} of shape {wanted}, the "
            f"detector's variables have {given}. A detector keeps the weights that the "
            "module had when it was made: if modules were added or replaced since, "
            "make another detector; variables={'params': ...} must hold all of them."
        )


def _modules(model: nnx.Module) -> dict[str, nnx.Module]:
    """Submodules by path, 'layers/3/conv', those that can be called."""
    modules = {
        "/".join(map(str, path)): module for path, module in nnx.iter_modules(model)
    }
    return {path: m for path, m in modules.items() if path and callable(m)}


def _path(text: str) -> str:
    """A path as nnx users write it, 'layers.3', with slashes."""
    return text.replace(".", "/")


def _head_path(taps: Taps) -> str | None:
    return None if taps.head is None else _path(taps.head)


def _stages(taps: Taps, modules: Mapping[str, Any]) -> dict[str, str]:
    """Module path by stage name."""
    if taps.stages is None:
        return {name: name for name in parts.USUAL_STAGES if name in modules}
    return {name: _path(path) for name, path in taps.stages.items()}


def _complete(model: nnx.Module, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Collections: the module's own state, or another one, and added heads."""
    given = given or {}
    others = [k for k in given if k != "params" and not added_heads.is_added(k)]
    if others:
        raise ValueError(
            f"{type(model).__name__} is a flax.nnx module, which holds its own "
            f"parameters: leave variables out. They may hold added heads, such as "
            f"'ood_head', and other values of the state as 'params'; got the keys "
            f"{', '.join(map(str, others))}."
        )
    return {"params": parameters(model), **given}


def _check(model: nnx.Module, variables: Mapping[str, Any], taps: Taps) -> None:
    name = type(model).__name__
    if needed := parts.required_arguments(model):
        raise ValueError(
            f"{name} must be called with images alone, model(images), but its __call__ "
            f"also requires {', '.join(needed)}. Give such arguments the defaults of "
            "evaluation mode, such as train=False, deterministic=True."
        )
    modules = _modules(model)
    training = [
        path or name
        for path, module in {"": model, **modules}.items()
        if any(getattr(module, f, False) is True for f in ("training", "is_training"))
    ]
    if training:
        raise ValueError(
            f"{name} is in training mode: {', '.join(training[:4])} says "
            "training=True, which flax.nnx's model.eval() does not change. Set it to "
            "False."
        )
    named = {f"the stage {k!r}": v for k, v in _stages(taps, modules).items()}
    if taps.head is not None:
        named["the head"] = _path(taps.head)
    for what, path in named.items():
        if path not in modules:
            raise ValueError(
                f"{name} has no module {path!r} to be {what}; it has: "
                f"{_shortened(modules)}. Name it with stages={{name: module path}} and "
                "head=module path (None for a backbone without a classifier)."
            )
    if taps.head is not None:
        parts.head_of(variables, _path(taps.head))


def _shortened(modules: Mapping[str, Any], most: int = 24) -> str:
    """The paths of modules, those nearest to the top."""
    ordered = sorted(modules, key=lambda path: path.count("/"))
    return ", ".join(ordered[:most]) + ", ..." * (len(ordered) > most) or "none"


class _Call(NamedTuple):
    """One call of a submodule."""

    argument: Any
    output: Any


def _run(
    model: nnx.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    edits: EditPath,
    taps: Taps,
) -> dict[str, list[_Call]]:
    """Runs a copy with edits; returns the calls of stages, head and blocks by path.

    The paths stand in the order of the calls.
    """
    copied = _copy(model, variables["params"])
    modules = _modules(copied)
    stage_of = {path: name for name, path in _stages(taps, modules).items()}
    calls: dict[str, list[_Call]] = {}

    def hook(path: str) -> nnx_calls.Hook:
        def heard(call: Any, args: Any, kwargs: Any) -> Any:
            _check_mode(path, modules[path], kwargs)
            output = call(*args, **kwargs)
            for edit in edits:
                if edit.stage == stage_of.get(path):
                    output = edit.rewrite(output).astype(output.dtype)
            calls.setdefault(path, []).append(_Call(args[0] if args else None, output))
            return output

        return heard

    def watched(path: str, module: nnx.Module) -> bool:
        named = path in stage_of or path == _head_path(taps) or _is_block(path)
        return named or isinstance(module, tuple(_MODES))

    with nnx_calls.heard({p: m for p, m in modules.items() if watched(p, m)}, hook):
        copied(images)
    return calls


def _forward(
    model: nnx.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    edits: EditPath,
    taps: Taps,
    before: Activations | None = None,
) -> Activations:
    del before  # XLA merges what both runs compute
    calls = _run(model, variables, images, edits, taps)
    paths = _stages(taps, _modules(model))
    if taps.stages is None:  # those that there are
        paths = {name: path for name, path in paths.items() if path in calls}
    head = _head_path(taps)
    named = {f"the stage {path!r}": path for path in paths.values()}
    for what, path in (named | ({f"the head {head!r}": head} if head else {})).items():
        if (count := len(calls.get(path, ()))) != 1:
            raise ValueError(
                f"{what} was called {count} times in one pass, expected once: name a "
                "module that the network calls once."
                + " Calls inside nnx.jit or nnx.remat are not seen; name a module that "
                "is called outside of them, or that holds them." * (count == 0)
            )
    stages = {name: calls[path][0].output for name, path in paths.items()}
    head_inputs = [calls[head][0].argument] if head else []
    where = Taps(taps.stages and paths, head)
    return parts.assembled(stages, head_inputs, edits, where, variables)


def _blocks(
    model: nnx.Module,
    variables: Mapping[str, Any],
    images: jax.Array,
    edits: EditPath,
    taps: Taps,
) -> dict[str, jax.Array]:
    calls = _run(model, variables, images, edits, taps)
    maps = {path: runs[-1].output for path, runs in calls.items() if _is_block(path)}
    return {p: m for p, m in maps.items() if getattr(m, "ndim", 0) in (3, 4)}


def _is_block(path: str) -> bool:
    """Whether a module is a block; 'blocks/3' of a list is one."""
    return blocks.is_block(tuple(re.sub(r"/(\d+)", r"\1", path).split("/")))


# Modules that training changes, and the argument of a call that asks for it if False.
_MODES = {nnx.BatchNorm: "use_running_average", nnx.Dropout: "deterministic"}


def _check_mode(path: str, module: nnx.Module, kwargs: Mapping[str, Any]) -> None:
    """Raises ValueError where a call overrules evaluation mode."""
    for kind, argument in _MODES.items():
        if isinstance(module, kind) and kwargs.get(argument) is False:
            raise ValueError(
                f"{path!r} is called with {argument}=False, as in training; a detector "
                f"needs evaluation mode. Leave {argument} out of the call, so that "
                "model.eval() decides."
            )


def _head(variables: Mapping[str, Any], taps: Taps) -> tuple[Any, Any] | None:
    return parts.head_node(variables, Taps(head=_head_path(taps)))


def _lacks(model: nnx.Module, taps: Taps, component: Component) -> str:
    modules = _modules(model)
    stages = _stages(taps, modules)
    for edit in itertools.chain(*component.edits):
        if edit.stage not in stages:
            return parts.missing_stage(edit, [*stages], _shortened(modules))
    if blocks.READS in component.reads and not any(map(_is_block, modules)):
        return (
            f"{component.spec} chooses among residual blocks, modules named like "
            f"'block1', of which {type(model).__name__} has none; it has: "
            f"{_shortened(modules)}."
        )
    return ""


KIND = Kind(
    name="flax.nnx",
    foreign=True,
    complete=_complete,
    check=_check,
    head=_head,
    forward=_forward,
    blocks=_blocks,
    lacks=_lacks,
    text=lambda model: type(model).__name__,  # the program and the weights tell more
)
