"""Which components fit together: the order of slots, and what a score reads.

A rewrite that nothing after it sees is refused when a composition is built: its row
in a table would look like a result.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from jood.core.activations import STAGES
from jood.core.component import SLOTS
from jood.core.component import Component


def entry(part: Component) -> str:
    """Returns the first slot that a component rewrites, or its own."""
    return part.entry or part.slot


def check_order(left: Component, right: Component) -> None:
    """Raises ValueError if `right` would undo what `left` did or cannot follow it."""
    if left.slot in ("score", "bundle"):
        raise ValueError(
            f"{left.spec} already returns a score, so {right.spec} cannot follow it. "
            "To add two scores use fuse(a, b, weights=...)."
        )
    if SLOTS.index(left.slot) > SLOTS.index(entry(right)):
        raise ValueError(
            f"{left.spec} (slot {left.slot}) stands before {right.spec}, which "
            f"rewrites the slot {entry(right)} and with it all that follows, so the "
            f"effect of {left.spec} would vanish. Order: {' -> '.join(SLOTS[:5])}."
        )


def check_read(left: Component, score: Component) -> None:
    """Raises ValueError if the score reads nothing of what `left` rewrites."""
    read = set(score.reads)
    if not read or left.slot in ("score", "bundle"):
        return
    if entry(left) == "stage":
        edited = min(edit.stage for path in left.edits for edit in path)
        has_effect = not (
            read <= set(STAGES) and edited in STAGES and max(read) < edited
        )
    else:  # whatever is rewritten, the logits follow
        has_effect = bool(read & {entry(left), left.slot, "logit"})
    if not has_effect:
        raise ValueError(
            f"{left.spec} has no effect on {score.spec}, which reads "
            f"{' and '.join(sorted(read))} only. Leave it out, or add a score that "
            "it changes with fuse(a, b, weights=...)."
        )


def reads_features(component: Component) -> bool:
    """Whether a component may read the penultimate feature or what follows from it."""
    read = {"feature", "head", "logit"}
    return not component.reads or bool(read & set(component.reads))


def reads_classifier(score: Component) -> bool:
    """Whether a score depends on the head or the logits, or does not say."""
    return not score.reads or bool({"head", "logit"} & set(score.reads))


def check_detector(component: Component) -> None:
    """Raises ValueError unless a component is a score or a bundle of them."""
    if component.slot not in ("score", "bundle"):
        raise ValueError(
            f"a detector must end in a score; {component.spec} ends in the slot "
            f"{component.slot}. Add one: '...|energy()'."
        )


def check_without_head(score: Component) -> None:
    """Raises ValueError if a score reads the classifier, which a backbone lacks."""
    if reads_classifier(score):
        raise ValueError(
            f"{score.spec} reads the classifier, but the network is a backbone without "
            "one (head=None). Use a score that reads maps, as "
            "'ta(k=0.2)|feature_sim()', or the pooled feature, as 'knn(k=50)'."
        )


def of_all(parts: Sequence[Component]) -> dict[str, Any]:
    """What a whole takes from its parts: their earliest slot, and what any needs."""
    return {
        "entry": min(map(entry, parts), key=SLOTS.index),
        "needs_network": any(part.needs_network for part in parts),
        "needs_labels": any(part.needs_labels for part in parts),
    }


def reads(parts: Sequence[Component]) -> tuple[str, ...]:
    """Returns what any of the parts reads; () if one may read anything."""
    if not all(part.reads for part in parts):
        return ()
    return tuple(dict.fromkeys(name for part in parts for name in part.reads))


def maps_read(part: Component, stages: Iterable[str]) -> tuple[str, ...]:
    """Returns the names, of these stages, whose maps a component may read.

    For one that does not say, the last: a NaN in an earlier map reaches it, too.
    """
    if "stage" in part.reads:
        return tuple(stages)
    if not part.reads:
        return tuple(sorted(stages))[-1:]
    return tuple(name for name in stages if name in part.reads)


def check_scores(caller: str, parts: Sequence[Component]) -> None:
    """Raises ValueError unless every part is a single score."""
    for part in parts:
        if part.slot == "bundle":
            raise ValueError(f"{caller}() needs scores, got the bundle {part.spec}.")
        if part.slot != "score":
            raise ValueError(
                f"{caller}() needs components that end in a score, got {part.spec} "
                f"(slot {part.slot}). End it with one, such as {part.spec}|energy()."
            )
