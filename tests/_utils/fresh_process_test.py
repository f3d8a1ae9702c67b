"""A process to be timed: without compiled programs, and heard if it fails."""

import pytest

from jood._utils import fresh_process

FOLDER = "JAX_COMPILATION_CACHE_DIR"


def test_it_does_not_know_of_compiled_programs(monkeypatch):
    monkeypatch.setenv(FOLDER, "/programs")
    done = fresh_process.run("-c", f"import os; print(os.environ.get('{FOLDER}'))")
    assert done.stdout == "None\n"


def test_what_a_failing_one_printed_is_told():
    with pytest.raises(ValueError, match=r"a process failed:\nno such set\n"):
        fresh_process.run("-c", "import sys; sys.exit('no such set')")
