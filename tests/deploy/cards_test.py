"""Cards of scored images: the right ones, in order, with numbers of equal length."""

import types

import numpy as np
import pytest

from jood.deploy import cards as cards_lib
from jood.deploy import table as table_lib
from jood.detector import streaming
from jood.detector.calibration import Calibration

CALIBRATION = Calibration(0.9, {"score": np.arange(1000, dtype=np.float32)})
THRESHOLD = CALIBRATION.thresholds()["score"]


def cards(scores):
    """Cards of images with these scores; None could not be read."""
    paths = [f"in/sub/{index}.png" for index in range(len(scores))]
    values = np.array([0 if score is None else score for score in scores], np.float32)
    skipped = {i: "broken" for i, score in enumerate(scores) if score is None}
    scored = streaming.Scored(
        0,
        np.array([score is not None for score in scores]),
        {"score": values},
        np.zeros(len(scores), np.int32),
        None,
        skipped,
    )
    rows = table_lib.of_batch(scored, paths, CALIBRATION, ["bee"])
    source = [{"image": np.zeros((4, 4, 3), np.uint8)}] * len(scores)
    return cards_lib.build(
        "score", "", rows, types.SimpleNamespace(source=source), 1000
    )


def lines(block, which):
    return [card.lines[which] for card in block.cards]


def test_ends_and_neighbours_of_the_threshold_are_shown_in_order():
    scores = [float(x) for x in np.random.default_rng(0).permutation(200)] + [None]
    low, near, high = cards(scores)
    sides = ["OOD"] * 6 + ["ID"] * 6
    at = range(int(THRESHOLD) - 6, int(THRESHOLD) + 6)
    assert lines(low, 0) == [f"score {x}.0, OOD" for x in range(12)]
    assert lines(near, 0) == [
        f"score {x}.0, {s}" for x, s in zip(at, sides, strict=True)
    ]
    assert lines(high, 0) == [f"score {x}.0, ID" for x in range(199, 187, -1)]
    assert lines(low, 3)[0] == f"{scores.index(0.0)}.png"
    assert low.cards[0].lines[1:3] == ["p-value 0.00200", "class: bee"]


@pytest.mark.parametrize("shift", [-200, -100, -8, 0, 8, 100, 200])
def test_no_image_is_shown_twice_wherever_the_threshold_lies(shift):
    blocks = cards([THRESHOLD + shift + x for x in range(-100, 100)])
    names = [name for block in blocks for name in lines(block, 3)]
    assert len(names) == len({*names}) == 36
    assert blocks[1].title == "Nearest to the threshold among the others"


@pytest.mark.parametrize("count", [1, 2, 36])
def test_of_a_few_images_each_is_shown_once(count):
    (block,) = cards([*range(count), None])
    assert lines(block, 3) == [f"{index}.png" for index in range(count)]


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ([1e6, 3e6], ["1000000", "3000000"]),
        ([0.5, 0.50012], ["0.5000000", "0.5001200"]),
        ([7.0, 7.0], ["7.000", "7.000"]),
    ],
)
def test_scores_have_the_digits_that_tell_them_apart(scores, shown):
    (block,) = cards(scores)
    assert [line.split()[1].rstrip(",") for line in lines(block, 0)] == shown


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["a/b/1.png", "a/c/2.png"], "a/"),
        (["a/b1.png", "a/b2.png"], "a/"),
        (["/a/1.png", "b/2.png"], ""),
        (["1.png"], ""),
        (["/x/y/1.png"], "/x/y/"),
    ],
)
def test_the_folder_of_all_images(names, folder):
    assert cards_lib.folder(names) == folder
