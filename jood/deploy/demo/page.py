"""The demo's pictures and its page."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import figure

from jood.deploy import plots as score_plots
from jood.deploy.demo import verdicts as verdicts_lib
from jood.deploy.demo.judging import LAST
from jood.deploy.demo.judging import Judged
from jood.deploy.demo.reference import Reference
from jood.deploy.demo.verdicts import Verdict
from jood.report.benchmark import plots
from jood.report.html import page
from jood.report.html import thumbnails

_ROW = 6  # photographs side by side in the picture of heatmaps
_HEATMAPS = (
    "Top: a photograph as the network takes it. Below: the network's last feature map "
    f"({LAST}), summed over channels, without Threshold Activation (TA) and with it, "
    "in colours that mean the same for every photograph. Above a map stand its Feature "
    "Sim score (the mean absolute deviation: high where something stands out from the "
    "rest) and its p-value."
)
_LINES = (
    "A line has a detector's score and its p-value; a star (*) says that the detector "
    "calls the photograph OOD. The maps beside a photograph show where the network "
    "responds, without Threshold Activation (TA) and with it."
)
_SCORES = (
    "Gray: the scores of the calibration photographs. Blue: these photographs. "
    "Left of the dashed threshold a photograph is called OOD."
)


def heatmaps(
    judged: Judged,
    verdicts: Sequence[Verdict],
    detectors: tuple[str, str],
    brightest: float,
) -> figure.Figure:
    """Draws the photographs that are shown over their two heatmaps.

    `detectors` are those whose scores stand above the maps; `brightest` is the value
    of the brightest colour.
    """
    known = {one.place: one.opinions for one in verdicts}
    parts = {
        _range(start, len(judged.shown)): slice(start, start + _ROW)
        for start in range(0, len(judged.shown), _ROW)
    }
    rows = []
    labels = ("without TA", "with TA")
    for label, maps, name in zip(labels, judged.maps, detectors, strict=True):
        captions = {
            part: [
                f"FS {opinion.score:.2f}, p = {opinion.p_value:.3f}"
                for opinion in (known[int(i)][name] for i in judged.shown[where])
            ]
            for part, where in parts.items()
        }
        shown = {part: maps[where] for part, where in parts.items()}
        rows.append(plots.HeatmapRow(label, shown, captions, brightest))
    images = {part: judged.images[where] for part, where in parts.items()}
    return plots.heatmaps(images, rows)


def _range(start: int, count: int) -> str:
    last = min(start + _ROW, count)
    places = f"s {start + 1} to {last}" if last > start + 1 else f" {last}"
    return f"photograph{places}"


def histograms(judged: Judged, reference: Reference) -> figure.Figure:
    """Draws the scores of photographs among those of the calibration."""
    readable = judged.scored.readable
    scores = {name: some[readable] for name, some in judged.scored.scores.items()}
    return score_plots.histograms(reference.calibration, scores)


def build(
    judged: Judged,
    verdicts: Sequence[Verdict],
    reference: Reference,
    pictures: Mapping[str, page.PictureBlock],
    facts: Mapping[str, Any],
) -> str:
    """Returns the page.

    Args:
      judged: The photographs.
      verdicts: The verdicts on those that could be read.
      reference: The detectors, and the scores that they are compared with.
      pictures: 'heatmaps' and 'scores', as they were written.
      facts: Configuration and versions, which the page shows.
    """
    more = len(verdicts) - len(judged.shown)
    shown, top = _shown(judged, verdicts), reference.brightest
    cards = [_card(judged, row, one, top) for row, one in shown]
    title = f"The first {len(cards)} of {len(verdicts)}" if more else "One by one"
    sections = [
        page.Section("Photographs", [page.Text(_LINES), page.Cards(title, cards)]),
        page.Section("Heatmaps", [pictures["heatmaps"]]),
        page.Section("Scores", [_grid(verdicts), pictures["scores"]]),
        page.Section("What the numbers mean", [page.Text(_meaning(reference))]),
        page.Section("What could not be read", _failures(judged)),
        page.Section(
            "How it was run",
            [
                page.Facts("Detectors", reference.detectors),
                page.Facts("Calibration scores", reference.about),
                page.Facts("Configuration and versions", facts),
            ],
        ),
    ]
    return page.render("Is this photograph OOD?", _lead(judged, verdicts), sections)


def caption(name: str) -> str:
    """Returns the caption of 'heatmaps' or of 'scores'."""
    return {"heatmaps": _HEATMAPS, "scores": _SCORES}[name]


def _lead(judged: Judged, verdicts: Sequence[Verdict]) -> str:
    if len(verdicts) == 1:
        (one,) = verdicts
        first = f"{one.short_name}: {verdicts_lib.in_words(one)} detectors."
        first += f" The network takes it for: {one.predicted}."
    else:
        most = sum(2 * len(one.called_ood) > len(one.opinions) for one in verdicts)
        called = f"{most:,} {'is' if most == 1 else 'are'} called OOD by most of"
        first = f"{len(verdicts):,} photographs; {called} "
        first += f"{len(verdicts[0].opinions)} detectors."
    if judged.scored.skipped:
        first += f" {len(judged.scored.skipped):,} could not be read."
    return (
        f"{first}\nOOD, out of distribution, means: it shows none of ImageNet's 1,000 "
        "classes, so that the network's prediction cannot be right."
    )


def _meaning(reference: Reference) -> str:
    calibration = reference.calibration
    promise = next(iter(calibration.promises().values()))
    return (
        f"Scores: higher means more in-distribution. A p-value is (1 + the number of "
        f"calibration photographs with a score as low) / {promise.images + 1:,}; a "
        f"photograph is called OOD (*) where it is at most {1 - calibration.tpr:.4g}."
        f"\n\n{reference.about['images']}\n\n"
        "The detectors are not independent, and none of them is always right: "
        "docs/demo.md says how well each separates photographs from textures."
    )


def _shown(judged: Judged, verdicts: Sequence[Verdict]) -> list[tuple[int, Verdict]]:
    rows = {int(place): row for row, place in enumerate(judged.shown)}
    return [(rows[one.place], one) for one in verdicts if one.place in rows]


def _card(judged: Judged, row: int, verdict: Verdict, top: float) -> page.Card:
    plain, edited = (thumbnails.of_map(maps[row], top) for maps in judged.maps)
    pictures = [
        (thumbnails.of_image(judged.images[row]), "photograph"),
        (plain, "without TA"),
        (edited, "with TA"),
    ]
    lines = [
        f"{verdict.short_name}: {verdicts_lib.in_words(verdict)}",
        f"class: {verdict.predicted}",
        *(f"{name}: {one.text}" for name, one in verdict.opinions.items()),
    ]
    return page.Card(pictures, lines)


def _grid(verdicts: Sequence[Verdict]) -> page.Grid:
    names = list(verdicts[0].opinions)
    columns = [page.GridColumn("photograph"), page.GridColumn("class")]
    columns.append(page.GridColumn("called OOD by", descending=True))
    for name in names:
        columns += [page.GridColumn("score", name), page.GridColumn("p-value", name)]
    rows = []
    for one in verdicts:
        row = [page.Cell(one.short_name), page.Cell(one.predicted)]
        row.append(page.Cell(f"{len(one.called_ood)}", len(one.called_ood)))
        for name in names:
            opinion = one.opinions[name]
            mark = "best" if opinion.is_ood else ""
            row.append(page.Cell(f"{opinion.score:.4g}", opinion.score))
            row.append(page.Cell(f"{opinion.p_value:.3f}", opinion.p_value, mark))
        rows.append(row)
    return page.Grid(columns, rows, "Bold: called OOD by this detector.")


def _failures(judged: Judged) -> list[page.Block]:
    cells = [list(map(page.Cell, pair)) for pair in verdicts_lib.failed(judged)]
    columns = [page.GridColumn("photograph"), page.GridColumn("why")]
    return [page.Grid(columns, cells)] if cells else []
