"""Shards: a list of images is scored once, whoever dies on the way."""

import csv
import json
import os
import pathlib
import pickle
import shutil

from helpers.pixel_scorers import single
import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import pytest

import jood
from jood.deploy import cluster_job
from jood.deploy import shards

COUNT = 23


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of images, and a saved detector beside it."""
    folder = tmp_path_factory.mktemp("fleet")
    single().save(folder / "detector")
    rng = np.random.default_rng(0)
    (folder / "photos" / "below").mkdir(parents=True)
    for i in range(COUNT):
        image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        image.save(folder / "photos" / ("below" if i % 2 else ".") / f"{i:02}.png")
    return folder / "photos"


def scorer(photos, column="path", detector="detector"):
    return jood.Scorer(photos.parent / detector, column, batch_size=8)


def files(photos):
    return sorted(str(path) for path in photos.rglob("*.png"))


def pixels(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def run(job):
    for number in job.shards.missing():
        cluster_job.score(job, number)
    return cluster_job.finish(job)


def table(output):
    return parquet.read_table(pathlib.Path(output) / shards.PARTS).to_pydict()


@pytest.mark.slow
def test_every_image_of_a_folder_is_scored_once(photos, tmp_path):
    job = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    assert job.shards.sizes == (5, 5, 5, 5, 3)
    total = run(job)
    found = table(tmp_path / "out")
    assert sorted(found["path"]) == files(photos)
    detector = single()
    expected = detector(pixels(found["path"]))
    np.testing.assert_allclose(found["score"], expected, rtol=1e-6)
    np.testing.assert_allclose(
        found["p_value"], detector.p_values(pixels(found["path"]))
    )
    assert (total["images"], total["unreadable"]) == (COUNT, 0)
    assert total["is_ood"] == sum(found["is_ood"])
    assert json.loads((tmp_path / "out" / cluster_job.SUMMARY).read_text()) == total


@pytest.mark.slow
def test_a_list_keeps_its_columns_and_order_over_files_and_row_groups(photos, tmp_path):
    names = [str(pathlib.Path(n).relative_to(photos)) for n in files(photos)]
    ids = list(range(COUNT))
    for name, rows in {"a": slice(0, 9), "b": slice(9, COUNT)}.items():
        part = pa.table({"id": ids[rows], "file": names[rows]})
        parquet.write_table(part, photos / f"{name}.parquet", row_group_size=4)
    try:
        job = cluster_job.plan(photos, tmp_path / "out", scorer(photos, "file"), 6)
        assert [(s.start, s.stop) for s in job.rows] == [
            (0, 6), (6, 9), (0, 6), (6, 12), (12, 14)
        ]  # fmt: skip
        run(job)
    finally:
        for name in "ab":
            (photos / f"{name}.parquet").unlink()
    found = table(tmp_path / "out")
    assert found["id"] == ids
    assert found["file"] == names  # as they stand there, relative to the list
    expected = single()(pixels(files(photos)))
    np.testing.assert_allclose(found["score"], expected, rtol=1e-6)


def test_images_in_the_list_itself_are_not_copied(photos, tmp_path):
    content = [pathlib.Path(name).read_bytes() for name in files(photos)]
    parquet.write_table(pa.table({"image": content}), tmp_path / "in.parquet")
    job = cluster_job.plan(
        tmp_path / "in.parquet", tmp_path / "o", scorer(photos, "image"), 9
    )
    run(job)
    found = table(tmp_path / "o")
    assert found.keys() == {"prediction", "score", "is_ood", "p_value", "error"}
    expected = single()(pixels(files(photos)))
    np.testing.assert_allclose(found["score"], expected, rtol=1e-6)


def test_a_job_goes_on_with_what_is_missing(photos, tmp_path):
    job = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    for number in range(2):
        cluster_job.score(job, number)
    with pytest.raises(ValueError, match=r"part-000002\.parquet is missing"):
        cluster_job.finish(job)
    before = [job.shards.path(n).stat().st_mtime_ns for n in range(2)]
    again = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    assert again.shards.missing() == [2, 3, 4]
    counts = cluster_job.score(again, 0)  # twice, as after a lost answer
    assert counts["images"] == 5
    run(again)
    assert [job.shards.path(n).stat().st_mtime_ns for n in range(2)] == before
    assert sorted(table(tmp_path / "out")["path"]) == files(photos)


def test_a_worker_that_dies_leaves_no_part(photos, tmp_path, monkeypatch):
    job = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)

    def dies(table, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", dies)
        with pytest.raises(KeyboardInterrupt):
            cluster_job.score(job, 0)
    assert not list((tmp_path / "out" / shards.PARTS).iterdir())
    left = tmp_path / "out" / shards.PARTS / ".part-000000.parquet.x"
    left.mkdir()  # as a worker leaves it that cannot clean up
    run(job)
    assert not left.exists()


def test_another_job_is_not_mixed_in(photos, tmp_path):
    cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    single().export(tmp_path / "other.zip")
    (tmp_path / "few").mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "few" / "a.png")
    other = jood.Scorer(tmp_path / "other.zip", "path")
    for images, by, size, what in (
        (photos, scorer(photos), 6, "the shard size"),
        (photos, other, 5, "the detector"),
        (tmp_path / "few", scorer(photos), 5, "the images"),
    ):
        with pytest.raises(FileExistsError, match=f"differs from this one in {what}"):
            cluster_job.plan(images, tmp_path / "out", by, size)


def test_unreadable_images_keep_their_rows(photos, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no image")
    job = cluster_job.plan(tmp_path, tmp_path / "out", scorer(photos), 3)
    assert run(job)["unreadable"] == 1
    found = table(tmp_path / "out")
    assert [bool(error) for error in found["error"]] == [False, False, True]
    assert np.isnan(found["score"][2])


def test_a_worker_that_sees_no_image_stops_the_job(photos, tmp_path):
    names = [f"/not/mounted/{i}.png" for i in range(3)]
    parquet.write_table(pa.table({"path": names}), tmp_path / "in.parquet")
    job = cluster_job.plan(tmp_path / "in.parquet", tmp_path / "out", scorer(photos), 3)
    with pytest.raises(ValueError, match="Does every worker see their folder"):
        run(job)


def test_a_part_with_too_few_rows_is_noticed(photos, tmp_path):
    job = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    run(job)
    path = job.shards.path(1)
    parquet.write_table(parquet.read_table(path)[:3], path)
    with pytest.raises(ValueError, match="has 3 rows instead of 5"):
        cluster_job.finish(job)


def test_csv_of_all_parts(photos, tmp_path):
    job = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    run(job)
    cluster_job.finish(job, as_csv=True)
    with (tmp_path / "out" / cluster_job.CSV).open() as file:
        rows = list(csv.DictReader(file))
    found = table(tmp_path / "out")
    assert [row["path"] for row in rows] == found["path"]
    np.testing.assert_allclose([float(r["score"]) for r in rows], found["score"])


def test_names_of_any_kind_are_scored_and_reach_every_file(photos, tmp_path):
    folder = tmp_path / os.fsdecode(b"d\xe9")
    folder.mkdir()
    for name in (b"a\rb.png", b"caf\xe9.png", b"z.png"):
        shutil.copy(files(photos)[0], folder / os.fsdecode(name))
    (folder / os.fsdecode(b"z\xe9.png")).write_bytes(b"no image")
    job = cluster_job.plan(folder, tmp_path / "out", scorer(photos), 3)
    assert run(job)["unreadable"] == 1
    cluster_job.finish(job, as_csv=True)
    names = [f"{tmp_path}/d\\xe9/{n}" for n in ("a\rb", "caf\\xe9", "z", "z\\xe9")]
    found = table(tmp_path / "out")
    assert found["path"] == [f"{name}.png" for name in names]
    assert [bool(error) for error in found["error"]] == [False, False, False, True]
    with (tmp_path / "out" / cluster_job.CSV).open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == found["path"]


def test_no_path_of_a_list_is_a_formula(photos, tmp_path):
    shutil.copy(files(photos)[0], tmp_path / "=1+1.png")
    parquet.write_table(pa.table({"path": ["=1+1.png"]}), tmp_path / "in.parquet")
    job = cluster_job.plan(tmp_path / "in.parquet", tmp_path / "out", scorer(photos), 3)
    assert run(job)["unreadable"] == 0
    cluster_job.finish(job, as_csv=True)
    with (tmp_path / "out" / cluster_job.CSV).open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["./=1+1.png"]


def test_a_plan_pickles(photos, tmp_path):
    job = cluster_job.plan(photos, tmp_path / "out", scorer(photos), 5)
    assert pickle.loads(pickle.dumps(job)) == job


def test_what_cannot_be_scored_is_said(photos, tmp_path):
    by = scorer(photos)
    with pytest.raises(FileNotFoundError, match="there is no"):
        cluster_job.plan(tmp_path / "nowhere", tmp_path / "out", by, 5)
    with pytest.raises(FileNotFoundError, match="no detector"):
        cluster_job.plan(photos, tmp_path / "out", scorer(photos, detector="none"), 5)
    (tmp_path / "text.txt").write_text("no Parquet")
    with pytest.raises(ValueError, match="is not a Parquet file"):
        cluster_job.plan(tmp_path / "text.txt", tmp_path / "out2", by, 5)
    parquet.write_table(
        pa.table({"path": pa.array([], "string")}), tmp_path / "e.parquet"
    )
    with pytest.raises(ValueError, match="lists no image"):
        cluster_job.plan(tmp_path / "e.parquet", tmp_path / "out3", by, 5)
    with pytest.raises(ValueError, match="no column 'img', only \\['path'\\]"):
        cluster_job.plan(
            tmp_path / "e.parquet", tmp_path / "o4", scorer(photos, "img"), 5
        )
