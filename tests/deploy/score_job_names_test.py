"""Scoring images and archives of any name: every row says which image it is."""

import os
import pathlib
import shutil
import tarfile

from helpers import brightness
from helpers.scored_folder import LEVELS
from helpers.scored_folder import page_of
from helpers.scored_folder import run
from helpers.scored_folder import stop_after
from helpers.scored_folder import table
import numpy as np
from pyarrow import parquet
import pytest

from jood.deploy import table as table_lib
from jood.detector import streaming

pytestmark = pytest.mark.usefixtures("small_shards")


def test_names_of_any_kind_survive_the_table(tmp_path):
    names = ['a, "b"\nc', "h\räß", "bad\udcff", "", "=1+1"]
    detector = brightness.detector()
    output = detector.run(np.stack([brightness.gray(i) for i in range(5)]))
    scored = streaming.Scored(
        0, np.ones(5, bool), {"score": output.scores}, output.prediction, None, {}
    )
    rows = table_lib.of_batch(scored, names, detector.calibration, ("x\r1", "y"))
    safe = ['a, "b"\nc', "h\räß", "bad\\xff", "", "./=1+1"]
    assert rows["path"].to_pylist() == safe
    assert rows["is_ood"].to_pylist() == [True] * 5
    table_lib.write_csv(tmp_path / "scores.csv", rows.schema, [rows, rows])
    found = table(tmp_path)
    assert [row["path"] for row in found] == 2 * safe
    assert [row["class"] for row in found] == 2 * rows["class"].to_pylist()
    assert "x\r1" in {row["class"] for row in found}


NAMES = ['a, "b"\nc.png', "a\rb.png", os.fsdecode(b"caf\xe9.png"), "=1+1.png"]


def test_names_of_any_kind_reach_every_file(images, tmp_path, monkeypatch):
    """From a folder of no better name, too, in the folder where the job runs."""
    root = (images / "0000.png").parent.rename(tmp_path / os.fsdecode(b"d\xe9"))
    for name in NAMES:
        shutil.copy(root / "0000.png", root / name)
    monkeypatch.chdir(root)
    shown = {'a, "b"\nc.png', "a\rb.png", "caf\\xe9.png", "./=1+1.png"}
    for where, folder in ((".", ""), (str(root), f"{tmp_path}/d\\xe9/")):
        out = tmp_path / f"out{len(folder)}"
        how = {"parquet": True, "report": True, "configuration": {"images": where}}
        run(where, out, **how)
        found = [row["path"] for row in table(out)]
        expected = {folder + n.removeprefix("./" if folder else "") for n in shown}
        assert expected < set(found)
        assert len(found) == len(LEVELS) + len(NAMES)
        read = parquet.read_table(out / "scores.parquet")
        assert read["path"].to_pylist() == found
        assert "caf\\xe9.png" in page_of(out)


def test_a_tar_file_may_hold_and_have_any_name(images, tmp_path):
    path = tmp_path / os.fsdecode(b"t\xe9.tar")
    with tarfile.open(path, "w") as tar:
        for name in NAMES:
            tar.add(images / "0000.png", name)
    assert not run(path, tmp_path / "out", report=True).failed
    found = [row["path"] for row in table(tmp_path / "out")]
    safe = [name.replace("\udce9", "\\xe9") for name in NAMES]
    assert found == [f"{tmp_path}/t\\xe9.tar/{name}" for name in safe]


def test_archives_that_are_broken_have_a_row_at_the_end(images, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for index in range(20):
            tar.add(images / f"{index:04}.png", f"{index}.png")
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.tar").write_text("no archive")
    run(tmp_path / "*.tar", tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match="16 of "):
            run(tmp_path / "*.tar", tmp_path / "out")
    results = run(tmp_path / "*.tar", tmp_path / "out", parquet=True, report=True)
    one, other = (tmp_path / n / "scores.csv" for n in ("whole", "out"))
    assert one.read_bytes() == other.read_bytes()
    rows = table(tmp_path / "out")
    broken = [row for row in rows if row["error"]]
    assert broken == rows[-2:]
    assert [pathlib.Path(row["path"]).name for row in broken] == ["b.tar", "c.tar"]
    assert {row["threshold"] for row in broken} == {""}
    assert [path for path, _ in results.failed] == [row["path"] for row in broken]
    assert results.images == len(rows)
    shown = page_of(tmp_path / "out")
    assert f"{len(rows) - 2} images are scored" in shown
    assert "c.tar" in shown.split("What could not be read</h2>")[1]
