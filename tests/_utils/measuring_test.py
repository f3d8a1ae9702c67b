"""What measuring jobs print and write."""

import json
import sys

import pytest

from jood._utils import affinity
from jood._utils import measuring

ROWS = [
    {"search": "product", "ms": 812.345678, "x product": 1.0},
    {"search": "jood", "ms": 864.9, "x product": 1.0647, "error": 1.23e-6},
]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.8, "1,234,568"),
        (50_000, "50,000"),
        (12.345, "12.35"),
        (0.0123, "0.012"),
        (1.234e-6, "1.2e-06"),
        (0.0, "0"),
        (None, "–"),
        ("jood", "jood"),
        (True, "True"),
    ],
)
def test_numbers_keep_the_digits_that_tell_something(value, text):
    assert measuring.cell(value) == text


def test_a_table_has_a_column_for_each_key_and_holes_where_a_row_lacks_one():
    assert measuring.table(ROWS, "github").splitlines()[2:] == [
        "| product  |  812 |        1.00 |         |",
        "| jood     |  865 |        1.06 | 1.2e-06 |",
    ]


@pytest.mark.parametrize("flag", ["--output={}", "--output {}", "-output={}"])
def test_a_report_is_printed_and_written_with_where_it_was_made(
    tmp_path, capsys, monkeypatch, flag
):
    output = tmp_path / "folder" / "knn.json"
    arguments = ["--rows=5", *flag.format(output).split(), "--name=a b"]
    monkeypatch.setattr(sys, "argv", ["/some/measure_knn.py", *arguments])
    measuring.report("a search", ROWS, str(output))
    content = json.loads(output.read_text())
    assert list(content) == ["what", "machine", "command", "date", "rows"]
    assert content["command"] == "jood measure_knn --rows=5 '--name=a b'"
    assert content["rows"][0] == {"search": "product", "ms": 812.35, "x product": 1.0}
    printed = capsys.readouterr().out
    assert printed.startswith(f"a search\n{measuring.described(content['machine'])}\n")
    assert measuring.table(ROWS) in printed


def test_without_a_file_it_is_only_printed(capsys):
    measuring.report("nothing", [])
    assert capsys.readouterr().out.startswith("nothing\n")


def test_a_machine_is_described_by_its_accelerator_or_processor():
    machine = {
        "processor": "AMD EPYC",
        "cores": 2,
        "device": "cpu",
        "devices": 1,
        "versions": {"jax": "0.10.2"},
    }
    assert measuring.described(machine) == "AMD EPYC, 2 cores, jax 0.10.2"
    described = measuring.described(machine | {"device": "H200", "devices": 8})
    assert described == "8 x H200, AMD EPYC, 2 cores, jax 0.10.2"


def test_this_machine_has_a_processor_and_cores():
    machine = measuring.machine()
    assert machine["processor"]
    assert machine["cores"] == affinity.cores() >= 1
