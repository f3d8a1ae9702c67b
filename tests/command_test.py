"""The command `jood`: what it lists, what it refuses, and how it starts a job."""

import os
import signal
import subprocess
import sys

from helpers import jobs
from helpers.jobs import ROOT
import pytest

from jood import __main__ as command
from jood.version import VERSION


def jood(*arguments, code=0):
    """Runs the command; returns what it printed."""
    line = [sys.executable, "-m", "jood", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=200)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_job_is_listed_with_its_first_line():
    shown = command.help_text()
    files = {path.stem for path in (ROOT / "launch").glob("*.py")}
    assert set(command.jobs()) == files - {"communication_volume"}
    for job, line in command.jobs().items():
        assert f"\n  {job} " in shown
        assert line.endswith((".", "?")), job
        assert line in shown
    assert max(map(len, shown.splitlines())) <= 110


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_imports_no_jax(arguments):
    code = (
        f"import sys; sys.argv[1:] = {arguments}\n"
        "from jood import __main__\n__main__.main()\nassert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "evaluate " in done.stdout


@pytest.mark.parametrize("argument", ["recipes", "--help"])
def test_it_ends_quietly_where_nobody_reads_on(argument):
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does when it has its lines
    line = [sys.executable, "-m", "jood", argument]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_the_version_is_printed():
    assert jood("--version") == f"jood {VERSION}\n"


def test_a_mistyped_job_has_near_ones():
    assert "unknown command 'evalute'; near: evaluate" in jood("evalute", code=1)


def test_every_recipe_is_listed_with_its_first_line():
    shown = command.recipes_text()
    for path in command.RECIPES.iterdir():
        title = path.read_text().splitlines()[0].removeprefix("# ")
        (line,) = [one for one in shown.splitlines() if one.startswith(f"{path.stem} ")]
        assert line.endswith(f"  {title}")


@pytest.mark.parametrize("flag", ["--flagfile=", "-flagfile=", ""])
def test_a_recipe_is_given_by_its_name(flag):
    path = ROOT / "launch" / "recipes" / "lff_cifar10_resnet34.cfg"
    given = command.with_recipe(f"{flag}recipe:lff_cifar10_resnet34")
    assert given == f"{flag}{path}"


@pytest.mark.parametrize("other", ["--flagfile=a.cfg", "--name=recipe:a", "--epochs=2"])
def test_other_arguments_stay_as_they_are(other):
    assert command.with_recipe(other) == other


def test_a_mistyped_recipe_has_near_ones():
    given = "--flagfile=recipe:lff_cifar10_resnet3"
    near = "unknown recipe 'lff_cifar10_resnet3'; near: lff_cifar10_resnet34"
    assert near in jood("train", given, code=1)


# Starts a job of a folder of its own, as `jood` starts those of launch/.
STARTS = """
import pathlib, sys
from jood import __main__ as command
command.JOBS = pathlib.Path(sys.argv[1])
sys.argv[1:] = sys.argv[2:]
command.main()
"""
ENDS = '\nif __name__ == "__main__":\n    main()\n'


COUNTS = """
import multiprocessing, sys, neighbour

def times(number):
    return neighbour.VALUE * number

def main():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(times, [2]), sys.argv)
"""


def test_a_job_finds_its_neighbours_and_starts_processes(tmp_path):
    (tmp_path / "neighbour.py").write_text("VALUE = 7\n")
    (tmp_path / "count.py").write_text(COUNTS + ENDS)
    line = [sys.executable, "-c", STARTS, str(tmp_path), "count", "--by=2"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=100)
    assert done.stdout == f"[14] ['{tmp_path / 'count.py'}', '--by=2']\n", done.stderr


def test_an_interrupted_import_ends_with_a_line(tmp_path):
    body = "import time\nprint('imports', flush=True)\ntime.sleep(100)\n"
    (tmp_path / "slow.py").write_text(body + ENDS)
    line = [*jobs.HEARS_SIGINT, sys.executable, "-c", STARTS, str(tmp_path), "slow"]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout.readline() == "imports\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=50)[0] == "interrupted\n"
        assert process.returncode == -signal.SIGINT
