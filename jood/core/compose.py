"""Composition: `chain` in sequence, `fuse` as a weighted sum, `bundle` side by side.

All three take `Component`s and return a `Component`, so they nest freely. Pass j of
every branch of `fuse` and `bundle` shares sweep j over the training data, and equal
stage edits share one run of the network.
"""

from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import keyword
from typing import Any
import unicodedata

import jax
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import slot_rules
from jood.core.activations import Activations
from jood.core.activations import StageEdit
from jood.core.component import Component
from jood.core.component import Statistic
from jood.core.spread import with_spread


def chain(*parts: Component) -> Component:
    """Composes parts from left to right: `chain(ta(), react(), energy())`.

    Part i is fitted on activations that the parts before it have rewritten.

    Args:
      *parts: components in slot order (stage, feature, head, logit, score); slots
        may repeat up to the score, which ends a chain.

    Returns:
      A component of the last part's slot.

    Raises:
      ValueError: two neighbours, which the message names, are out of order (a rewrite
        recomputes everything after it, so a temperature before ReAct would silently
        vanish), or a part rewrites what the score does not read.

    Example:
      >>> import jood
      >>> jood.chain(jood.transforms.react(q=0.9), jood.scores.energy()).spec
      'react(q=0.9)|energy(T=1.0)'
    """
    if not parts:
        raise ValueError("chain() needs at least one component, got none.")
    for left, right in itertools.pairwise(parts):
        slot_rules.check_order(left, right)
    for left in parts[:-1]:
        slot_rules.check_read(left, parts[-1])
    counts = [len(part.passes) for part in parts]

    def split(fitted: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        values = iter(fitted)
        return [tuple(itertools.islice(values, count)) for count in counts]

    def make_pass(i: int, j: int) -> component.Pass:
        def build(fitted: tuple[Any, ...]) -> Statistic:
            values = split(fitted)
            stat = parts[i].passes[j](values[i][:j])

            def upstream(acts: Activations) -> Activations:
                for part, value in zip(parts[:i], values[:i], strict=True):
                    acts = _rewrite(part, value, acts)
                return acts

            return stat._replace(
                init=lambda acts: stat.init(jax.eval_shape(upstream, acts)),
                update=lambda s, acts, mask: stat.update(s, upstream(acts), mask),
            )

        return build

    def apply(fitted: tuple[Any, ...], acts: Activations) -> Any:
        for part, value in zip(parts, split(fitted), strict=True):
            acts = _rewrite(part, value, acts)
        return acts

    edits: tuple[tuple[StageEdit, ...], ...] = ()
    for part in reversed(parts):  # a stage part is run before whatever follows it
        ends = part.slot in ("score", "bundle")
        if slot_rules.entry(part) == "stage" and not ends:
            edits = tuple(a + b for a in part.edits for b in (edits or ((),)))
        else:
            edits = part.edits + edits
    ranking = parts[-1].ranking
    whole = component.build(
        spec="|".join(part.spec for part in parts),
        slot=parts[-1].slot,
        apply=apply,
        passes=tuple(make_pass(i, j) for i, n in enumerate(counts) for j in range(n)),
        edits=tuple(dict.fromkeys(edits)),
        reads=parts[-1].reads,
        **slot_rules.of_all(parts),
    )
    return whole._replace(ranking=ranking and chain(*parts[:-1], ranking))


def fuse(*parts: Component, weights: str | Sequence[Any]) -> Component:
    """Adds scores: S = Σ_i λ_i S_i (Feature Sim, Eq. 6: S_feat + λ S_cls).

    Args:
      *parts: at least two components that return a score [B].
      weights: one number per part, the λ_i; or 'scale', which fits them on the ID
        training data as λ_i = std(S_1) / std(S_i), so that no score dominates
        (Feature Sim, App. A.1).

    Returns:
      A component that returns a score.

    Raises:
      ValueError: a part returns no score, or the weights are not one per part.

    References:
      Feature Map Matters in Out-of-Distribution Detection, Sec. 5.3 and App. A.1.

    Example:
      >>> import jax, jood
      >>> acts = jood.Activations.of(jax.numpy.eye(3), kernel=jax.numpy.eye(3))
      >>> both = jood.fuse(jood.parse('msp()'), jood.parse('energy()'), weights=(1, 2))
      >>> both.apply((), acts).shape
      (3,)
    """
    if len(parts) < 2:
        raise ValueError(f"fuse() needs at least two scores, got {len(parts)}.")
    slot_rules.check_scores("fuse", parts)
    if isinstance(weights, str) or not isinstance(weights, Iterable):
        if weights != "scale":
            raise ValueError(
                f"weights must be 'scale' or one number per part, got {weights!r}."
            )
        text = "'scale'"
        parts = tuple(with_spread(part) for part in parts)
    else:
        weights = tuple(weights)
        if len(weights) != len(parts):
            raise ValueError(
                f"fuse() needs one weight per part: {len(parts)} parts, {weights=}."
            )
        for weight in weights:
            arguments.check_range("weight", weight, -np.inf, np.inf, "a finite number")
        text = component.format_value(weights)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        values = _branch_values(parts, fitted)
        lambdas: Sequence[Any] = weights
        if weights == "scale":  # the spread is the last value of each part
            lambdas = [values[0][-1] / value[-1] for value in values]
        scores = [p.apply(v, acts) for p, v in zip(parts, values, strict=True)]
        return sum(w * s for w, s in zip(lambdas, scores, strict=True))

    return component.build(
        spec=f"fuse({', '.join(part.spec for part in parts)}, weights={text})",
        slot="score",
        apply=apply,
        **_together(parts),
    )


def bundle(**parts: Component) -> Component:
    """Asks many detectors at once; the score is a dict {name: [B]}.

    Args:
      **parts: a score component per name; a name that is not a Python identifier is
        given as `bundle(**{name: component})`.

    Returns:
      A component of slot 'bundle'.

    Raises:
      ValueError: there is no part, or a part returns no score.

    Example:
      >>> import jax, jood
      >>> acts = jood.Activations.of(jax.numpy.eye(3), kernel=jax.numpy.eye(3))
      >>> table = jood.bundle(a=jood.parse('msp()'), b=jood.parse('energy()'))
      >>> {name: score.shape for name, score in table.apply((), acts).items()}
      {'a': (3,), 'b': (3,)}
    """
    if not parts:
        raise ValueError("bundle() needs at least one named component, got none.")
    branches = tuple(parts.values())
    slot_rules.check_scores("bundle", branches)

    def apply(fitted: tuple[Any, ...], acts: Activations) -> dict[str, jax.Array]:
        values = _branch_values(branches, fitted)
        scores = (p.apply(v, acts) for p, v in zip(branches, values, strict=True))
        return dict(zip(parts, scores, strict=True))

    if all(_is_keyword_argument(name) for name in parts):
        body = ", ".join(f"{name}={part.spec}" for name, part in parts.items())
    else:
        pairs = ", ".join(f"{name!r}: {part.spec}" for name, part in parts.items())
        body = f"**{{{pairs}}}"
    whole = component.build(
        spec=f"bundle({body})",
        slot="bundle",
        apply=apply,
        **_together(branches),
    )
    ranked = {name: part.ranking or part for name, part in parts.items()}
    ranks = any(part.ranking for part in branches)
    return whole._replace(ranking=bundle(**ranked) if ranks else None)


def values_of(
    parts: Sequence[Component], fitted: tuple[Any, ...], index: int
) -> tuple[Any, ...]:
    """Returns what part number `index` of a fitted `bundle` has learned, for itself."""
    return _branch_values(parts, fitted)[index]


def _is_keyword_argument(name: str) -> bool:
    """Whether Python reads `name=...` in a call back as this very name."""
    readable = name.isidentifier() and not keyword.iskeyword(name)
    return readable and unicodedata.normalize("NFKC", name) == name


def _rewrite(part: Component, value: tuple[Any, ...], acts: Activations) -> Any:
    """Applies a part; the network behind the record then rewrites in the same way."""
    out = part.apply(value, acts)
    network = acts.network
    # After a stage edit it is the edited record's own network that stands behind.
    kept = part.slot in ("score", "bundle") or slot_rules.entry(part) == "stage"
    if network is None or kept:
        return out
    again = dataclasses.replace(
        network,
        run=lambda x: part.apply(value, network.run(x)),
        edited=lambda more, x: part.apply(value, network.edited(more, x)),
    )
    return out.replace(network=again)


def _together(parts: Sequence[Component]) -> dict[str, Any]:
    """What `fuse` and `bundle` take over from their parts."""
    return {
        "passes": _side_by_side(parts),
        "edits": tuple(dict.fromkeys(path for part in parts for path in part.edits)),
        "reads": slot_rules.reads(parts),
        **slot_rules.of_all(parts),
    }


def _branch_values(
    parts: Sequence[Component], fitted: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    """Regroups sweep-major fitted values (fitted[j][i]) by branch i."""
    if any(len(values) != len(parts) for values in fitted):
        raise component.NotFittedError(
            f"expected the fitted values of {len(parts)} parts in every pass, got "
            f"{[*map(len, fitted)]}. Fit this very composition with jood.fit."
        )
    counts = enumerate(len(part.passes) for part in parts)
    return [tuple(fitted[j][i] for j in range(count)) for i, count in counts]


_NOTHING = Statistic(*[lambda *_: ()] * 4)  # of a branch that has fewer passes


def _side_by_side(parts: Sequence[Component]) -> tuple[component.Pass, ...]:
    """Runs pass j of every branch in the same sweep over the data."""

    def make_pass(j: int) -> component.Pass:
        def build(fitted: tuple[Any, ...]) -> Statistic:
            stats = [
                part.passes[j](tuple(f[i] for f in fitted[:j]))
                if j < len(part.passes)
                else _NOTHING
                for i, part in enumerate(parts)
            ]
            return Statistic(
                init=lambda acts: tuple(stat.init(acts) for stat in stats),
                update=lambda state, acts, mask: tuple(
                    stat.update(s, acts, mask)
                    for stat, s in zip(stats, state, strict=True)
                ),
                merge=lambda *states: tuple(
                    stat.merge(a, b) for stat, a, b in zip(stats, *states, strict=True)
                ),
                finalize=lambda state: tuple(
                    stat.finalize(s) for stat, s in zip(stats, state, strict=True)
                ),
            )

        return build

    return tuple(make_pass(j) for j in range(max(len(p.passes) for p in parts)))
