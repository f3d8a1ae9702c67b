"""Writes docs/peers.md: where other people's code gives other scores than jood's.

    JOOD_GOLDEN=golden python docs/make_peers.py

Every figure is computed from the folder's arrays: the scores that each code gave for
the same images or features, and the metrics that each gave for the same scores. The
suite compares the page with what this prints, where it has the same arrays.
"""

from collections.abc import Iterator
import csv
import functools
import hashlib
import itertools
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np
from scipy import stats

from jood import metrics

DOCS = pathlib.Path(__file__).resolve().parent
PAGE, LIST = DOCS / "peers.md", DOCS / "peers.csv"
_SAME = 0.01  # standard deviations: what no ranking notices
CASES = {"cnn": ("tensors", "test_feat"), "featB": ("inputs", "id_features")}

_HEAD = """# Where implementations disagree

The same method, written by its authors, in OpenOOD, in pytorch-ood, in oodeel and in detectors, does not always give the
same scores. The tables below are computed from arrays that each of these programs gave, unchanged, on the same inputs. jood's
tests (`tests/golden_test.py`, `tests/golden_leading_test.py`) compare jood with the same arrays.

- **cnn**: a small convolutional network on images of digits, 300 ID and 300 OOD images, 10 classes, 64 features.
- **featB**: 2,048 sparse features and 100 classes, 250 ID and 250 OOD examples.

```bash
JOOD_GOLDEN=golden python docs/make_peers.py
```

writes this page. jood follows the authors' code, and OpenOOD's where no authors' code was run; each section says why, where it
does not follow the other program. *Difference* is the largest over all images, after sign and scale are undone, in standard
deviations of the scores that jood's equal; a dash stands where the two have no common unit. *ρ* is Spearman's rank
correlation. AUROC and FPR95 (ID positive) are in %, first of the scores that jood's equal, then of the other's. Scores that differ
by an increasing function alone have ρ = 1 and the same metrics.
"""  # noqa: E501  # lines of a page


def page(folder: pathlib.Path) -> str:
    """Returns the whole page for a folder of golden arrays."""
    lines = [
        _HEAD,
        f"<!-- arrays: {fingerprint(folder)} -->",
        "",
        "## The same name, other scores",
        "",
        *_disagreements(folder),
        "",
        "## The same name, the same scores",
        "",
        "Pairs of programs that ran a method with the same hyper-parameters on a case; "
        "how many of these pairs agree to 0.01 standard deviations, and the largest "
        "difference among those. The others are in the sections above.",
        "",
        "| method | programs | pairs | agree | difference |",
        "|---|---|---:|---:|---:|",
        *_agreements(folder),
        "",
        "## FPR95 is not one metric",
        "",
        "Each program's own metric on the same scores: 38 cases, of detectors, of few "
        "images, with ties. Columns count the cases that differ from jood's by more "
        "than 0.1 percentage points, and the largest difference in percentage points. "
        "*ID positive* is the share of OOD images accepted when 95 % of ID images are "
        "(jood's `fpr95`); *OOD positive* the share of ID images rejected when 95 % of "
        "OOD images are (OpenOOD's, jood's `fpr95_ood_positive`).",
        "",
        "| program | ID positive: cases | largest | OOD positive: cases | largest |",
        "|---|---:|---:|---:|---:|",
        *_metrics(folder),
        "",
        "Which class is positive matters most: on the scores of Mahalanobis on *cnn* "
        "the two are "
        f"{_both_fprs(folder)}. A table that does not say which it shows cannot be "
        "compared. Beyond that, programs differ in what they do with ties and with "
        "numbers of images that 95 % does not divide: jood takes the largest threshold "
        "that keeps at least 95 % of ID images, and counts ties against the detector.",
        "",
    ]
    return "\n".join(lines)


def fingerprint(folder: pathlib.Path) -> str:
    """Returns a text that other arrays do not have."""
    digest = hashlib.sha256()
    for name in [*(f"scores_{k}{c}" for c in CASES for k in ("", "post_")), "metrics"]:
        digest.update((folder / f"{name}.npz").read_bytes())
    return digest.hexdigest()[:16]


class Difference(NamedTuple):
    """Two arrays that go by one name: `mine`, which jood equals, and `other`.

    Attributes:
      title: The method, and the program of the other scores.
      mine: Key of the scores that jood's equal.
      other: Key of another program's.
      scale: Factor that brings `other` to the sign and scale of `mine`: a number, N
        examples, K classes; '+' or '-' if the two have no common unit.
      why: Explanation of the difference; '' continues a section.
    """

    title: str
    mine: str
    other: str
    scale: str
    why: str


def listed() -> list[Difference]:
    """Returns what docs/peers.csv lists."""
    with LIST.open(newline="", encoding="utf-8") as file:
        return [Difference(**row) for row in csv.DictReader(file)]


def _disagreements(folder: pathlib.Path) -> Iterator[str]:
    for one in listed():
        if one.why:
            yield from ("", f"### {one.title}", "", one.why, "")
            yield (
                "| case | jood equals | other | difference | ρ | AUROC | FPR95 |\n"
                "|---|---|---|---:|---:|---:|---:|"
            )
        for case in CASES:
            arrays = _arrays(folder, case)
            if one.mine not in arrays or one.other not in arrays:
                continue
            mine, other = (arrays[k].astype(np.float64) for k in (one.mine, one.other))
            other = other * _factor(one.scale, folder, case)
            apart = np.abs(mine - other).max() / mine.std()
            rho = stats.spearmanr(mine, other).statistic
            count = _known(folder, case)
            sides = [(x[:count], x[count:]) for x in (mine, other)]
            cells = (
                case,
                *(f"`{key}`" for key in (one.mine, one.other)),
                "–" if one.scale in ("+", "-") else f"{apart:.2g}",
                f"{rho:.4f}",
                " / ".join(f"{100 * metrics.auroc(*s):.1f}" for s in sides),
                " / ".join(f"{100 * metrics.fpr_at_tpr(*s):.1f}" for s in sides),
            )
            yield f"| {' | '.join(cells)} |"


def _agreements(folder: pathlib.Path) -> Iterator[str]:
    """Yields rows: method, programs, pairs, how many agree, largest difference."""
    peers: dict[str, set[str]] = {}
    distances: dict[str, list[float]] = {}
    for case in CASES:
        arrays, rows = _arrays(folder, case), 2 * _known(folder, case)
        groups: dict[str, list[str]] = {}
        for key, array in arrays.items():
            scores = array.shape == (rows,) and array.dtype.kind == "f"
            if scores and "__" in key and "_percentile" not in key:
                groups.setdefault(key.rpartition("__")[0], []).append(key)
        for name, keys in groups.items():
            method = re.split(r"_(?=[a-zA-Z]*\d|pooled|fmap|dist)", name)[0]
            for first, second in itertools.combinations(keys, 2):
                apart = _best(arrays[first], arrays[second], folder, case)
                distances.setdefault(method, []).append(apart)
                both = {key.rpartition("__")[2] for key in (first, second)}
                peers.setdefault(method, set()).update(both)
    for method, apart in sorted(distances.items()):
        same = [x for x in apart if x <= _SAME]
        most = f"{max(same):.0e}" if any(same) else "0" if same else "–"
        names = ", ".join(sorted(peers[method]))
        yield f"| {method} | {names} | {len(apart)} | {len(same)} | {most} |"


def _best(a: np.ndarray, b: np.ndarray, folder: pathlib.Path, case: str) -> float:
    """The difference of b to a after the best of the changes of unit in use."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    classes, examples = _sizes(folder, case)
    powers = [(a, b), (a, b**2), (a**2, b)]  # distances, squared or not
    factors = [1.0, 2, 5, 10, 100, classes, classes - 1]
    factors += [examples / 2, examples, 2 * examples]
    factors += [1 / factor for factor in factors]
    apart = [
        np.abs(x - sign * factor * y).max() / x.std()
        for x, y in powers
        for factor in factors
        for sign in (1, -1)
    ]
    return float(min(apart))


def _metrics(folder: pathlib.Path) -> Iterator[str]:
    with np.load(folder / "metrics.npz") as arrays:
        stored = dict(arrays)
    columns = list(stored["columns"])
    ours = {
        "fpr95_idpos": metrics.fpr_at_tpr,
        "fpr95_oodpos": metrics.fpr95_ood_positive,
    }
    for i, name in enumerate(stored["impl_names"]):
        cells = []
        for column, metric in ours.items():
            theirs = stored["table"][:, i, columns.index(column)]
            if np.isnan(theirs).all():
                cells += ["–", "–"]
                continue
            mine = np.array(
                [
                    metric(stored[f"{case}__id"], stored[f"{case}__ood"])
                    for case in stored["case_names"]
                ]
            )
            apart = 100 * np.abs(mine - theirs)
            cells += [f"{(apart > 0.1).sum()}", f"{np.nanmax(apart):.1f}"]
        yield f"| {name} | {' | '.join(cells)} |"


def _both_fprs(folder: pathlib.Path) -> str:
    with np.load(folder / "metrics.npz") as arrays:
        scores = arrays["cnn_mds__id"], arrays["cnn_mds__ood"]
    first, second = metrics.fpr_at_tpr(*scores), metrics.fpr95_ood_positive(*scores)
    return f"{100 * first:.1f} % (ID positive) and {100 * second:.1f} % (OOD positive)"


def _arrays(folder: pathlib.Path, case: str) -> dict[str, np.ndarray]:
    """All stored arrays of a case, by key."""
    by_key: dict[str, np.ndarray] = {}
    for kind in ("", "post_"):
        key = (folder, kind, case)
        if key not in _CACHE:
            with np.load(folder / f"scores_{kind}{case}.npz") as arrays:
                _CACHE[key] = dict(arrays)
        by_key |= _CACHE[key]
    return by_key


_CACHE: dict[tuple[pathlib.Path, str, str], dict[str, np.ndarray]] = {}


def _known(folder: pathlib.Path, case: str) -> int:
    """How many of a case's rows are ID: the first half."""
    return len(_arrays(folder, case)["msp__openood"]) // 2


@functools.cache  # reads all training features for their number
def _sizes(folder: pathlib.Path, case: str) -> tuple[int, int]:
    """Numbers of classes and of training examples."""
    kind, _ = CASES[case]
    with np.load(folder / f"{case}_{kind}.npz") as arrays:
        classes = len(arrays["head_b"])
        name = "train_feat" if kind == "tensors" else "train_features"
        return classes, len(arrays[name])


def _factor(scale: str, folder: pathlib.Path, case: str) -> float:
    """The number that a scale such as '-2' or '-min(100,K)' means."""
    classes, _ = _sizes(folder, case)
    sign, text = (-1.0, scale[1:]) if scale.startswith("-") else (1.0, scale)
    if most := re.fullmatch(r"min\((\d+),K\)", text):
        return sign * min(int(most[1]), classes)
    return sign * float(text.removeprefix("+") or 1)


if __name__ == "__main__":
    PAGE.write_text(page(pathlib.Path(os.environ["JOOD_GOLDEN"])), encoding="utf-8")
