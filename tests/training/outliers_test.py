"""Auxiliary outliers: where they come from, their stream, and what is refused."""

import dataclasses

from helpers import tiny_run
import jax
import numpy as np
from PIL import Image
import pytest

from jood.data import benchmarks
from jood.data import pipeline
from jood.data.benchmarks import painted_outliers
from jood.data.sources import ArraySource
from jood.training import loop
from jood.training import outliers

PREPROCESSING = benchmarks.get("digits_tiny").preprocessing


def opened(where, benchmark="digits_tiny", **options):
    return outliers.open_outliers(str(where), benchmark, PREPROCESSING, 32, **options)


def images(count=12, side=32):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_an_archive_and_a_folder_are_opened_at_the_networks_size(tmp_path):
    np.savez(tmp_path / "some.npz", images=images(side=40))
    source = opened(tmp_path / "some.npz")
    assert (len(source), source[0]["image"].shape) == (12, (32, 32, 3))
    (tmp_path / "folder").mkdir()
    for i, pixels in enumerate(images(3, 50)):
        Image.fromarray(pixels).save(tmp_path / "folder" / f"{i}.png")
    assert opened(tmp_path / "folder")[2]["image"].shape == (32, 32, 3)


def test_an_ood_set_of_the_benchmark_is_refused(tmp_path):
    tested = benchmarks.get("digits_tiny").ood["background"]
    np.savez(tmp_path / "copied.npz", images=tested.images)
    with pytest.raises(ValueError, match="are the OOD set 'background' that digits_ti"):
        opened(tmp_path / "copied.npz")
    with pytest.raises(ValueError, match="are the OOD set 'near' that digits_tiny"):
        opened("near")
    name = "places365"
    spec = benchmarks.describe("cifar10").sets[name]
    folder = tmp_path / spec.places[-1].path
    folder.mkdir(parents=True)
    for i, pixels in enumerate(images(3)):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    with pytest.raises(ValueError, match=f"are the OOD set '{name}' that cifar10"):
        opened(folder, "cifar10", data_dir=tmp_path)


def test_the_embedded_outliers_are_of_any_size_and_the_same_each_time():
    source = opened("embedded")
    assert len(source) == painted_outliers.SIZE
    np.testing.assert_array_equal(
        source[3]["image"], painted_outliers.outliers()[3]["image"]
    )
    assert painted_outliers.outliers(48)[0]["image"].shape == (48, 48, 3)
    one_channel = dataclasses.replace(PREPROCESSING, mean=(0.5,), std=(0.2,))
    with pytest.raises(ValueError, match="have 3 channels, the network's images 1"):
        outliers.open_outliers("embedded", "digits_tiny", one_channel, 32)


def test_no_embedded_outlier_is_an_image_of_a_test_set():
    pixels = {image.tobytes() for image in opened("embedded").images}
    assert len(pixels) > 0.9 * painted_outliers.SIZE  # crops of dark cloth are alike
    for name, source in benchmarks.get("digits_tiny").ood.items():
        assert pixels.isdisjoint(image.tobytes() for image in source.images), name


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown set of outliers, and no path 'plac"):
        opened("placs365")
    with pytest.raises(FileNotFoundError, match="the outliers places365 are not there"):
        opened("places365", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        opened(tmp_path / "nothing")


def test_the_stream_is_shuffled_and_resumes_where_it_stopped():
    source = ArraySource(images())
    whole = list(pipeline.shuffled_batches(source, 4, steps=6, seed=1))
    rest = list(pipeline.shuffled_batches(source, 4, steps=6, seed=1, start=2))
    for one, other in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert one.label is None
    first = np.concatenate([b.image for b in whole[:3]])
    assert (first != source.images).any()
    np.testing.assert_array_equal(np.sort(first, 0), np.sort(source.images, 0))
    with pytest.raises(ValueError, match="training needs labels"):
        next(pipeline.training_batches(source, 4, steps=1, seed=0))


@pytest.mark.slow
def test_a_run_reads_its_outliers_beside_the_id_images(tmp_path):
    np.savez(tmp_path / "some.npz", images=images(40))
    config = dataclasses.replace(
        tiny_run.CONFIG,
        objective="outlier_exposure",
        outliers=str(tmp_path / "some.npz"),
        outlier_batch_size=32,
        epochs=1,
    )
    data = dataclasses.replace(
        tiny_run.data(),
        outliers=opened(config.outliers),
        outliers_from=config.outliers,
    )
    trained = loop.train(config, data, tiny_run.MODEL, tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained))
    log = (tmp_path / "run" / "train.csv").read_text()
    assert "outlier_loss" in log.splitlines()[0]


def test_the_embedded_data_are_trained_on_without_outliers():
    assert tiny_run.data().outliers is None
