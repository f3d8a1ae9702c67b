"""Batches: padding and masks, order, restarting, skipping, shares of processes."""

import itertools

import chex
from helpers import toy_sources
import jax
import numpy as np
import pytest

import jood
from jood.data import pipeline
from jood.data.sources import ArraySource
from jood.data.sources import Skipping
from jood.data.sources import decoding
from jood.data.sources.image_folder import ImageFolder


def test_evaluation_keeps_order_and_pads_the_last_batch_with_mask_0():
    batches = list(pipeline.EvaluationBatches(toy_sources.numbered(10), 4))
    assert [batch.image.shape[0] for batch in batches] == [4, 4, 4]
    labels = np.concatenate([batch.label for batch in batches])
    mask = np.concatenate([batch.mask for batch in batches])
    np.testing.assert_array_equal(mask, [1.0] * 10 + [0.0] * 2)
    np.testing.assert_array_equal(labels[mask > 0], np.arange(10))


def test_evaluation_batches_can_be_iterated_again():
    batches = pipeline.EvaluationBatches(toy_sources.numbered(5), 4)
    first, second = list(batches), list(batches)
    assert len(first) == len(second) == len(batches) == 2
    np.testing.assert_array_equal(first[0].image, second[0].image)


def test_unlabelled_sources_give_unlabelled_batches():
    source = ArraySource(np.zeros((3, 2, 2, 3), np.uint8))
    (batch,) = pipeline.EvaluationBatches(source, 4)
    assert batch.label is None


def test_training_sees_every_example_once_an_epoch_in_a_new_order():
    batches = list(
        pipeline.training_batches(toy_sources.numbered(12), 4, steps=6, seed=0)
    )
    labels = np.concatenate([batch.label for batch in batches]).reshape(2, 12)
    assert all(sorted(epoch) == list(range(12)) for epoch in labels)
    assert (labels[0] != labels[1]).any()


@pytest.mark.parametrize("start", [1, 4, 5])
def test_training_restarts_at_any_step_with_the_same_batches(start):
    whole = list(
        pipeline.training_batches(toy_sources.numbered(10), 4, steps=6, seed=1)
    )
    rest = list(
        pipeline.training_batches(
            toy_sources.numbered(10), 4, steps=6, seed=1, start=start
        )
    )
    assert len(rest) == 6 - start
    for expected, batch in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(batch.label, expected.label)
        np.testing.assert_array_equal(batch.image, expected.image)


def test_seed_decides_the_order():
    a, b = (
        next(
            pipeline.training_batches(toy_sources.numbered(64), 32, steps=1, seed=seed)
        ).label
        for seed in (0, 1)
    )
    assert (a != b).any()


def test_too_little_data_is_named():
    with pytest.raises(ValueError, match=r"3 example\(s\), expected at least 4"):
        next(pipeline.training_batches(toy_sources.numbered(3), 4, steps=1, seed=0))
    with pytest.raises(ValueError, match=r"0 example\(s\)"):
        pipeline.EvaluationBatches(toy_sources.numbered(0), 4)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        pipeline.EvaluationBatches(toy_sources.numbered(3), 0)


@pytest.mark.parametrize("count", [8, 10])
@pytest.mark.parametrize("labelled", [True, False])
def test_arrays_in_memory_give_the_batches_that_any_source_gives(count, labelled):
    source = toy_sources.numbered(count)
    if not labelled:
        source = ArraySource(source.images)
    sliced = list(pipeline.EvaluationBatches(source, 4))
    toy_sources.same(sliced, pipeline.EvaluationBatches(toy_sources.Plain(source), 4))
    assert sliced[0].image.dtype == np.uint8
    assert sliced[0].mask.dtype == np.float32
    assert (sliced[0].label.dtype == np.int32) if labelled else sliced[0].label is None


def test_batches_of_an_iteration_that_is_left_are_not_read():
    class Counting(toy_sources.Plain):
        read = 0

        def __getitem__(self, index):
            Counting.read += 1
            return super().__getitem__(index)

    batches = iter(pipeline.EvaluationBatches(Counting(toy_sources.numbered(200)), 1))
    next(batches)
    batches.close()
    assert Counting.read < 100


# Files


def test_images_of_several_sizes_are_an_error_that_names_two(tmp_path):
    toy_sources.photos(tmp_path, 3)
    toy_sources.photos(tmp_path / "c", 1, size=(8, 9))
    message = (
        r"uint8 \(8, 8, 3\) for .*a/000\.png and uint8 \(8, 9, 3\) for "
        r".*c/a/000\.png\. Give the source a preprocessing"
    )
    with pytest.raises(ValueError, match=message):
        list(pipeline.EvaluationBatches(ImageFolder(tmp_path), 4))
    with pytest.raises(ValueError, match=r"\(8, 9, 3\) for .*c/a/000\.png"):
        list(pipeline.training_batches(ImageFolder(tmp_path), 4, steps=1, seed=0))
    fit = jood.Preprocessing((0.5,) * 3, (0.5,) * 3, crop=8)
    (batch,) = pipeline.EvaluationBatches(ImageFolder(tmp_path, preprocessing=fit), 4)
    assert batch.image.shape == (4, 8, 8, 3)


def test_examples_of_a_list_are_named_by_their_index():
    examples = [{"image": np.zeros((2, size, 3), np.uint8)} for size in (2, 2, 2, 3)]
    with pytest.raises(ValueError, match=r"for example 2 and .* for example 3"):
        list(pipeline.EvaluationBatches(examples, 2))
    examples = [dict(e, label=1) for e in examples[:3]]
    del examples[2]["label"]
    with pytest.raises(ValueError, match="example 0 has one, example 2 has none"):
        list(pipeline.EvaluationBatches(examples, 3))


def test_an_unreadable_image_raises_by_default(tmp_path):
    source = ImageFolder(toy_sources.photos(tmp_path, 6, broken=(3,)))
    with pytest.raises(decoding.ImageError, match=r"b/003\.png"):
        list(pipeline.EvaluationBatches(source, 4))
    with pytest.raises(decoding.ImageError, match=r"b/003\.png"):
        list(pipeline.training_batches(source, 6, steps=1, seed=0))


def test_skipped_images_keep_their_place_with_mask_0_and_are_listed(tmp_path):
    source = Skipping(ImageFolder(toy_sources.photos(tmp_path, 6, broken=(0, 3))))
    batches = pipeline.EvaluationBatches(source, 4)  # order: 0 2 4 1 | 3 5
    for _ in range(2):  # and are not counted twice
        first, second = batches
        np.testing.assert_array_equal(first.mask, [0, 1, 1, 1])
        np.testing.assert_array_equal(second.mask, [0, 1, 0, 0])
        np.testing.assert_array_equal(first.image[:, 0, 0, 0], [0, 2, 4, 1])
        np.testing.assert_array_equal(second.image[:, 0, 0, 0], [0, 5, 0, 0])
        assert sorted(batches.skipped) == [0, 4]
    assert "a/000.png: " in batches.skipped[0]
    assert "b/003.png: " in batches.skipped[4]


def test_training_takes_the_next_readable_image_for_a_skipped_one(caplog):
    def labels(source, **options):
        batches = pipeline.training_batches(source, 5, steps=4, seed=3, **options)
        return np.concatenate([batch.label for batch in batches])

    whole = labels(toy_sources.numbered(10))
    found = labels(Skipping(toy_sources.Plain(toy_sources.numbered(10), bad=(4, 9))))
    np.testing.assert_array_equal(found, [{4: 5, 9: 0}.get(i, i) for i in whole])
    told = [record.getMessage() for record in caplog.records]
    assert sorted(told) == [
        f"another image is trained on instead of {i}.png: it is cut" for i in (4, 9)
    ]


def test_training_without_labels_is_refused():
    source = ArraySource(toy_sources.numbered(4).images)
    with pytest.raises(ValueError, match="training needs labels"):
        next(pipeline.training_batches(source, 4, steps=1, seed=0))


# Several processes


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize(
    "wrap", [toy_sources.Plain, lambda source: source], ids=["any", "array"]
)
def test_each_process_reads_its_rows_of_every_evaluation_batch(count, wrap):
    source = wrap(
        toy_sources.numbered(9)
    )  # of the last batch, most processes have padding only
    whole = list(pipeline.EvaluationBatches(source, 4))
    shares = [
        list(
            pipeline.EvaluationBatches(source, 4, process_index=p, process_count=count)
        )
        for p in range(count)
    ]
    for index, batch in enumerate(whole):
        rows = [share[index] for share in shares]
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *rows)
        toy_sources.same([batch._replace(image=0)], [joined._replace(image=0)])
        real = batch.mask > 0
        np.testing.assert_array_equal(joined.image[real], batch.image[real])


def test_each_process_reads_only_its_examples():
    class Seen(toy_sources.Plain):
        seen = ()

        def __getitem__(self, index):
            Seen.seen += (index,)
            return super().__getitem__(index)

    list(
        pipeline.EvaluationBatches(
            Seen(toy_sources.numbered(8)), 4, process_index=1, process_count=2
        )
    )
    assert sorted(Seen.seen) == [2, 3, 6, 7]


@pytest.mark.parametrize("start", [0, 2])
def test_the_processes_share_every_training_batch(start):
    def labels(**options):
        batches = pipeline.training_batches(
            toy_sources.numbered(10), 6, steps=5, seed=2, start=start, **options
        )
        return [batch.label.tolist() for batch in batches]

    parts = [labels(process_index=p, process_count=3) for p in range(3)]
    assert all(len(batch) == 2 for part in parts for batch in part)
    joined = [list(itertools.chain(*shares)) for shares in zip(*parts, strict=True)]
    assert joined == labels(process_count=1, process_index=0) == labels()


@pytest.mark.parametrize("wrap", [toy_sources.Plain, lambda source: source])
def test_arrays_are_read_at_once_as_examples_are_one_by_one(wrap):
    source = toy_sources.numbered(10)
    batches = pipeline.training_batches(wrap(source), 4, steps=5, seed=0)
    for batch in batches:
        np.testing.assert_array_equal(batch.image, source.images[batch.label])
        chex.assert_type([batch.label, batch.mask], [np.int32, np.float32])
        np.testing.assert_array_equal(batch.mask, np.ones(4))


def test_shares_that_do_not_exist_are_refused():
    def first(**options):
        next(iter(pipeline.EvaluationBatches(toy_sources.numbered(8), 4, **options)))

    with pytest.raises(ValueError, match=r"got 2 of 2"):
        first(process_index=2, process_count=2)
    with pytest.raises(ValueError, match=r"got 0 of 0"):
        first(process_index=0, process_count=0)
    with pytest.raises(ValueError, match="divisible by the 3 processes, got 4"):
        first(process_index=0, process_count=3)


def test_the_fingerprint_tells_batch_sizes_and_shares_apart():
    source = toy_sources.numbered(8)
    texts = {
        pipeline.EvaluationBatches(source, size, **options).fingerprint()
        for size, options in (
            (4, {}),
            (8, {}),
            (4, {"process_index": 0, "process_count": 2}),
            (4, {"process_index": 1, "process_count": 2}),
        )
    }
    assert len(texts) == 4
