"""The record of one forward pass: maps of stages, feature, head and logits.

A stage edit (Threshold Activation, for one) rewrites a map in mid-network; the record
of the edited run is in the plain record's `edited`. Plain and edited runs are
traced into one program, so XLA's common-subexpression elimination runs the layers
before the edit once and only those after it again.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any, NamedTuple, Self

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from jood.core import added_heads
from jood.core import finiteness
from jood.core import given_arrays
from jood.core import ood_head as ood_head_lib

STAGES = ("C2", "C3", "C4", "C5")
DECODED = "decoded"  # the map of a segmentation network's decode head, after C5


class StageEdit(NamedTuple):
    """A rewrite of one stage's map. Equal `spec`s are the same edit."""

    spec: str
    stage: str
    rewrite: Callable[[jax.Array], jax.Array]  # [B, H, W, C] -> [B, H, W, C]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StageEdit) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)


def _no_edits(edits: tuple[StageEdit, ...], images: jax.Array) -> "Activations":
    raise MissingStageError(
        f"the network behind this record cannot be run with the edit {edits[-1].spec}."
    )


@dataclasses.dataclass(frozen=True, eq=False)  # compared by identity: not a pytree
class Network:
    """The network behind a record, for methods that run it on other images."""

    images: jax.Array  # floating [B, H, W, C], those of the record, preprocessed
    std: jax.Array | None  # float32 [C] of the preprocessing
    run: Callable[[jax.Array], "Activations"]  # images -> record, rewritten as this one
    # images -> the map of each residual block, by module path, in the network's order
    blocks: Callable[[jax.Array], dict[str, jax.Array]] = lambda images: {}
    # (more stage edits, images) -> record, rewritten as this one
    edited: Callable[[tuple[StageEdit, ...], jax.Array], "Activations"] = _no_edits


class Activations(struct.PyTreeNode):
    """What a detector may read of one forward pass over B images.

    Attributes:
      stages: maps by stage name, [B, H, W, C] (or tokens [B, L, C]), compute dtype.
      penultimate: float32 [B, D], as rewritten so far.
      kernel: float32 [D, K], the classifier head's weights, as rewritten so far.
      bias: float32 [K].
      logits: float32 [B, K], as rewritten so far.
      prediction: int32 [B], argmax of the unmodified pass: the predicted class,
        which no edit or rewrite changes.
      original: float32 [B, D], the penultimate feature of the unmodified pass.
      labels: int32 [B] where known (fitting), else None.
      ood_head: the head of a network that was trained with SSOD, else None.
      heads: other collections that travel with a network because a score reads them,
        by name; see `jood.core.added_heads`.
      edited: records of the runs with a stage edit, by the edit's spec.
      network: the network behind the record, only where a component asks for it
        (`jood.core.input_perturbation`), and only inside the program that observed it.
    """

    stages: dict[str, jax.Array]
    penultimate: jax.Array
    kernel: jax.Array
    bias: jax.Array
    logits: jax.Array
    prediction: jax.Array
    original: jax.Array
    labels: jax.Array | None = None
    ood_head: ood_head_lib.OodHead | None = None
    heads: Mapping[str, Any] = struct.field(default_factory=dict)
    edited: dict[str, "Activations"] = struct.field(default_factory=dict)
    network: Network | None = struct.field(pytree_node=False, default=None)

    @classmethod
    def of(
        cls,
        penultimate: Any,
        kernel: Any,
        bias: Any = None,
        *,
        stages: Mapping[str, Any] | None = None,
        labels: Any = None,
        ood_head: Any = None,
        heads: Mapping[str, Any] | None = None,
    ) -> Self:
        """Builds a record from features that were computed elsewhere.

        Args:
          penultimate: floating [B, D].
          kernel: floating [D, K], PyTorch's `fc.weight` transposed.
          bias: floating [K]; zeros by default.
          stages: maps [B, H, W, C] by stage name, for scores that read them.
          labels: integer [B], each in [0, K).
          ood_head: (kernel [D, 1], bias [1]) of SSOD, for scores that read it.
          heads: collections of other objectives, for the scores that read them.

        Returns:
          The record of a plain pass, logits = penultimate · kernel + bias.

        Raises:
          ValueError: a type, rank or size does not fit, a label is out of range, or
            a value is NaN or infinite (the message says where).

        Example:
          >>> import numpy as np
          >>> features = np.ones((5, 8), np.float32)  # [B, D]
          >>> acts = Activations.of(features, kernel=np.ones((8, 3), np.float32))
          >>> acts.logits.shape, acts.prediction.dtype
          ((5, 3), dtype('int32'))
        """
        penultimate = _as_float32(penultimate, "penultimate")
        kernel = _as_float32(kernel, "kernel")
        if penultimate.ndim != 2 or kernel.ndim != 2 or not penultimate.shape[1]:
            raise ValueError(
                "penultimate must be [B, D] and kernel [D, K] with D >= 1, got shapes "
                f"{penultimate.shape} and {kernel.shape}."
            )
        if kernel.shape[0] != penultimate.shape[1]:
            hint = " Transpose the kernel." * (kernel.shape[1] == penultimate.shape[1])
            raise ValueError(
                f"kernel must be [D, K] with D = {penultimate.shape[1]}, the width of "
                f"penultimate, got {kernel.shape}.{hint}"
            )
        classes = kernel.shape[1]
        bias = jnp.zeros([classes]) if bias is None else _as_float32(bias, "bias")
        if bias.shape != (classes,):
            raise ValueError(f"bias must be [K] = ({classes},), got {bias.shape}.")
        if ood_head is not None:
            ood_head = ood_head_lib.checked(ood_head, penultimate.shape[1])
        if labels is not None:
            labels = jnp.asarray(check_labels(labels, len(penultimate), classes))
        logits, prediction = _answers(penultimate, kernel, bias)
        record = cls(
            stages=given_arrays.maps(stages, penultimate.shape[0]),
            penultimate=penultimate,
            kernel=kernel,
            bias=bias,
            logits=logits,
            prediction=prediction,
            original=penultimate,
            labels=labels,
            ood_head=ood_head,
            heads=dict(heads or {}),
        )
        leaves = jax.tree.leaves(record)
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            finiteness.check(finiteness.report(record, record.stages, np))
        return record

    def with_penultimate(self, penultimate: jax.Array) -> Self:
        """Rewrites the feature [B, D]; the logits follow."""
        chex.assert_equal_shape((penultimate, self.penultimate))
        logits = linear(penultimate, self.kernel, self.bias)
        return self.replace(penultimate=penultimate, logits=logits)

    def with_kernel(self, kernel: jax.Array) -> Self:
        """Rewrites the head's weights [D, K]; the logits follow."""
        chex.assert_equal_shape((kernel, self.kernel))
        logits = linear(self.penultimate, kernel, self.bias)
        return self.replace(kernel=kernel, logits=logits)

    def with_logits(self, logits: jax.Array) -> Self:
        """Rewrites the logits [B, K]."""
        chex.assert_equal_shape((logits, self.logits))
        return self.replace(logits=logits)

    def stage(self, name: str) -> jax.Array:
        """Returns a stage's map, float32 [B, H, W, C], or raises MissingStageError."""
        if name not in self.stages:
            raise MissingStageError(
                f"no map of stage {name!r} in these activations; there are: "
                f"{', '.join(sorted(self.stages)) or 'none (features only)'}."
            )
        return self.stages[name].astype(jnp.float32)

    def check_stages(self, reader: str) -> None:
        """Raises MissingStageError if there is no map; `reader` reads all stages."""
        if not self.stages:
            raise MissingStageError(
                f"{reader} reads every stage of the network, but these activations "
                "hold features only. Pass stages=... to jood.Activations.of, or use a "
                "jood.Detector."
            )

    def edit(self, spec: str) -> "Activations":
        """Returns the record of an edited run, or raises MissingStageError."""
        if spec not in self.edited:
            raise MissingStageError(
                f"these activations hold no run with the edit {spec}; there are: "
                f"{', '.join(self.edited) or 'none'}. It needs the network: pass "
                "edits=component.edits to jood.observe, or use a jood.Detector."
            )
        return self.edited[spec]

    def ood_logit(self) -> jax.Array:
        """Returns f_ood(penultimate), float32 [B], or raises ValueError."""
        if self.ood_head is None:
            raise ValueError(
                "this score reads an OOD head, which the network lacks. Train one: "
                "jood train --objective=ssod; of features from elsewhere "
                "pass ood_head=(kernel [D, 1], bias [1]) to jood.Activations.of."
            )
        return self.ood_head.logit(self.penultimate)

    def head(self, name: str) -> Any:
        """Returns the collection of a head by name, or raises ValueError."""
        if name not in self.heads:
            raise ValueError(
                f"this score reads the collection {name!r}, which the network lacks. "
                f"{added_heads.command(name)}; for features from elsewhere pass "
                f"heads={{{name!r}: ...}} to jood.Activations.of."
            )
        return self.heads[name]

    def behind(self) -> Network:
        """Returns the network behind the record.

        Raises:
          MissingStageError: the record is of features only, or was observed
            without `needs_network`.
        """
        if self.network is None:
            raise MissingStageError(
                "this method runs the network again on changed images, but these "
                "activations have none behind them. Pass needs_network=True to "
                "jood.observe, or use a jood.Detector."
            )
        return self.network


class MissingStageError(ValueError):
    """A component reads a stage, or a run with an edit, that was not observed."""


# One program where it is called outside of one, and a part of that which calls it.
@functools.partial(jax.jit, inline=True)
def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns x · kernel + bias, float32 [B, K], at full float32 precision."""
    product = jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST)
    return product + bias[None]


@functools.partial(jax.jit, inline=True)
def _answers(
    penultimate: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns logits [B, K] and predictions int32 [B]."""
    logits = linear(penultimate, kernel, bias)
    if not kernel.shape[1]:  # a backbone without a classifier predicts nothing
        return logits, jnp.zeros(len(logits), jnp.int32)
    return logits, jnp.argmax(logits, axis=-1).astype(jnp.int32)


def check_labels(labels: Any, size: int, classes: int) -> np.ndarray:
    """Returns them as NumPy's int32 [B]; raises ValueError if one is not in [0, K)."""
    labels = np.asarray(labels)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        actual = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"labels must be integers of shape ({size},), got {actual}.")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise ValueError(
            f"labels must lie in [0, {classes}), one per class of the head; label "
            f"{labels[wrong[0]]} at index {wrong[0]} does not ({wrong.size} of {size})."
        )
    return labels.astype(np.int32)


def _as_float32(array: Any, what: str) -> jax.Array:
    return given_arrays.floating(array, what).astype(jnp.float32)
