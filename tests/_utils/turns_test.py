"""Programs that are timed take turns, after one run each that is not counted."""

from jood._utils import turns


def test_medians_are_of_runs_that_take_turns(monkeypatch):
    order = []
    ticks = iter(range(100))
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(ticks))
    programs = {name: lambda name=name: order.append(name) for name in "ab"}
    assert turns.medians(programs, 3) == {"a": 1, "b": 1}
    assert order == list("abababab")
