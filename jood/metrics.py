"""The metrics of a table of OOD detection, with every convention spelled out.

ID is the positive class and higher scores mean more in-distribution. Published
tables mix conventions: on equal scores FPR95 with ID positive and with OOD positive
can be 42 % and 90 %. Every number here says which it is. All are fractions in [0, 1],
of `id_scores`, floating [N], and `ood_scores`, floating [M]; a side that is empty or
holds a NaN is a ValueError.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# scikit-learn takes about a second to import, so it is imported where it is used.


def auroc(id_scores: Any, ood_scores: Any) -> float:
    """Area under the ROC curve: P(S_ID > S_OOD), ties counting one half.

    Args:
      id_scores: floating [N], scores of ID images.
      ood_scores: floating [M], scores of OOD images.

    Returns:
      A fraction in [0, 1]; 0.5 is chance.
    """
    from sklearn import metrics

    return float(metrics.roc_auc_score(*_labelled(id_scores, ood_scores)))


def threshold_at_tpr(id_scores: Any, tpr: float = 0.95) -> float:
    """The largest threshold γ with P(S_ID >= γ) >= tpr.

    Args:
      id_scores: floating [N].
      tpr: fraction of ID images to keep, in (0, 1].

    Returns:
      γ, one of the ID scores. An image is called OOD if its score is below γ.

    Example:
      >>> threshold_at_tpr([1.0, 2.0, 3.0, 4.0], tpr=0.75)
      2.0
    """
    scores = np.sort(_checked(id_scores, "ID"))[::-1]
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must be a fraction in (0, 1], got {tpr=}.")
    # The tolerance keeps 0.95 * 20 = 19.000000000000004 from counting as 20.
    return float(scores[int(np.ceil(tpr * scores.size - 1e-9)) - 1])


def fpr_at_tpr(id_scores: Any, ood_scores: Any, tpr: float = 0.95) -> float:
    """Share of OOD images accepted when at least `tpr` of the ID images are.

    γ = `threshold_at_tpr`; FPR = P(S_OOD >= γ). Ties count against the detector.

    Args:
      id_scores: floating [N].
      ood_scores: floating [M].
      tpr: fraction of ID images to keep, in (0, 1]; 0.95 gives FPR95.

    Returns:
      A fraction in [0, 1]; lower is better.

    Example:
      >>> fpr_at_tpr([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 2.5], tpr=0.75)
      0.5
    """
    threshold = threshold_at_tpr(id_scores, tpr)
    return float(np.mean(_checked(ood_scores, "OOD") >= threshold))


def fpr95_ood_positive(id_scores: Any, ood_scores: Any) -> float:
    """Share of ID images rejected when at least 95 % of the OOD images are.

    The convention of OpenOOD and pytorch-ood, with OOD as the positive class. Not
    comparable with `fpr_at_tpr`.
    """
    return fpr_at_tpr(*_flipped(id_scores, ood_scores), tpr=0.95)


def aupr_in(id_scores: Any, ood_scores: Any) -> float:
    """Average precision with ID as the positive class; chance is N / (N + M)."""
    from sklearn import metrics

    return float(metrics.average_precision_score(*_labelled(id_scores, ood_scores)))


def aupr_out(id_scores: Any, ood_scores: Any) -> float:
    """Average precision with OOD as the positive class; chance is M / (N + M)."""
    return aupr_in(*_flipped(id_scores, ood_scores))


class Column(NamedTuple):
    """A metric of a benchmark's table."""

    name: str  # the title
    metric: Callable[[Any, Any], float]  # (ID scores, OOD scores) -> in [0, 1]
    lower_is_better: bool = False
    shown: bool = False  # in every table, not in table.csv and results.json only


# The columns of each OOD set, by name; `register` adds one.
COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("AUROC", auroc, shown=True),
        Column("FPR95", fpr_at_tpr, lower_is_better=True, shown=True),
        Column("AUPR-in", aupr_in),
        Column("AUPR-out", aupr_out),
        Column("FPR95-OOD-positive", fpr95_ood_positive, lower_is_better=True),
    )
}


def register(column: Column) -> None:
    """Adds a column to every table, or raises ValueError if its name is taken."""
    if column.name in COLUMNS:
        raise ValueError(
            f"the name of the column {column.name!r} is taken; columns: "
            f"{', '.join(COLUMNS)}. Choose another name."
        )
    COLUMNS[column.name] = column


def shown() -> list[Column]:
    """Returns the columns that every table shows."""
    return [column for column in COLUMNS.values() if column.shown]


def evaluate(id_scores: Any, ood_scores: Any) -> dict[str, float]:
    """Returns every metric of `COLUMNS` by name."""
    return {name: c.metric(id_scores, ood_scores) for name, c in COLUMNS.items()}


def _checked(scores: Any, side: str) -> np.ndarray:
    if isinstance(scores, np.ma.MaskedArray):
        raise ValueError(
            f"{side} scores are a masked array, whose mask would be lost. Leave the "
            "masked ones out: scores.compressed()."
        )
    scores = np.asarray(scores)
    if scores.size and scores.dtype.kind not in "biuf":
        try:  # bfloat16, which is not a type of NumPy's own, but no text
            scores = scores.astype(np.float64, casting="same_kind")
        except TypeError:
            raise ValueError(
                f"{side} scores must be real numbers, got {scores.dtype}."
            ) from None
    scores = scores.astype(np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(
            f"{side} scores must be a non-empty vector [N], got shape {scores.shape}."
        )
    wrong = np.flatnonzero(np.isnan(scores))
    if wrong.size:
        raise ValueError(f"{side} score at index {wrong[0]} is NaN.")
    return scores


def _flipped(id_scores: Any, ood_scores: Any) -> tuple[np.ndarray, np.ndarray]:
    """OOD scores and ID scores, negated: OOD takes the place of ID."""
    return -_checked(ood_scores, "OOD"), -_checked(id_scores, "ID")


def _labelled(id_scores: Any, ood_scores: Any) -> tuple[np.ndarray, np.ndarray]:
    inside, outside = _checked(id_scores, "ID"), _checked(ood_scores, "OOD")
    labels = np.concatenate([np.ones(inside.size), np.zeros(outside.size)])
    # The metrics depend on ranks alone, and scikit-learn refuses infinities.
    _, ranks = np.unique(np.concatenate([inside, outside]), return_inverse=True)
    return labels, ranks.astype(np.float64)
