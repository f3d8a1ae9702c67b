"""Writes what the demo found: a page, its pictures and a table, in a new folder."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

from jood._utils import atomic_files
from jood._utils import provenance
from jood.deploy import table
from jood.deploy.demo import page as page_lib
from jood.deploy.demo.judging import Judged
from jood.deploy.demo.reference import Reference
from jood.deploy.demo.verdicts import Verdict
from jood.report import figures
from jood.report.html import page

TABLE = "scores.csv"
HEATMAPS_OF = ("FS", "FS+TA")  # the detectors that score the two maps


def write(
    folder: str | os.PathLike[str],
    judged: Judged,
    verdicts: Sequence[Verdict],
    reference: Reference,
    class_names: Sequence[str],
    configuration: Mapping[str, Any],
) -> None:
    """Writes the folder, which appears when it is complete.

    Args:
      folder: A new folder.
      judged: The photographs, of which at least one could be read.
      verdicts: The verdicts on those.
      reference: The detectors, and the scores that they are compared with.
      class_names: One per class.
      configuration: Settings to record beside the results, JSON values.

    Raises:
      FileExistsError: The folder exists.
      OSError: It cannot be written.
    """
    calibration = reference.calibration
    rows = table.of_batch(judged.scored, judged.names, calibration, class_names)
    pictures = {
        "heatmaps": page_lib.heatmaps(
            judged, verdicts, HEATMAPS_OF, reference.brightest
        ),
        "scores": page_lib.histograms(judged, reference),
    }
    facts = {**configuration, **provenance.versions()}
    with atomic_files.atomic_folder(folder) as partial:
        table.write_csv(partial / TABLE, rows.schema, [rows])
        figures.save_pictures(partial, pictures)
        blocks = {name: _block(partial, name) for name in pictures}
        text = page_lib.build(judged, verdicts, reference, blocks, facts)
        (partial / page.FILE).write_text(text, encoding="utf-8")


def _block(folder: pathlib.Path, name: str) -> page.PictureBlock:
    return page.PictureBlock.read(folder / f"{name}.png", page_lib.caption(name))
