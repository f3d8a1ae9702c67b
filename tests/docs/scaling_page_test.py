"""The page on scaling computes what its formulas say."""

import make_scaling
import pytest


def test_hours_of_scoring_fall_with_the_cores():
    assert make_scaling.scoring_hours(1e6, 0.036, 1) == pytest.approx(10)
    assert make_scaling.scoring_hours(1e6, 0.036, 20) == pytest.approx(0.5)


def test_a_step_of_one_device_sends_nothing():
    assert make_scaling.step_seconds(0.5, 1e9, 1e9, 1) == 0.5


def test_a_step_of_many_devices_sends_the_gradient_twice():
    assert make_scaling.step_seconds(0.5, 1e9, 1e9, 2) == pytest.approx(1.5)
    assert make_scaling.step_seconds(0.5, 1e9, 1e9, 10**6) == pytest.approx(2.5)


def test_the_page_is_what_the_script_gives():
    assert make_scaling.PAGE.read_text(encoding="utf-8") == make_scaling.page(), (
        "run python docs/make_results.py"
    )
