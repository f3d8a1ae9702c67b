"""The tables of the pages are what the JSON beside them gives."""

import json
import re

import make_results
import pytest
import take_results

MADE = ("openood", "speed")  # whole pages, which have scripts of their own


def test_every_page_shows_its_tables():
    stale = [
        str(path.relative_to(make_results.ROOT))
        for path, text in make_results.files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, f"run python docs/make_results.py: {stale}"


def test_every_table_of_the_folder_stands_in_a_page():
    shown = [
        name
        for text in make_results.files().values()
        for name in make_results.names(text)
    ]
    stored = {path.stem for path in make_results.DATA.iterdir()}
    assert sorted(shown) == sorted(n for n in stored if not n.startswith("speed_"))


def test_tables_of_the_results_come_from_json():
    """A page of results has no table by hand."""
    for path, text in make_results.files().items():
        if path.parent == make_results.DATA.parent and path.stem not in MADE:
            by_hand = re.sub(
                r"<!-- table: .*?<!-- end of table -->", "", text, flags=re.DOTALL
            )
            assert not re.search(r"^\|", by_hand, flags=re.MULTILINE), path


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(make_results, "DATA", tmp_path)

    def write(name, **content):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    return write


def test_the_best_of_each_column_is_bold(data):
    rows = [["MSP", "90.0±1.0 / 40.0", "x"], ["FS", "9.5 / 40.0±2.0", "y"]]
    data("far", columns=["", "far", "note"], rows=rows, best="column")
    assert make_results.table("far") == (
        "|  | far | note |\n|---|---:|---:|\n"
        "| MSP | **90.0**±1.0 / **40.0** | x |\n| FS | 9.5 / **40.0**±2.0 | y |\n"
    )


def test_the_best_of_each_row_is_bold(data):
    data("far", columns=["", "a", "b"], rows=[["MSP", "9 / 4", "10 / 5"]], best="row")
    assert "| MSP | 9 / **4** | **10** / 5 |" in make_results.table("far")


def test_a_table_repeats_columns_of_another(data):
    data("far", columns=["", "a", "b"], rows=[["MSP", "1", "2"], ["FS", "3", "4"]])
    data("short", columns=["row", {"far": {"b": "far", "a": "A"}}], rows=["FS"])
    assert make_results.table("short").splitlines()[::2] == [
        "| row | far | A |", "| FS | 4 | 3 |"
    ]  # fmt: skip


def test_a_row_that_is_too_short_is_named(data):
    data("far", columns=["", "a", "b"], rows=[["MSP", "1"]])
    with pytest.raises(ValueError, match=r"far.json: 3 columns, got .*MSP"):
        make_results.table("far")


def test_the_table_of_a_run_is_taken(data, tmp_path):
    del data
    text = "CIFAR-10.\n\n| detector | near |\n|:---|---:|\n| MSP | **90.0** / 40.0 |\n"
    (tmp_path / "table.md").write_text(text)
    take_results.main(str(tmp_path), "taken")
    assert make_results.table("taken").endswith("| MSP | **90.0** / **40.0** |\n")
    with pytest.raises(ValueError, match="expected a table"):
        take_results.table("nothing")
