"""`observe`: one forward pass of any network, with stage edits, as a record.

`observe_in_chunks` gives the same record; on CPUs, its network takes a few images at a
time. `measured_in_chunks` also measures the record, as long as its maps are at hand.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jood.core import activations
from jood.core.activations import Activations
from jood.core.backbones import chunks
from jood.core.backbones import kinds
from jood.core.backbones import parts
from jood.core.backbones.edited_runs import EditPath
from jood.core.backbones.edited_runs import prefixes
from jood.core.backbones.edited_runs import with_edits
from jood.core.backbones.protocol import Taps

M = TypeVar("M")  # pytree of arrays [B, ...]


class _TokensError(Exception):
    """Ends the tracing of a loop over chunks: the network's maps are tokens."""


def observe(
    model: Any,
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
      model: a Linen module whose `model.apply(variables, images)` gives logits in
        evaluation mode, a `flax.nnx` module, a `jood.Backbone`, or what
        `jood.torch_backbone` returns.
      variables: its parameters and batch statistics, by collection; those of the
        other kinds are `jood.Detector(...).variables`.
      images: floating [B, H, W, C], preprocessed.
      edits: paths of stage edits, as `component.edits` gives them. Each distinct
        path adds one record and costs the layers after its first edit.
      labels: int32 [B], carried along for fitting.
      taps: paths of the stages and the head; by default modules C2..C5 and head.
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
    taps = taps or Taps()
    kind = kinds.of(model)
    kind.check(model, variables, taps)

    def run(path: EditPath, before: Activations | None = None) -> Activations:
        return kind.forward(model, variables, images, path, taps, before)

    def network(prefix: EditPath) -> activations.Network:
        def edited(more: EditPath, other: jax.Array) -> Activations:
            path = (*prefix, *more)
            paths = (path,) if path else ()
            record = observe(model, variables, other, edits=paths, taps=taps, std=std)
            for edit in path:
                record = record.edit(edit.spec)
            return record

        def again(other: jax.Array) -> Activations:
            return edited((), other)

        def maps(other: jax.Array) -> dict[str, jax.Array]:
            return kind.blocks(model, variables, other, prefix, taps)

        return activations.Network(images, scale, again, maps, edited)

    scale = None if std is None else jnp.asarray(std, jnp.float32)
    plain = run(()).replace(labels=labels)
    behind = network if needs_network else None
    return with_edits(plain, (), edits, run, behind)


def observe_in_chunks(
    model: Any,
    variables: Mapping[str, Any],
    images: jax.Array,
    *,
    edits: Sequence[EditPath] = (),
    labels: jax.Array | None = None,
    taps: Taps | None = None,
) -> Activations:
    """Returns what `observe` returns, up to float error, for a program to be compiled.

    All runs, the plain and the edited ones, are in the body of one loop over chunks, so
    that XLA merges what they share. The head is applied to the whole batch.

    Whole stays the batch of a network that computes outside of JAX's program, and of
    one of tokens: a ViT's large products lose more than its maps gain (0.93x).
    """
    options: dict[str, Any] = {"edits": edits, "labels": labels, "taps": taps}
    return measured_in_chunks(model, variables, images, lambda _: (), **options)[0]


def measured_in_chunks(
    model: Any,
    variables: Mapping[str, Any],
    images: jax.Array,
    measure: Callable[[Activations], M],
    *,
    edits: Sequence[EditPath] = (),
    labels: jax.Array | None = None,
    taps: Taps | None = None,
) -> tuple[Activations, M | None]:
    """Returns what `observe_in_chunks` returns, and `measure` of it, chunk by chunk.

    A map that nothing but `measure` reads is in the caches when it is read, and is
    never put together for the whole batch. A batch that stays whole is not measured:
    None.

    Args:
      model: As for `observe`, and so are the others.
      variables: See there.
      images: See there.
      measure: A record without labels -> arrays whose rows depend on its own rows.
      edits: See there.
      labels: See there.
      taps: See there.
    """
    taps = taps or Taps()
    kind = kinds.of(model)
    whole = functools.partial(
        observe, model, variables, images, edits=edits, labels=labels, taps=taps
    )
    count = 1 if images.ndim != 4 or kind.bound else chunks.number(images.shape)
    if count == 1:
        return whole(), None
    kind.check(model, variables, taps)
    paths, shared = prefixes(edits), kind.shared(variables)

    def rows(variables: Any, chunk: jax.Array) -> tuple[list[Any], M]:
        # Outside of what the loop holds: filters that are not used are not computed.
        given = {**variables, **shared}
        records = {
            path: kind.forward(model, given, chunk, path, taps) for path in paths
        }
        if any(z.ndim == 3 for z in records[()].stages.values()):  # [B, L, C]
            raise _TokensError
        edited = with_edits(records[()], (), edits, lambda path, _: records[path], None)
        read = [(record.penultimate, record.stages) for record in records.values()]
        return read, measure(edited)

    try:
        runs, measured = chunks.mapped(rows, variables, images, count)
    except _TokensError:
        return whole(), None
    of_path = dict(zip(paths, runs, strict=True))
    head = kind.head(variables, taps)

    def run(path: EditPath, before: Activations | None = None) -> Activations:
        del before
        feature, stages = of_path[path]
        kernel_and_bias = parts.kernel_and_bias(head, feature)
        return parts.record((feature, *kernel_and_bias), stages, variables)

    plain = run(()).replace(labels=labels)
    return with_edits(plain, (), edits, run, None), measured
