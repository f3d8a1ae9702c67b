"""The section of a page that shows what a detector gets wrong."""

from collections.abc import Mapping, Sequence

from jood.report.benchmark.mistakes import ID
from jood.report.benchmark.mistakes import Mistake
from jood.report.benchmark.network_view import Viewer
from jood.report.html import page
from jood.report.html import thumbnails


def section(
    found: Mapping[str, Sequence[Mistake]], detector: str, viewer: Viewer
) -> page.Section:
    """Returns the section.

    Args:
      found: by set, as `mistakes.find` returns it.
      detector: name of the row.
      viewer: what drew the heatmaps.
    """
    maps = [m.plain for every in found.values() for m in every if m.plain is not None]
    text = (
        f"Of {detector}, the ID images with the lowest scores and the images of each "
        "OOD set with the highest. 'wrong side' are those that the threshold which "
        "keeps 95 % of the ID images misjudges. mistakes.csv lists them."
    )
    if maps:
        text += f" The heatmaps are {viewer.caption}, all on one colour scale."
    top = max((float(heatmap.max()) for heatmap in maps), default=0.0)
    blocks: list[page.Block] = [page.Text(text)]
    for name, mistakes in found.items():
        what = "ID test set, lowest scores" if name == ID else f"{name}, highest scores"
        blocks.append(page.Cards(what, [_card(one, top) for one in mistakes]))
    return page.Section("What it gets wrong", blocks)


def _card(one: Mistake, top: float) -> page.Card:
    pictures = [(thumbnails.of_image(one.image), "image")]
    for heatmap, what in ((one.plain, "without TA"), (one.edited, "with TA")):
        if heatmap is not None:
            pictures.append((thumbnails.of_map(heatmap, top), what))
    side = ", wrong side" if one.wrong else ""
    lines = [f"score {one.score:.4g}{side}"]
    if one.prediction:
        lines.append(f"predicted: {one.prediction}")
    if one.label:
        lines.append(f"label: {one.label}")
    lines.append(one.name or f"image {one.place}")
    return page.Card(pictures, lines)
