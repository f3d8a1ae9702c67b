"""The folder of a drawn figure: pictures as PNG and PDF, what was run, and the page."""

from collections.abc import Mapping
import json
import os
from typing import Any

from matplotlib import figure

from jood._utils import atomic_files
from jood._utils import provenance
from jood.papers.figures.paper_figure import PaperFigure
from jood.report import figures as figures_lib
from jood.report.benchmark import page as benchmark_page
from jood.report.html import page


def write(
    folder: str | os.PathLike[str],
    title: str,
    drawn: PaperFigure,
    pictures: Mapping[str, figure.Figure],
    remarks: str,
    configuration: Mapping[str, Any],
) -> None:
    """Writes a new results folder.

    Args:
      folder: The new folder.
      title: Title of the page: 'HIMPLoS, Figure 5: ...'.
      drawn: Figure that was drawn.
      pictures: Pictures by stem.
      remarks: Differences from the paper: the network, the sets.
      configuration: Settings to run this again with, JSON values.
    """
    run = {"configuration": dict(configuration), "versions": provenance.versions()}
    with atomic_files.atomic_folder(folder) as partial:
        figures_lib.save_pictures(partial, pictures)
        content = {**run, "figure": title, "remarks": remarks}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (partial / "results.json").write_text(text, encoding="utf-8")
        blocks = [
            page.PictureBlock.read(partial / f"{stem}.png", drawn.caption)
            for stem in pictures
        ]
        sections = [
            page.Section("Figure", blocks),
            benchmark_page.how_it_was_run(run),
        ]
        shown = page.render(title, remarks, sections)
        (partial / page.FILE).write_text(shown, encoding="utf-8")
