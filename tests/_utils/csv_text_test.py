"""Whatever a cell holds, a reader finds the rows that were written."""

import csv
import io
import itertools
import os
import pathlib

import pytest

from jood._utils import csv_text

ODD = ["", " ", "a", ",", '"', "\n", "\r", "\r\n", "ä\r", "\t", "=1", "'", "\\"]


def test_every_cell_survives():
    rows = list(itertools.product(ODD, repeat=2))
    text = csv_text.joined(["one", "other"], rows)
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [["one", "other"], *map(list, rows)]
    assert text.endswith("\n")
    assert not text.replace("\r\n", "").endswith("\r")


@pytest.mark.parametrize("first", "=+-@\t\r")
def test_a_path_is_no_formula_and_still_that_file(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"{first}1+1.png"
    pathlib.Path(name).write_text("here")
    cell = csv_text.path(name)
    assert cell[0] not in "=+-@\t\r"
    assert pathlib.Path(cell).read_text() == "here"


def test_a_name_that_is_no_unicode_is_written_with_its_bytes():
    assert csv_text.path(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert csv_text.path("\ud800.png") == "\\ud800.png"
    assert csv_text.path("café.png") == "café.png"
    assert csv_text.joined([os.fsdecode(b"\xe9")], []) == "\\xe9\n"
