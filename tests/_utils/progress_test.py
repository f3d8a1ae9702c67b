"""A long loop says how far it is, also where nobody sees a bar."""

import io
import logging
import sys

import pytest
import tqdm

from jood._utils import progress


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)

    def batches(self, count, seconds):
        for batch in range(count):
            yield batch
            self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, "jood")
    return caplog


def test_a_line_every_half_minute_and_one_at_the_end(clock, logged):
    """25 batches of 10 s each, of which the last is padded."""
    batches = clock.batches(25, 10.0)
    assert list(progress.counted(batches, 10, "score dtd", 244)) == list(range(25))
    told = [line.split(" ", 1)[1] for line in logged.messages]
    # The time of a batch passes when the next one is asked for.
    assert told[0] == "score dtd: 40 of 244 images, 1.33 images/s, 0:02:33 left"
    assert len(told) == 8
    assert told[-1] == "score dtd: 244 images in 0:04:10, 0.98 images/s"
    clocks = [line.split(" ", 1)[0] for line in logged.messages]
    assert all(len(text) == len("12:34:56") for text in clocks)


def test_a_short_loop_has_one_line_and_a_broken_one_none(clock, logged):
    list(progress.counted(clock.batches(3, 1.0), 100, "score", 300))
    assert len(logged.messages) == 1

    def breaks():
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(progress.counted(breaks(), 100, "score", 300))
    assert len(logged.messages) == 1


def test_a_resumed_loop_counts_what_it_did_itself(clock, logged):
    with progress.bar("train", 1000, initial=400) as bar:
        bar.set_postfix(loss="0.5")
        clock.now += 60
        bar.update(120)
    assert logged.messages[0].endswith(
        "520 of 1,000 images, 2.00 images/s, 0:04:00 left, loss 0.5"
    )
    assert "train: 120 images in 0:01:00" in logged.messages[1]


def test_without_a_total_no_end_is_foretold(clock, logged):
    with progress.bar("a.zip", None, unit="B") as bar:
        clock.now += 60
        bar.update(6000)
    assert logged.messages[0].endswith("a.zip: 6,000 B, 100 B/s")


def test_a_terminal_has_a_bar_and_a_log_has_none(monkeypatch, logged):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress.counted([1, 2], 4, "score", 8)) == [1, 2]
    assert "score: 100%" in terminal.getvalue()
    assert not logged.messages
    assert isinstance(progress.bar("quiet", 8, disable=True), tqdm.tqdm)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(progress.counted([1], 4, "quiet", 4, disable=True)) == [1]
    assert not logged.messages


def test_batches_that_are_shown_can_be_read_again(logged):
    class Source:
        __iter__ = [1, 2].__iter__

        def fingerprint(self):
            return "mine"

    shown = progress.Shown(Source(), 4, "fit", 8)
    assert [list(shown), list(shown)] == [[1, 2], [1, 2]]
    assert shown.fingerprint() == "mine"
    assert len(logged.messages) == 2
