"""What a detector gets wrong: OOD images with high scores, ID images with low ones.

An evaluation keeps the scores of every image; these few images are read again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jood import metrics
from jood._utils import csv_text
from jood.data.benchmarks.spec import Benchmark
from jood.evaluation.benchmark_run import Evaluation
from jood.report.benchmark.network_view import Viewer
from jood.report.html import page
from jood.report.html import thumbnails

ID = "id_test"
COUNT = 6  # images per set


class Mistake(NamedTuple):
    """An image on the wrong side, or near it.

    Attributes:
      place: index in its set.
      name: the file's, or '' for an array's row.
      image: uint8 [H, W, 3].
      score: the detector's.
      wrong: whether the threshold that keeps 95 % of the ID images misjudges it.
      prediction: the class that the network predicts, '' without a classifier.
      label: the class that it is, '' where that is unknown, as of OOD images.
      maps: heatmaps float32 [h, w], in the order of `Viewer.labels`.
    """

    place: int
    name: str
    image: np.ndarray
    score: float
    wrong: bool
    prediction: str
    label: str
    maps: tuple[np.ndarray, ...]


def extreme(scores: np.ndarray, count: int, *, highest: bool) -> np.ndarray:
    """Returns the places of the `count` highest or lowest scores [N], extremes first.

    Among equal scores, the first in the set come first.
    """
    return np.argsort(-scores if highest else scores, kind="stable")[:count]


def find(
    evaluation: Evaluation,
    detector: str,
    benchmark: Benchmark,
    viewer: Viewer,
    count: int = COUNT,
) -> dict[str, list[Mistake]]:
    """Reads the images again, `count` per set, that a row is most mistaken about.

    Returns:
      The ID test images with the lowest scores under 'id_test', and the images with
      the highest scores of each OOD set, the worst first.

    Raises:
      ValueError: there is no such row.
    """
    if detector not in evaluation.id_scores:
        known = f"there are: {', '.join(evaluation.id_scores)}"
        raise ValueError(f"no detector {detector!r} in these results; {known}.")
    threshold = metrics.threshold_at_tpr(evaluation.id_scores[detector])
    by_set = {}
    for name, source in {ID: benchmark.id_test, **benchmark.ood}.items():
        scores = evaluation.scores(name, detector)
        order = extreme(scores, count, highest=name != ID)
        places = evaluation.places(name)[order]
        examples = [source[int(place)] for place in places]
        images = np.stack([np.asarray(e["image"]) for e in examples])
        view = viewer(images)
        answers = [None] * len(order) if view.prediction is None else view.prediction
        by_set[name] = [
            Mistake(
                place=int(places[i]),
                name=str(example.get("name", "")),
                image=images[i],
                score=float(scores[order[i]]),
                wrong=bool((scores[order[i]] >= threshold) == (name != ID)),
                prediction=_class(benchmark, answers[i]),
                label=_class(benchmark, example.get("label") if name == ID else None),
                maps=tuple(heatmaps[i] for heatmaps in view.maps),
            )
            for i, example in enumerate(examples)
        ]
    return by_set


def as_csv(by_set: Mapping[str, Sequence[Mistake]]) -> str:
    """Returns a line per image: its place, its score and its predicted class."""
    header = ["set", "place", "name", "score", "wrong_side", "prediction", "label"]
    rows = [
        [
            name,
            m.place,
            csv_text.path(m.name),
            repr(m.score),
            int(m.wrong),
            m.prediction,
            m.label,
        ]
        for name, mistakes in by_set.items()
        for m in mistakes
    ]
    return csv_text.joined(header, rows)


def section(
    by_set: Mapping[str, Sequence[Mistake]], detector: str, viewer: Viewer
) -> page.Section:
    """Returns the section of a row's mistakes by set, whose maps the viewer drew."""
    text = (
        f"Of {detector}, the ID images with the lowest scores and the images of each "
        "OOD set with the highest. 'wrong side' are those that the threshold which "
        "keeps 95 % of the ID images misjudges. mistakes.csv lists them."
    )
    if viewer.labels:
        text += f" The heatmaps are {viewer.caption}, all on one colour scale."
    plain = [m.maps[0] for every in by_set.values() for m in every if m.maps]
    top = max((float(heatmap.max()) for heatmap in plain), default=0.0)
    blocks: list[page.Block] = [page.Text(text)]
    for name, mistakes in by_set.items():
        what = "ID test set, lowest scores" if name == ID else f"{name}, highest scores"
        cards = [_card(one, viewer.labels, top) for one in mistakes]
        blocks.append(page.Cards(what, cards))
    return page.Section("What it gets wrong", blocks)


def _card(one: Mistake, labels: Sequence[str], top: float) -> page.Card:
    addresses = [thumbnails.of_map(heatmap, top) for heatmap in one.maps]
    image = (thumbnails.of_image(one.image), "image")
    pictures = [image, *zip(addresses, labels, strict=True)]
    lines = (
        f"score {one.score:.4g}{', wrong side' if one.wrong else ''}",
        one.prediction and f"predicted: {one.prediction}",
        one.label and f"label: {one.label}",
        one.name or f"image {one.place}",
    )
    return page.Card(pictures, [line for line in lines if line])


def _class(benchmark: Benchmark, label: Any) -> str:
    """The name of a class, '' for None."""
    if label is None:
        return ""
    names = benchmark.class_names
    return names[int(label)] if names else f"class {int(label)}"
