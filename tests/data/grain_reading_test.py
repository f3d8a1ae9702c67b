"""Worker processes. Each starts interpreters, which takes seconds, so they are few.

pytest parses no absl flags, which Grain's workers would want: that they work is tested
by the way.
"""

import os
import subprocess
import sys

from absl import flags
import grain
from helpers import toy_sources
import pytest

from jood.data import grain_reading
from jood.data import pipeline
from jood.data.sources import Skipping
from jood.data.sources import decoding
from jood.data.sources.image_folder import ImageFolder

LEFT_EARLY = """
import numpy as np
from jood.data import pipeline

class Large:
    def __getitem__(self, index):
        if index == 63:
            raise ValueError("the last cannot be read")
        return {"image": np.full((256, 256, 3), index, np.uint8)}

if __name__ == "__main__":
    for size, stop in ((63, None), (64, None), (64, 3)):
        Large.__len__ = lambda self: size
        batches = pipeline.EvaluationBatches(Large(), 4, workers=2)
        try:
            for index, batch in enumerate(batches):
                assert batch.image[0, 0, 0, 0] == 4 * index
                if index == stop:
                    break
        except ValueError as error:
            print(index, error)
    print(batch.image.shape)
    still_open = iter(batches)
    next(still_open)
"""


@pytest.mark.slow
def test_workers_give_the_same_batches_names_and_errors(tmp_path):
    folder = ImageFolder(toy_sources.photos(tmp_path, 11, broken=(6,)))
    threads = pipeline.EvaluationBatches(Skipping(folder), 2)
    processes = pipeline.EvaluationBatches(Skipping(folder), 2, workers=2)
    toy_sources.same(threads, processes)
    assert list(processes.skipped) == [3]
    assert processes.skipped == threads.skipped
    with pytest.raises(decoding.ImageError, match=r"a/006\.png: ") as caught:
        list(pipeline.EvaluationBatches(folder, 16, workers=2))  # more than batches
    assert caught.value.name.endswith("a/006.png")


@pytest.mark.slow
def test_workers_give_the_same_training_batches():
    def run(**options):
        return pipeline.training_batches(
            toy_sources.numbered(10),
            4,
            steps=7,
            seed=0,
            start=2,
            **options,
        )

    toy_sources.same(run(), run(workers=2))


@pytest.mark.slow
def test_a_worker_that_dies_is_reported():
    batches = pipeline.EvaluationBatches(
        toy_sources.Dying(toy_sources.numbered(4)), 4, workers=1
    )
    with pytest.raises(RuntimeError, match=r"worker process died.*code 7.*workers=0"):
        list(batches)


@pytest.mark.parametrize("number", [-1, 1.5, True, None])
def test_a_bad_number_of_workers_is_refused(number):
    source = toy_sources.numbered(4)
    with pytest.raises(ValueError, match="workers"):
        pipeline.EvaluationBatches(source, 4, workers=number)
    with pytest.raises(ValueError, match="workers"):
        next(pipeline.training_batches(source, 4, steps=1, seed=0, workers=number))


def test_grain_reads_its_flags_and_others_stay_unparsed():
    grain_reading._let_grain_read_its_flags()
    assert grain.config.py_debug_mode is False
    assert not flags.FLAGS.is_parsed()


@pytest.mark.slow
def test_a_script_ends_quietly_and_leaves_no_shared_memory(tmp_path):
    (tmp_path / "script.py").write_text(LEFT_EARLY)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        timeout=120,
    )
    assert done.stderr == ""
    assert done.stdout == "14 the last cannot be read\n(4, 256, 256, 3)\n"
