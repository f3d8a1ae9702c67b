"""launch/demo.py as a visitor runs it, on photographs that scikit-learn ships."""

import pathlib
import subprocess
import sys

from helpers import demo_network
from helpers.jobs import ROOT
from helpers.jobs import environment
from helpers.jobs import run_job
import numpy as np
from PIL import Image
import pytest
import sklearn

pytestmark = pytest.mark.slow
PHOTOGRAPHS = pathlib.Path(sklearn.__path__[0]) / "datasets" / "images"


@pytest.fixture(scope="module", autouse=True)
def _network():
    demo_network.open_or_skip()


def test_photographs_and_files_that_are_none(tmp_path):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    stripes = np.zeros((90, 120, 4), np.uint8)
    stripes[:, ::8] = stripes[..., 3:] = 255
    Image.fromarray(stripes).save(mixed / "stripes.png")
    (mixed / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "out"
    printed = run_job("demo", PHOTOGRAPHS, mixed, f"--output={out}", code=2)
    assert "Traceback" not in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "palace" in lines["china.jpg"]
    assert "daisy" in lines["flower.jpg"]
    assert "0 of 5" in lines["flower.jpg"]
    assert "5 of 5" in lines["stripes.png"]
    assert lines["stripes.png"].count("*") == 5
    assert f"could not be read: {mixed / 'broken.jpg'}: " in printed
    assert "1,000 of ImageNet" in printed
    assert {path.name for path in out.iterdir()} == {
        *("report.html", "scores.csv"),
        *("heatmaps.png", "heatmaps.pdf", "scores.png", "scores.pdf"),
    }
    assert len((out / "scores.csv").read_text().splitlines()) == 5
    again = run_job("demo", PHOTOGRAPHS, f"--output={out}", code=1)
    assert "exists already and is not overwritten" in again


def test_without_a_readable_photograph_nothing_is_written(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "out"
    printed = run_job("demo", tmp_path / "broken.jpg", f"--output={out}", code=1)
    assert f"error: no photograph could be read: {tmp_path / 'broken.jpg'}" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


def test_a_dry_run_and_wrong_arguments(tmp_path):
    out = tmp_path / "out"
    printed = run_job("demo", PHOTOGRAPHS, f"--output={out}", "--dry_run")
    assert "judge 2 photographs by MSP, Energy, FS, FS+TA, Energy+TA+FS" in printed
    assert f"write {out}" in printed
    printed = run_job("demo", f"--output={out}", code=1)
    assert "expected photographs, or folders of photographs" in printed
    assert not out.exists()


def test_without_the_package_the_extra_is_named(tmp_path):
    code = (
        "import sys, runpy; from jood.deploy.demo import imagenet_network; "
        "imagenet_network._PACKAGE = 'no_such_package'; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    job = str(ROOT / "launch" / "demo.py")
    done = subprocess.run(
        [sys.executable, "-c", code, job, "x.jpg", f"--output={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 1
    assert "pip install 'jood[demo]'" in done.stderr
    assert "Traceback" not in done.stderr
