"""A built wheel has all that jood reads, and its command works outside the clone."""

import os
import subprocess
import sys
import zipfile

from helpers.jobs import ROOT
from helpers.jobs import environment
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what a wheel of the clone installs."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def jood(site, tmp_path):
    """Runs the wheel's command in an empty folder, the clone out of its reach."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "jood", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(site), JOOD_DATA_DIR=None),
            timeout=400,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def files(folder):
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_the_package_with_jobs_and_recipes_in_it(site):
    assert files(site / "jood" / "launch") == files(ROOT / "launch")
    package = {path for path in files(site / "jood") if path.parts[0] != "launch"}
    assert package == files(ROOT / "jood")
    assert {path.suffix for path in package} > {".toml", ".html", ".css", ".typed"}
    tops = {path.name.split("-")[0] for path in site.iterdir()}
    assert tops == {"jood"}
    (entries,) = site.glob("*.dist-info/entry_points.txt")
    assert "jood = jood.__main__:main" in entries.read_text()


def test_the_command_is_that_of_the_wheel(site, jood, tmp_path):
    assert "\n  quickstart " in jood("--help")
    assert jood("recipes").rstrip().endswith(str(site / "jood/launch/recipes"))
    assert "@inproceedings" in jood("cite", "knn")
    shown = jood("quickstart", "--benchmark=digits_tiny", "--dry_run")
    assert "compare 26 detectors" in shown
    assert not os.listdir(tmp_path)


def test_a_recipe_of_the_wheel_is_trained_by(jood):
    shown = jood(
        "train",
        "--flagfile=recipe:lff_cifar10_resnet34",
        *("--benchmark=digits_tiny", "--model=resnet_small", "--workdir=run"),
        "--dry_run",
    )
    assert "train resnet_small with lff(delta=0.1, mu=1.0" in shown
    assert "for 30 epochs" in shown
