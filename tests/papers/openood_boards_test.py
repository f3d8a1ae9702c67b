"""OpenOOD's leaderboard: numbers that can be read, rows and benchmarks that exist."""

import re

import make_openood
import pytest

from jood.data import benchmarks
from jood.methods import detector_list
from jood.papers import openood_boards

BOARDS = openood_boards.boards()
NUMBER = re.compile(r"\d{2}\.\d{1,2}( ± \d{1,2}\.\d{2})?")


@pytest.mark.parametrize("board", BOARDS, ids=lambda b: f"{b.file} {b.network}")
def test_every_number_is_a_percentage_and_every_row_of_ours_can_be_read(board):
    spec = benchmarks.describe(board.benchmark)
    assert bool(spec.shifted) or not board.is_full
    names = [row.name for row in board.rows]
    assert len(set(names)) == len(names)
    for row in board.rows:
        assert NUMBER.fullmatch(row.near), row
        assert NUMBER.fullmatch(row.far), row
    assert NUMBER.fullmatch(board.accuracy)
    texts = {row.name: row.text for row in board.rows if row.text}
    assert len(detector_list.read_each(texts, board.benchmark)) == len(texts)


def test_some_cells_are_those_of_openoods_files():
    first = {row.name: (row.near, row.far) for row in BOARDS[0].rows}
    assert first["KNN"] == ("90.64 ± 0.20", "92.96 ± 0.14")
    by_network = {(b.file, b.network): b for b in BOARDS}
    vit = by_network["imagenet1k_ood.csv", "ViT-B/16"]
    assert {row.name: row.near for row in vit.rows}["RMDS"] == "80.09"
    assert by_network["imagenet1k_fsood.csv", "ResNet50"].accuracy == "54.35"
    assert len(BOARDS) == 11


def test_the_page_is_up_to_date():
    assert make_openood.PAGE.read_text() == make_openood.page(), (
        "the boards changed: run python docs/make_openood.py"
    )
