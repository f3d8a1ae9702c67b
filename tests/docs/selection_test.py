"""The page on --select names what there is."""

import re

from helpers.jobs import ROOT

from jood.evaluation import synthetic_outliers

PAGE = (ROOT / "docs" / "selection.md").read_text()


def test_every_kind_of_image_is_explained_and_measured():
    explained = re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE)
    assert tuple(explained) == synthetic_outliers.KINDS
    measured = PAGE.split("## How well each kind chooses")[1]
    for kind in synthetic_outliers.KINDS:
        assert f"| {kind} |" in measured


def test_its_command_is_one_of_the_jobs():
    job = (ROOT / "launch" / "measure_selection.py").read_text()
    for flag in re.findall(r"jood measure_selection (.*?)```", PAGE, re.DOTALL)[
        0
    ].split():
        name = re.match(r"--(\w+)", flag)
        if name and name[1] not in ("checkpoint", "benchmark", "data_dir", "output"):
            assert f'"{name[1]}"' in job or f"define_{name[1]}" in job
