"""Programs that are timed take turns, after one run each that is not counted."""

import itertools

import numpy as np

from jood._utils import turns


def test_medians_are_of_runs_that_take_turns(monkeypatch):
    order = []
    ticks = iter(range(100))
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(ticks))
    programs = {name: lambda name=name: order.append(name) for name in "ab"}
    assert turns.medians(programs, 3) == {"a": 1, "b": 1}
    assert order == list("abababab")


def test_a_measure_may_give_several_numbers():
    programs = {"a": lambda: 1, "b": lambda: 2}
    found = turns.measured(programs, 3, lambda run: (run(), 10 * run()))
    np.testing.assert_array_equal(found["a"], [[1, 10]] * 3)
    np.testing.assert_array_equal(found["b"], [[2, 20]] * 3)


def test_time_is_that_of_all_cores_or_of_the_clock(monkeypatch):
    ticks = {"perf_counter": itertools.count(0, 2), "process_time": itertools.count()}
    for name, values in ticks.items():
        monkeypatch.setattr(turns.time, name, lambda values=values: next(values))
    assert turns.seconds(lambda: None) == 2
    assert turns.core_seconds(lambda: None) == 1
    assert turns.both_seconds(lambda: None) == (2, 1)
