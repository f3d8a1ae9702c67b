"""The whole idea of jood: small pure functions that compose.

A `Component` is one step of a detector. It reads the record of a forward pass
(`jood.Activations`) and returns either a rewritten record (slots stage, feature,
head, logit) or a score per image (slot score). What it learns from training data it
declares as `Statistic`s: mergeable, streaming summaries, one per sweep over the data.
`chain`, `fuse` and `bundle` return Components again, so one code path fits, scores,
saves and tests a single score and a table of forty methods alike.

    images ──observe──► Activations ──stage─►feature─►head─►logit─►score──► [B]

Scores are float32 [B]; higher means more in-distribution.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jood.core.activations import Activations
from jood.core.activations import StageEdit

# What a component may rewrite, in the order in which the network computes it. A
# rewrite recomputes what follows from it, so a chain can only go left to right.
SLOTS = ("stage", "feature", "head", "logit", "score", "bundle")


class NotFittedError(ValueError):
    """A component or detector that learns from data is used before `fit`."""


def empty_data_set(purpose: str) -> ValueError:
    """Returns the error of a data set without a batch: 'cannot fit on an empty ...'."""
    return ValueError(
        f"cannot {purpose} on an empty data set: the source has no batch."
    )


class Statistic(NamedTuple):
    """A mergeable, streaming summary of examples.

    `merge` is associative and does not depend on the order of the examples, and a
    state's size does not depend on their number. `init`, `update` and `merge` are
    pure and run under `jit`; `finalize` runs on the host, in float64.
    """

    init: Callable[[Activations], Any]  # shapes of the activations -> empty state
    update: Callable[[Any, Activations, jax.Array], Any]  # mask: float32 [B], 0 = pad
    merge: Callable[[Any, Any], Any]
    finalize: Callable[[Any], Any]  # -> tuples, dicts and arrays


F = TypeVar("F", bound=Callable[..., Any])  # a factory
Pass = Callable[[tuple[Any, ...]], Statistic]  # fitted values so far -> Statistic


class Component(NamedTuple):
    """One step of a detector, or a whole one.

    Attributes:
      spec: its own text; `jood.parse(component.spec)` gives the component back.
      slot: kind of result that `apply` returns; one of `SLOTS`.
      apply: (fitted, activations) -> activations, or scores float32 [B] for slot
        'score', or a dict of scores for slot 'bundle'.
      passes: pass j maps the fitted values of the passes before it to the
        `Statistic` of sweep j over the training data; () if nothing is fitted.
      edits: paths of stage edits that `observe` must run the network with; ()
        for most.
      entry: the earliest slot that it or a part of it rewrites; `slot` if left out.
      reads: parts that a score depends on, of 'feature', 'head', 'logit' and stage
        names; () stands for anything. `chain` refuses a rewrite that it would not see.
      ranking: for a score that saturates, a component whose score is a strictly
        increasing function of it that does not: metrics, which depend on the order
        alone, are taken on it. None for most.
      needs_network: whether it runs the network again on other images (ODIN's step
        along a gradient); `observe` then puts the network behind the record.
      needs_labels: whether it learns from the labels of training images.
    """

    spec: str
    slot: str
    apply: Callable[[tuple[Any, ...], Activations], Any]
    passes: tuple[Pass, ...] = ()
    edits: tuple[tuple[StageEdit, ...], ...] = ()
    entry: str = ""
    reads: tuple[str, ...] = ()
    ranking: "Component | None" = None
    needs_network: bool = False
    needs_labels: bool = False


def format_value(value: Any) -> str:
    """Returns the text of one hyper-parameter, as `jood.parse` reads it.

    A traced value has no text; it gets a name of its own, so that two of them in one
    program are not taken for the same edit.

    Raises:
      ValueError: the value's text could not be read again, as that of a Fraction.
    """
    if isinstance(value, jax.core.Tracer):
        return f"<traced {id(value)}>"
    if isinstance(value, (np.ndarray, jax.Array, np.generic)):
        value = np.asarray(value).item()
    if isinstance(value, tuple):
        texts = [format_value(v) for v in value]
        return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"
    if not isinstance(value, int | float | str | bytes | None):
        raise ValueError(
            "a hyper-parameter must be a number, a string or a tuple of these, whose "
            f"text can be read again; got a {type(value).__name__}: {value!r}."
        )
    return repr(value)


def call_spec(name: str, **arguments: Any) -> str:
    """Returns `name(key=value, ...)`; skips arguments that are None."""
    given = {k: v for k, v in arguments.items() if v is not None}
    return f"{name}({', '.join(f'{k}={format_value(v)}' for k, v in given.items())})"


def build(
    spec: str,
    slot: str,
    apply: Callable[[tuple[Any, ...], Activations], Any],
    passes: tuple[Pass, ...] = (),
    edits: tuple[tuple[StageEdit, ...], ...] = (),
    entry: str = "",
    reads: tuple[str, ...] = (),
    needs_network: bool = False,
    needs_labels: bool = False,
) -> Component:
    """Returns a `Component` whose `apply` refuses missing fitted values.

    Raises:
      ValueError: `slot` is none of `SLOTS`.
    """
    if slot not in SLOTS:
        raise ValueError(f"slot must be one of {', '.join(SLOTS)}, got {slot!r}.")

    def checked(fitted: tuple[Any, ...], acts: Activations) -> Any:
        if len(fitted) != len(passes):
            raise NotFittedError(
                f"{spec} learns from data in {len(passes)} pass(es) but got "
                f"{len(fitted)} fitted value(s). Call "
                "fitted = jood.fit(component, training_activations) first."
            )
        return apply(fitted, acts)

    return Component(
        spec,
        slot,
        checked,
        passes,
        edits,
        entry or slot,
        reads,
        needs_network=needs_network,
        needs_labels=needs_labels,
    )


def row(title: str, text: str = "") -> Callable[[F], F]:
    """Names the row of a method in tables: a decorator of its factory.

    Args:
      title: name of the row, from the method's paper.
      text: text of the detector, by default the factory called without arguments;
        names in braces take a benchmark's values, as in 'knn(k={knn})'.
    """

    def mark(factory: F) -> F:
        rows = {**getattr(factory, "rows", {}), title: text or f"{factory.__name__}()"}
        factory.rows = rows  # type: ignore[attr-defined]  # functions take any attribute
        return factory

    return mark


def stateless(
    spec: str,
    slot: str,
    function: Callable[[Activations], Any],
    edits: tuple[tuple[StageEdit, ...], ...] = (),
    reads: tuple[str, ...] = (),
    needs_network: bool = False,
) -> Component:
    """Returns a component that fits nothing: `function(activations)`."""
    return build(
        spec,
        slot,
        lambda _, acts: function(acts),
        edits=edits,
        reads=reads,
        needs_network=needs_network,
    )


def score(
    spec: str,
    function: Callable[[Activations], jax.Array],
    reads: tuple[str, ...] = (),
) -> Component:
    """Returns a score component that fits nothing; its output is cast to float32."""
    return stateless(
        spec, "score", lambda acts: function(acts).astype(jnp.float32), reads=reads
    )


def check_stage(stage: Any) -> None:
    """Raises ValueError unless `stage` is a name; a model says which it has."""
    if not isinstance(stage, str) or not stage:
        raise ValueError(f"stage must be a stage's name, such as 'C5', got {stage!r}.")
