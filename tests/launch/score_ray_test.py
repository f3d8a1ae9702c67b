"""launch/score_ray.py on a local Ray cluster of two workers, one of which is killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from helpers.jobs import ROOT
from helpers.jobs import environment
from helpers.jobs import start_job
from helpers.pixel_scorers import pixels_to
import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet
import pytest

import jood
from jood.deploy import cluster_job

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="needs Ray: pip install 'jood[ray]'")


HOW = jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), resize=16, crop=16)
DISTINCT, COUNT, SHARD = 8, 240, 4
# Ray's workers start in folders of their own.
PATH = {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images that take a while to decode: many names of a few files."""
    folder = tmp_path_factory.mktemp("ray")
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(COUNT):
        path = folder / "photos" / f"{i:03}.png"
        if i < DISTINCT:
            image = rng.integers(0, 256, (900, 900, 3), dtype=np.uint8)
            Image.fromarray(image).save(path, compress_level=1)
        else:
            os.link(folder / "photos" / f"{i % DISTINCT:03}.png", path)
    inside = [np.asarray(Image.open(path)) for path in few(folder / "photos")]
    detector = pixels_to("energy()", HOW).calibrate([inside], tpr=0.8)
    detector.save(folder / "detector")
    return folder / "photos"


def few(photos):
    return sorted(photos.iterdir())[:DISTINCT]


def start(photos, output, *arguments):
    return start_job(
        "score_ray",
        f"--detector={photos.parent / 'detector'}",
        f"--images={photos}",
        f"--output={output}",
        "--workers=2",
        f"--shard_size={SHARD}",
        "--batch_size=4",
        "--price_per_hour=1",
        *arguments,
        **PATH,
    )


def processes(output):
    """The number of each part's process, by part."""
    found = {}
    for path in sorted((output / "parts").glob("part-*.parquet")):
        counts = json.loads(parquet.read_schema(path).metadata[b"jood"])
        found[path.name] = int(counts["process"].split()[1])
    return found


def wait_for(condition, job, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if job.poll() is not None:
            pytest.fail(f"the job ended early: {job.communicate()[0]}")
        assert time.monotonic() < end
        time.sleep(0.02)


def check_output(photos, output):
    """Every image is there once, with the score that the detector gives it."""
    found = parquet.read_table(output / "parts").to_pydict()
    assert sorted(found["path"]) == sorted(map(str, photos.iterdir()))
    detector = jood.Detector.load(photos.parent / "detector")
    scores = detector([np.asarray(Image.open(path)) for path in few(photos)])
    which = [int(pathlib.Path(path).stem) % DISTINCT for path in found["path"]]
    np.testing.assert_allclose(found["score"], scores[which], rtol=1e-6)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["images"] == COUNT
    assert not list((output / "parts").glob(".*"))


def test_a_killed_worker_loses_no_image_and_none_is_scored_twice(photos, tmp_path):
    output = tmp_path / "out"
    job = start(photos, output)
    wait_for(lambda: len(set(processes(output).values())) == 2, job)
    before = processes(output)
    killed = next(iter(before.values()))
    os.kill(killed, signal.SIGKILL)
    printed, _ = job.communicate(timeout=200)
    assert job.returncode == 0, printed
    after = processes(output)
    assert len(after) == COUNT // SHARD
    assert len(before) < len(after), "it was killed too late to matter"
    assert before.items() <= after.items()
    others = {n for part, n in after.items() if part not in before} - {killed}
    assert others, "somebody else finished the job"
    check_output(photos, output)
    assert "a million images cost" in printed


def test_a_job_goes_on_with_what_is_missing(photos, tmp_path):
    output = tmp_path / "out"
    scorer = jood.Scorer(photos.parent / "detector", "path", batch_size=4)
    plan = cluster_job.plan(photos, output, scorer, SHARD)
    for number in range(0, len(plan.rows), 3):
        cluster_job.score(plan, number)
    before = {path: path.stat().st_mtime_ns for path in output.glob("parts/part-*")}
    printed, _ = start(photos, output).communicate(timeout=200)
    assert f"{COUNT // SHARD} shards, {len(plan.rows) - len(before)} of" in printed
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    check_output(photos, output)


def test_what_stops_every_worker_is_said_in_one_message(photos, tmp_path):
    paths = [f"/not/mounted/{i}.png" for i in range(COUNT)]
    parquet.write_table(pa.table({"path": paths}), tmp_path / "in.parquet")
    job = start(photos, tmp_path / "out", f"--images={tmp_path / 'in.parquet'}")
    printed, _ = job.communicate(timeout=100)
    assert job.returncode == 1, printed
    assert "error: none of the 4 images of rows" in printed
    assert "Traceback" not in printed


MAP_BATCHES = """
import sys
import jood
import ray
folder, output = sys.argv[1:]
ray.init(num_cpus=2, include_dashboard=False)
scorer = jood.Scorer(f"{folder}/detector", "path", batch_size=4)
rows = ray.data.read_parquet(f"{folder}/paths.parquet")
rows.map_batches(scorer, batch_size=8).write_parquet(output)
"""


def test_a_scorer_in_map_batches(photos, tmp_path):
    """As a pipeline of one's own would; in another process, since Ray warns a lot."""
    paths = sorted(map(str, photos.iterdir()))[: 3 * DISTINCT]
    parquet.write_table(pa.table({"path": paths}), photos.parent / "paths.parquet")
    output = tmp_path / "out"
    subprocess.run(
        [sys.executable, "-c", MAP_BATCHES, str(photos.parent), str(output)],
        env=environment(**PATH),
        check=True,
    )
    found = parquet.read_table(output).sort_by("path").to_pydict()
    assert found["path"] == paths
    detector = jood.Detector.load(photos.parent / "detector")
    expected = detector([np.asarray(Image.open(path)) for path in few(photos)])
    np.testing.assert_allclose(found["score"], np.tile(expected, 3), rtol=1e-6)
