"""Scoring that is stopped: nothing is lost, half-written or scored again."""

import dataclasses
import logging

from helpers import brightness
from helpers.scored_folder import run
from helpers.scored_folder import stop_after
from helpers.scored_folder import table
import numpy as np
from pyarrow import parquet
import pytest

from jood.deploy import finished_scores
from jood.deploy import score_job
from jood.detector import streaming
from jood.detector.calibration import Calibration

pytestmark = pytest.mark.usefixtures("small_shards")


def count_scored(monkeypatch):
    """Counts the images that the detector is asked."""
    seen = []
    whole = streaming.scored

    def scored(*arguments, **options):
        for part in whole(*arguments, **options):
            seen.extend(range(part.first, part.first + len(part.readable)))
            yield part

    monkeypatch.setattr(score_job.streaming, "scored", scored)
    return seen


@pytest.mark.parametrize("batches", [0, 1, 2, 5, 12])
def test_an_interrupted_job_goes_on_and_gives_the_same_table(
    images, tmp_path, monkeypatch, batches
):
    run(images, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, batches, KeyboardInterrupt())
        kept = batches // 2 * 8
        says = f"interrupted: {kept} of 50" if kept else "nothing is written"
        with pytest.raises(KeyboardInterrupt, match=says):
            run(images, tmp_path / "out")
    assert (tmp_path / "out.partial").exists() == (kept > 0)
    assert not (tmp_path / "out").exists()
    with monkeypatch.context() as patch:
        seen = count_scored(patch)
        run(images, tmp_path / "out")
    assert seen == list(range(kept, 50))
    one, other = (tmp_path / n / "scores.csv" for n in ("whole", "out"))
    assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_bad_images_after_an_interruption_keep_their_place(
    images, tmp_path, monkeypatch
):
    for index in (3, 21):
        (images / f"{index:04}.png").write_text("no image")
    with monkeypatch.context() as patch:
        stop_after(patch, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match="16 of 50"):
            run(images, tmp_path / "out")
    run(images, tmp_path / "out")
    errors = [row["error"] != "" for row in table(tmp_path / "out")]
    assert np.flatnonzero(errors).tolist() == [3, 21]


def test_a_job_that_died_while_writing_its_table_scores_nothing_again(
    images, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(score_job.table, "write_csv", _full)
        with pytest.raises(OSError, match="All images are scored and kept in") as error:
            run(images, tmp_path / "out")
    assert "No space left" in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "out.partial"}
    seen = count_scored(monkeypatch)
    assert run(images, tmp_path / "out").images == 50
    assert seen == []


def _full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_what_was_written_before(images, tmp_path, monkeypatch):
    written = []
    whole = parquet.write_table

    def write_table(table, path):
        if len(written) == 3:
            _full()
        written.append(path)
        return whole(table, path)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", write_table)
        with pytest.raises(OSError, match=r"000003.parquet: No space left.*is kept"):
            run(images, tmp_path / "out")
    partial = tmp_path / "out.partial"
    files = [path for path in partial.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == [
        *(f"part-{number:06}.parquet" for number in range(3)),
        "plan.json",
    ]
    seen = count_scored(monkeypatch)
    run(images, tmp_path / "out")
    assert seen == list(range(24, 50))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"identity": "two"}, "the detector"),
        ({"batch_size": 2}, "the batch size"),
        ({"detector": brightness.detector(tpr=0.8)}, "the TPR"),
        ("image", "the images"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_another_job_does_not_go_on_with_these_parts(
    images, tmp_path, monkeypatch, change, named
):
    with monkeypatch.context() as patch:
        stop_after(patch, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(images, tmp_path / "out")
    if change == "image":
        brightness.folder(images, [7])
        change = {}
    with pytest.raises(FileExistsError, match=f"differs from this one in {named}"):
        run(images, tmp_path / "out", **change)


def test_an_error_before_the_first_part_leaves_nothing_behind(images, tmp_path):
    bad = brightness.detector(calibration=Calibration(0.9, {"x": np.arange(9.0)}))
    with pytest.raises(KeyError):
        run(images, tmp_path / "out", bad)
    assert {path.name for path in tmp_path.iterdir()} == {"images"}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_finished_job_is_done_and_another_does_not_overwrite_it(
    images, tmp_path, monkeypatch, caplog
):
    (images / "0003.png").write_text("no image")
    first = run(images, tmp_path / "out")
    before = content(tmp_path / "out")
    (tmp_path / "out.partial").mkdir()  # it was killed before it had tidied up
    (tmp_path / "out.partial" / "plan.json").write_text("{}")
    seen = count_scored(monkeypatch)
    with caplog.at_level(logging.INFO, "jood"):
        again = run(images, tmp_path / "out", workers=0)
    assert "this job is done already" in caplog.text
    assert again == dataclasses.replace(first, scores={})
    assert seen == []
    assert content(tmp_path / "out") == before
    assert not (tmp_path / "out.partial").exists()
    finished_scores.check_new(tmp_path / "out")
    for other in ({"identity": "two"}, {"batch_size": 2}, {"window": 9}):
        with pytest.raises(FileExistsError, match="exists already"):
            run(images, tmp_path / "out", **other)
    (tmp_path / "out" / "summary.json").write_text("{}")
    with pytest.raises(FileExistsError, match="exists already"):
        finished_scores.check_new(tmp_path / "out")
    assert not list(tmp_path.glob("*.partial"))


def meanwhile(monkeypatch, what):
    """Does something after the first batch."""
    whole = streaming.scored

    def scored(*arguments, **options):
        for count, part in enumerate(whole(*arguments, **options)):
            yield part
            if not count:
                what()

    monkeypatch.setattr(score_job.streaming, "scored", scored)


def test_of_two_jobs_on_one_output_the_second_is_told(images, tmp_path, monkeypatch):
    told = []

    def second():
        with pytest.raises(
            OSError, match=r"another process is scoring into .*out\.par"
        ):
            run(images, tmp_path / "out")
        told.append(True)

    with monkeypatch.context() as patch:
        meanwhile(patch, second)
        assert run(images, tmp_path / "out").images == 50
    assert told
    assert not list(tmp_path.glob("*.partial"))


def test_results_that_appear_meanwhile_are_not_overwritten(
    images, tmp_path, monkeypatch
):
    def other():
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("...")

    meanwhile(monkeypatch, other)
    with pytest.raises(FileExistsError, match="exists already"):
        run(images, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_folder_of_another_kind_is_not_taken_for_an_interrupted_job(images, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.tex").write_text("...")
    with pytest.raises(FileExistsError, match=r"it has no plan\.json"):
        run(images, tmp_path / "out")
    assert (tmp_path / "out.partial" / "thesis.tex").exists()
