"""The page of speeds shows what measuring jobs wrote, and a dash for what none did."""

import json

import make_speed
import pytest
import speed_files

CONTENT = {
    "what": "1,000 queries",
    "machine": {
        "processor": "AMD EPYC",
        "cores": 2,
        "device": "cpu",
        "devices": 1,
        "versions": {"jax": "0.10.2"},
    },
    "command": "jood measure_knn",
    "date": "2026-11-30",
    "rows": [{"search": "jood", "x jood": 1.0}, {"search": "faiss", "x jood": 1.07}],
}
AIM = """
[[aim]]
work = "KNN"
aim = "≥ 1.0x"
file = "speed_knn"
where = { search = "faiss" }
column = "x jood"
unit = "x"
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_files, "DATA", tmp_path)
    monkeypatch.setattr(make_speed, "AIMS", tmp_path / "aims.toml")
    (tmp_path / "aims.toml").write_text(AIM, encoding="utf-8")
    return tmp_path


def cells(page, first):
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {first} "))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_what_was_not_measured_is_a_dash(data):
    assert cells(make_speed.page(), "KNN") == ["KNN", "–", "–", "≥ 1.0x", "–"]


def test_a_file_gives_the_number_of_an_aim_and_a_section(data):
    (data / "speed_knn.json").write_text(json.dumps(CONTENT))
    page = make_speed.page()
    where = "AMD EPYC, 2 cores, jax 0.10.2"
    assert cells(page, "KNN") == ["KNN", "–", "1.07x", "≥ 1.0x", where]
    assert f"## Measured: knn\n\n1,000 queries. {where}, 2026-11-30." in page
    assert "```bash\njood measure_knn\n```" in page
    assert cells(page, "faiss") == ["faiss", "1.07"]


def test_a_row_that_its_file_lacks_is_named(data):
    rows = CONTENT["rows"][:1]
    (data / "speed_knn.json").write_text(json.dumps(CONTENT | {"rows": rows}))
    with pytest.raises(ValueError, match=r"speed_knn.json: expected one row .*faiss"):
        make_speed.page()


def test_no_aim_stands_twice():
    works = [aim["work"] for aim in make_speed.aims()]
    assert len(works) == len(set(works)) > 10
