"""On the way to the device: what is under way, and who waits for whom."""

import time

from helpers import toy_sources
import pytest

from jood.data import pipeline
from jood.data import prefetch


def test_prefetched_keeps_the_order_and_two_batches_under_way():
    put = []

    def send(batch):
        put.append(batch)
        return batch * 10

    batches = prefetch.prefetched(range(5), send)
    found = []
    for batch in batches:
        found.append(batch)
        assert len(put) == min(len(found) + 1, 5)
    assert found == [0, 10, 20, 30, 40]
    assert list(prefetch.prefetched([7], send)) == [70]
    assert not list(prefetch.prefetched([], send))


def test_timed_measures_who_waits_for_whom():
    def run(reading, working):
        def read():
            for batch in range(4):
                time.sleep(reading)
                yield batch

        class Slow:
            __iter__ = staticmethod(read)

        timed = prefetch.Timed(Slow())
        for _ in range(2):
            for _ in timed:
                time.sleep(working)
        return timed

    busy = run(reading=0.001, working=0.03)
    idle = run(reading=0.03, working=0.001)
    assert busy.share < 0.35
    assert idle.share > 0.65
    assert idle.waited == pytest.approx(0.24, rel=0.5)
    assert idle.total == pytest.approx(idle.waited + 0.008, rel=0.5)


def test_timed_batches_are_the_batches():
    batches = pipeline.EvaluationBatches(toy_sources.numbered(6), 4)
    timed = prefetch.Timed(batches)
    assert timed.share == 0
    toy_sources.same(timed, batches)
    assert len(timed) == 2
    assert timed.fingerprint() == batches.fingerprint()
    assert timed.total >= timed.waited > 0
    with pytest.raises(ValueError, match=r"no method fingerprint\(\)"):
        prefetch.Timed([1]).fingerprint()
