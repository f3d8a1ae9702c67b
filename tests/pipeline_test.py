"""Batches: padding and masks, order, and restarting at any step."""

import numpy as np
import pytest

from jood.data import pipeline
from jood.data.sources import ArraySource


def numbered(count):
    images = np.zeros((count, 2, 2, 3), np.uint8)
    images += np.arange(count, dtype=np.uint8)[:, None, None, None]
    return ArraySource(images, np.arange(count))


def test_evaluation_keeps_order_and_pads_the_last_batch_with_mask_0():
    batches = list(pipeline.EvaluationBatches(numbered(10), 4))
    assert [batch.image.shape[0] for batch in batches] == [4, 4, 4]
    labels = np.concatenate([batch.label for batch in batches])
    mask = np.concatenate([batch.mask for batch in batches])
    np.testing.assert_array_equal(mask, [1.0] * 10 + [0.0] * 2)
    np.testing.assert_array_equal(labels[mask > 0], np.arange(10))


def test_evaluation_batches_can_be_iterated_again():
    batches = pipeline.EvaluationBatches(numbered(5), 4)
    first, second = list(batches), list(batches)
    assert len(first) == len(second) == len(batches) == 2
    np.testing.assert_array_equal(first[0].image, second[0].image)


def test_unlabelled_sources_give_unlabelled_batches():
    source = ArraySource(np.zeros((3, 2, 2, 3), np.uint8))
    (batch,) = pipeline.EvaluationBatches(source, 4)
    assert batch.label is None


def test_training_sees_every_example_once_an_epoch_in_a_new_order():
    batches = list(pipeline.training_batches(numbered(12), 4, steps=6, seed=0))
    labels = np.concatenate([batch.label for batch in batches]).reshape(2, 12)
    assert all(sorted(epoch) == list(range(12)) for epoch in labels)
    assert (labels[0] != labels[1]).any()


@pytest.mark.parametrize("start", [1, 4, 5])
def test_training_restarts_at_any_step_with_the_same_batches(start):
    whole = list(pipeline.training_batches(numbered(10), 4, steps=6, seed=1))
    rest = list(
        pipeline.training_batches(numbered(10), 4, steps=6, seed=1, start=start)
    )
    assert len(rest) == 6 - start
    for expected, batch in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(batch.label, expected.label)
        np.testing.assert_array_equal(batch.image, expected.image)


def test_seed_decides_the_order():
    a, b = (
        next(pipeline.training_batches(numbered(64), 32, steps=1, seed=seed)).label
        for seed in (0, 1)
    )
    assert (a != b).any()


def test_too_little_data_is_named():
    with pytest.raises(ValueError, match=r"3 example\(s\), expected at least 4"):
        next(pipeline.training_batches(numbered(3), 4, steps=1, seed=0))
    with pytest.raises(ValueError, match=r"0 example\(s\)"):
        pipeline.EvaluationBatches(numbered(0), 4)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        pipeline.EvaluationBatches(numbered(3), 0)
