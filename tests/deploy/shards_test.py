"""The shards of a job: whole or absent, counted, and never those of another job."""

import pyarrow as pa
import pytest

from jood.deploy import shards

JOB = {"images": "photos", "batch_size": 4}


def rows(*values):
    return pa.table({"a": values})


@pytest.fixture
def job(tmp_path):
    job = shards.Shards(str(tmp_path / "out"), (2, 2, 1))
    job.claim(JOB)
    return job


@pytest.mark.parametrize(
    ("count", "ranges"),
    [(0, []), (4, [(0, 4)]), (9, [(0, 4), (4, 8), (8, 9)])],
)
def test_ranges_hold_every_row_once(count, ranges):
    assert shards.cut(count, 4) == ranges


def test_shards_in_any_order_make_one_table(job):
    for number, table in ((2, rows(4)), (0, rows(0, 1)), (2, rows(4))):
        job.write(number, table)
    assert job.missing() == [1]
    with pytest.raises(ValueError, match=r"part-000001\.parquet is missing"):
        job.check()
    job.write(1, rows(2, 3))
    job.check()
    assert job.missing() == []
    assert job.column("a").to_pylist() == [0, 1, 2, 3, 4]


def test_a_shard_with_too_few_rows_is_noticed(job):
    for number, size in enumerate(job.sizes):
        job.write(number, rows(*range(size)))
    job.write(1, rows(2))
    with pytest.raises(ValueError, match=r"has 1 rows instead of 2\. Delete it"):
        job.check()


def test_the_same_job_finds_its_shards_and_another_is_refused(job):
    job.write(0, rows(0, 1))
    again = shards.Shards(job.folder, job.sizes)
    again.claim(JOB)
    assert again.missing() == [1, 2]
    with pytest.raises(FileExistsError, match="in the images, the batch size"):
        again.claim({"images": "others", "batch_size": 8})
    again.path(0).parents[1].joinpath(shards.PLAN).write_text("{")
    with pytest.raises(ValueError, match="is truncated"):
        again.claim(JOB)


def test_a_claim_that_was_killed_is_made_again(tmp_path):
    left = tmp_path / "out" / f".{shards.PLAN}.x"
    left.mkdir(parents=True)
    shards.Shards(str(tmp_path / "out"), (1,)).claim(JOB)
    assert (tmp_path / "out" / shards.PLAN).exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    job = shards.Shards(str(tmp_path / "file" / "out"), (1,))
    with pytest.raises(OSError, match=r"cannot write to .*file/out: Not a directory"):
        job.claim(JOB)
    with pytest.raises(OSError, match=r"cannot write .*What was written before is"):
        job.write(0, rows(1))
