"""A function as a network: `jood.Backbone`, for Equinox, Keras and JAX itself.

The user's function gives the penultimate features and the maps of stages; another one
per stage continues from its map, so that a stage can be rewritten in mid-network. All
are traced into one program, where XLA merges what several runs share.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.backbones import called_networks
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.protocol import Kind
from jood.core.backbones.protocol import Taps
from jood.core.component import Component


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """Any JAX function as a network.

    Attributes:
      features: (params, images [B, H, W, C]) -> {"penultimate": [B, D], "stages":
        {name: [B, H, W, C] or tokens [B, L, C]}}, in evaluation mode; "stages" is
        optional. Stages are ordered by their names: 'C4' comes before 'C5'.
      head: the classifier, (kernel [D, K], bias [K] or None), logits = penultimate ·
        kernel + bias; None for a backbone without one.
      rest: by stage, (params, map) -> what `features` returns, computed from this map,
        with only the stages that follow it; the penultimate features are enough.
        Methods that rewrite a stage, such as Threshold Activation, need its function.
      params: pytree of arrays, the first argument of the functions.

    Raises:
      TypeError: something is not a function, or a leaf of `params` is not an array.
      ValueError: the head is not linear.

    Example:
      >>> import jood
      >>> def features(params, images):
      ...     h = images.mean(axis=(1, 2)) @ params["w"]
      ...     return {"penultimate": jax.nn.relu(h)}
      >>> backbone = Backbone(
      ...     features, head=(np.ones((8, 4), "f"), None), params={"w": np.eye(3, 8)}
      ... )
      >>> jood.Detector("energy", backbone)(np.ones((2, 6, 6, 3), "f")).shape
      (2,)
    """

    features: Callable[[Any, jax.Array], Mapping[str, Any]]
    head: tuple[Any, Any] | None
    rest: Mapping[str, Callable[[Any, jax.Array], Any]] = dataclasses.field(
        default_factory=dict
    )
    params: Any = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {"features": self.features}
        named |= {f"rest[{stage!r}]": after for stage, after in self.rest.items()}
        for name, function in named.items():
            if not callable(function):
                raise TypeError(
                    f"{name} must be a function (params, array) -> dict, got "
                    f"{type(function).__name__}."
                )
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
                raise TypeError(
                    f"params must be a pytree of arrays, got a {type(leaf).__name__} "
                    f"at params{jax.tree_util.keystr(path)}. Keep what is not an array "
                    "in the function; for an Equinox model separate the arrays: "
                    "params, static = eqx.partition(model, eqx.is_array)."
                )
        if self.head is not None:
            _check_head(self.head)

    def __repr__(self) -> str:
        count = sum(np.size(leaf) for leaf in jax.tree.leaves(self.params))
        return f"Backbone({name(self)}, {count:,} parameters)"


def name(backbone: Backbone) -> str:
    """Returns the name of the function, for titles and messages."""
    return getattr(backbone.features, "__qualname__", type(backbone.features).__name__)


def _check_head(head: Any) -> None:
    if not isinstance(head, tuple | list) or len(head) != 2:
        raise ValueError(
            "head must be a pair (kernel [D, K], bias [K] or None), or None for a "
            f"network without a classifier, got {type(head).__name__}."
        )
    kernel, bias = head
    if getattr(kernel, "ndim", 0) != 2 or not jnp.issubdtype(
        kernel.dtype, jnp.floating
    ):
        shape = getattr(kernel, "shape", type(kernel).__name__)
        raise ValueError(
            f"the head's kernel must be floating [D, K], got {shape}: the head is the "
            "last linear layer alone, and what comes before it belongs into features."
        )
    if bias is not None and np.shape(bias) != (kernel.shape[1],):
        hint = " Transpose the kernel: PyTorch, Equinox and others keep [K, D]."
        raise ValueError(
            f"the head's bias must be [K] = ({kernel.shape[1]},), the kernel's second "
            f"axis, got {np.shape(bias)}.{hint * (np.shape(bias) == kernel.shape[:1])}"
        )


def _complete(model: Backbone, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    own: dict[str, Any] = {"params": model.params}
    if model.head is not None:
        own |= called_networks.head_collection(*model.head)
    called_networks.check_given(given, own, "a jood.Backbone holds its own params")
    return own | dict(given or {})


def _check(model: Backbone, variables: Mapping[str, Any], taps: Taps) -> None:
    del variables
    if taps.stages is not None or taps.head not in ("head", None):
        raise ValueError(
            "a jood.Backbone says itself where its stages and its head are: leave "
            "stages and head out (of jood.Detector, or of jood.Taps), name the maps in "
            'what features returns, {"penultimate": ..., "stages": {"C5": map}}, and '
            "give Backbone(features, head=(kernel, bias))."
        )


def _forward(
    model: Backbone,
    variables: Mapping[str, Any],
    images: jax.Array,
    edits: EditPath,
    taps: Taps,
    before: Activations | None = None,
) -> Activations:
    del before  # XLA merges what both runs compute
    params = variables["params"]
    feature, stages = _read(model.features(params, images), "features")
    for edit in sorted(edits, key=lambda edit: edit.stage):
        if lack := _missing_rest(model, edit):
            raise ValueError(lack)
        if edit.stage not in stages:
            raise ValueError(
                f"{edit.spec} needs the stage {edit.stage!r}, which features does not "
                f"return; it returns: {', '.join(stages) or 'none'}."
            )
        edited = edit.rewrite(stages[edit.stage]).astype(stages[edit.stage].dtype)
        after = model.rest[edit.stage](params, edited)
        feature, following = _read(after, f"rest[{edit.stage!r}]")
        earlier = {name: z for name, z in stages.items() if name < edit.stage}
        stages = {**earlier, edit.stage: edited, **following}
    return called_networks.record(feature, stages, variables, taps)


def _read(returned: Any, function: str) -> tuple[jax.Array, dict[str, Any]]:
    """The penultimate features float32 [B, D] and maps that a user's function gave."""
    if hasattr(returned, "ndim") and function != "features":
        returned = {"penultimate": returned}
    if not isinstance(returned, Mapping) or "penultimate" not in returned:
        actual = sorted(returned) if isinstance(returned, Mapping) else type(returned)
        raise ValueError(
            f'{function} must return {{"penultimate": [B, D], "stages": {{name: '
            f"map}}}}, got {actual}."
        )
    feature = returned["penultimate"]
    if getattr(feature, "ndim", 0) != 2:
        raise ValueError(
            f"the penultimate features of {function} must be [B, D], got shape "
            f"{getattr(feature, 'shape', type(feature).__name__)}. Does it take a "
            "batch of images? For a function of one image use jax.vmap."
        )
    return feature.astype(jnp.float32), dict(returned.get("stages") or {})


def _missing_rest(model: Backbone, edit: StageEdit) -> str:
    if edit.stage in model.rest:
        return ""
    return (
        f"{edit.spec} rewrites the stage {edit.stage!r} in mid-network, but this "
        f"jood.Backbone (a function) cannot continue from there: give it rest="
        f"{{{edit.stage!r}: (params, map) -> penultimate features}}; it has: "
        f"{', '.join(model.rest) or 'none'}."
    )


def _lacks(model: Backbone, taps: Taps, component: Component) -> str:
    del taps
    return called_networks.lacks(
        component,
        lambda edit: _missing_rest(model, edit),
        "which are modules; a jood.Backbone (a function) has none. Return the maps to "
        "choose from as stages and use among='stages'.",
    )


KIND = Kind(
    name="function",
    foreign=True,
    complete=_complete,
    check=_check,
    head=called_networks.head,
    forward=_forward,
    blocks=called_networks.no_blocks,
    lacks=_lacks,
    text=name,
)
