"""Cached features replace the network's runs, and an interrupted pass goes on."""

import json
import weakref

import chex
from flax import linen as nn
from helpers.counted_network import BATCH
from helpers.counted_network import BATCHES
from helpers.counted_network import EDITED
from helpers.counted_network import IMAGES
from helpers.counted_network import LABELS
from helpers.counted_network import ONE
from helpers.counted_network import PREPROCESSING
from helpers.counted_network import RUNS
from helpers.counted_network import TWO
from helpers.counted_network import VARIABLES
from helpers.counted_network import Interrupted
from helpers.counted_network import Net
from helpers.counted_network import data
from helpers.counted_network import detector
from helpers.counted_network import doubled
from helpers.counted_network import fit
from helpers.counted_network import reads
from helpers.counted_network import runs
from helpers.counted_network import small_cache
from helpers.counted_network import small_features
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood._utils import sharding
from jood._utils.fingerprinting import Fingerprinted
from jood.data.benchmarks.spec import Benchmark
from jood.data.sources import ArraySource
from jood.detector import feature_cache
from jood.evaluation import benchmark_run


@pytest.mark.slow
@pytest.mark.parametrize("component", [ONE, TWO])
def test_a_complete_cache_replaces_the_network_bit_for_bit(tmp_path, component):
    fresh, count = fit(component)
    assert count == BATCHES
    assert fit(component, cache=tmp_path) == (fresh, BATCHES)
    assert fit(component, cache=tmp_path) == (fresh, 0)


def test_a_complete_cache_reads_one_batch_of_the_source_only(filled):
    folder, expected = filled

    class First:
        def __iter__(self):
            yield next(iter(data()))
            raise AssertionError("read")

        def fingerprint(self):
            return data().fingerprint()

    assert fit(batches=First(), cache=folder) == (expected, 0)


@pytest.mark.slow
def test_edited_runs_lie_beside_the_plain_run_and_share_it(filled):
    tmp_path, _ = filled
    (plain,) = tmp_path.glob("*/*/000000.npz")
    written = {p: p.stat().st_mtime_ns for p in plain.parent.rglob("*")}
    both = f"bundle(a={ONE}, b={EDITED})"
    expected, _ = fit(both)
    assert fit(both, cache=tmp_path) == (expected, BATCHES)
    assert written == {p: p.stat().st_mtime_ns for p in plain.parent.rglob("*")}
    assert len(list(tmp_path.glob("*/*/000000.npz"))) == 2
    assert fit("ta(k=0.2)|react(q=0.5)|msp()", cache=tmp_path)[1] == 0
    assert fit("ta(k=0.3)|react(q=0.5)|msp()", cache=tmp_path)[1] == BATCHES


@pytest.mark.parametrize(
    "read",
    [
        lambda acts: acts.stage("C4").mean((1, 2)),
        lambda acts: acts.behind().run(acts.behind().images * 2).penultimate,
    ],
    ids=["map", "network"],
)
def test_what_is_not_kept_runs_the_network_which_fills_the_cache(tmp_path, read):
    expected, count = fit(reads(read))
    for _ in range(2):
        actual, again = fit(reads(read), cache=tmp_path)
        chex.assert_trees_all_close(actual, expected, rtol=1e-6)
        assert again == count
    kept, count = fit(ONE, cache=tmp_path)
    assert count == 0
    chex.assert_trees_all_close(kept, fit(ONE)[0], rtol=1e-6)


def test_a_component_without_passes_opens_no_cache(tmp_path):
    fit("energy()", cache=tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("cached", [False, True])
def test_features_are_those_of_the_network_with_its_edits(tmp_path, cached):
    asked = detector(EDITED)
    spec = asked.component.edits[0][0].spec
    for expected in (BATCHES, 0 if cached else BATCHES):
        RUNS.clear()
        found = list(asked.features(data(), cache=tmp_path if cached else None))
        assert runs(asked.component) == expected
    acts = jood.observe(
        Net(), VARIABLES, PREPROCESSING(IMAGES), edits=asked.component.edits
    )
    keep = np.concatenate([mask for _, mask in found]) > 0
    assert keep.tolist() == [True] * 22 + [False] * 2

    def check(read, expected):
        actual = np.concatenate([read(record) for record, _ in found])[keep]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

    check(lambda r: r.penultimate, acts.penultimate)
    check(lambda r: r.logits, acts.logits)
    check(lambda r: r.labels, LABELS)
    edited = acts.edit(spec)
    check(lambda r: r.edit(spec).penultimate, edited.penultimate)
    check(lambda r: r.edit(spec).prediction, edited.prediction)
    check(lambda r: r.edit(spec).original, acts.penultimate)


@pytest.mark.slow
def test_sharded_batches_fill_what_one_device_reads(tmp_path):
    mesh = sharding.data_mesh()
    assert mesh.devices.size == 2

    class Sharded:
        def __iter__(self):
            return (sharding.shard_batch(batch, mesh) for batch in data())

        def fingerprint(self):
            return data().fingerprint()

    expected, _ = fit(TWO, Sharded(), tmp_path)
    assert fit(TWO, cache=tmp_path) == (expected, 0)
    assert fit(TWO, Sharded(), tmp_path) == (expected, 0)


def test_evaluate_passes_the_cache_on(tmp_path):
    benchmark = Benchmark(
        name="digits",
        id_train=ArraySource(IMAGES, LABELS),
        id_test=ArraySource(IMAGES[:8], LABELS[:8]),
        ood={"noise": ArraySource(IMAGES[::-1])},
        near=(),
        class_names=tuple("abcd"),
        preprocessing=PREPROCESSING,
        image_size=4,
        protocol="",
    )
    counts = []
    for _ in range(2):
        RUNS.clear()
        bundle = benchmark_run.make_detector({"a": ONE}, benchmark, Net(), VARIABLES)
        _, found = benchmark_run.evaluate(
            bundle, benchmark, batch_size=BATCH, progress=False, cache=tmp_path
        )
        counts.append(len(RUNS))
    assert counts[0] - counts[1] == BATCHES
    assert found.id_scores["a"].shape == (8,)


@pytest.mark.slow
@pytest.mark.parametrize("component", [ONE, TWO])
@pytest.mark.parametrize("after", [1, 4])
def test_an_interrupted_fit_goes_on_with_the_missing_batches(
    tmp_path, component, after
):
    with pytest.raises(KeyboardInterrupt):
        fit(component, Interrupted(KeyboardInterrupt(), after), tmp_path)
    assert runs(detector(component).component) == after
    expected, _ = fit(component)
    assert fit(component, cache=tmp_path) == (expected, BATCHES - after)
    assert fit(component, cache=tmp_path) == (expected, 0)


def test_nans_are_named_by_their_index_in_the_data_and_not_kept(tmp_path):
    class Bad(nn.Module):
        @nn.compact
        def __call__(self, x):
            white = (x > 1.7).all((1, 2, 3), keepdims=True)
            return Net(name="net")(jnp.where(white, jnp.nan, x))

    images = IMAGES.copy()
    images[13] = 255
    variables = {"params": {"net": VARIABLES["params"]}}
    fields = {"model": Bad(), "variables": variables, "head": "net/head"}
    for _ in range(2):  # the second time, three batches come from the cache
        with pytest.raises(ValueError, match=r"penultimate features at index 13 \(1"):
            fit(ONE, data(images), tmp_path, **fields)
    assert len(list(tmp_path.glob("*/*/*.npz"))) == 3


def test_a_source_that_is_shorter_than_its_cache_is_refused(tmp_path):
    parts = [IMAGES[i : i + 4] for i in range(0, 20, 4)]
    fit(ONE, Fingerprinted(parts, "train"), tmp_path)
    next(tmp_path.glob("*/*/000004.npz")).unlink()
    message = r"the source ends after 2 batches, but .* 5"  # known

    for component in (ONE, reads(lambda acts: acts.stage("C4").mean((1, 2)))):
        with pytest.raises(ValueError, match=message):
            fit(component, Fingerprinted(parts[:2], "train"), tmp_path)


def test_a_source_that_is_shorter_than_a_partial_cache_is_refused(tmp_path):
    cache = small_cache(tmp_path)
    for index in range(3):
        cache.write(index, small_features())
    with pytest.raises(ValueError, match=r"ends after 2 batches, but .* more"):
        list(doubled(cache, [np.ones((8, 64), "f")] * 2))
    assert cache.count is None


def test_given_activations_need_no_cache(tmp_path):
    acts = jood.Activations.of(np.ones((2, 3), "f"), np.ones((3, 2), "f"))
    with pytest.raises(ValueError, match="without a network"):
        jood.fit(jood.parse(ONE), [acts], cache=small_cache(tmp_path))


@pytest.mark.parametrize("labels", [True, False])
def test_batches_of_any_size_come_back_in_any_order(tmp_path, labels):
    cache = small_cache(tmp_path)
    batches = [
        small_features(size, seed=i, labels=labels)
        for i, size in enumerate([8, 20, 3, 8])
    ]
    for index in (0, 3, 1, 2):
        assert cache.read(index) is None
        cache.write(index, batches[index])
    assert cache.count is None
    cache.finish(4)
    again = small_cache(tmp_path)
    assert again.count == 4
    for index, batch in enumerate(batches):
        chex.assert_trees_all_equal(again.read(index), batch)
    assert again.read(4) is None


def test_features_of_zeros_are_kept(tmp_path):
    zeros = jax.tree.map(np.zeros_like, small_features())
    small_cache(tmp_path).write(0, zeros)
    chex.assert_trees_all_equal(small_cache(tmp_path).read(0), zeros)


def test_the_batches_are_plain_npz(tmp_path):
    batch = small_features()
    small_cache(tmp_path).write(0, batch)
    for path in tmp_path.glob("*/*/000000.npz"):
        edits = json.loads((path.parent / "key.json").read_text()).get("edits", [])
        with np.load(path) as arrays:
            np.testing.assert_array_equal(
                arrays["penultimate"], batch.runs[tuple(edits)]
            )


def test_memory_does_not_grow_with_the_number_of_batches(tmp_path):
    refs = []

    def track(array):
        refs.append(weakref.ref(array))
        return array

    def source():
        for index in range(40):
            yield track(np.full((2, 64), index, "f"))

    for _ in range(2):  # filled, then read, when no batch of the source is needed
        for features in doubled(small_cache(tmp_path), source()):
            track(features.runs[()])
            assert sum(ref() is not None for ref in refs) <= 6
    assert len(refs) == 3 * 40


def test_temporary_files_are_deleted_also_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(TWO, Interrupted(KeyboardInterrupt(), 2))
    assert not list(tmp_path.iterdir())
    with feature_cache.temporary(()) as cache:
        assert list(tmp_path.iterdir())
        assert cache.count is None
    assert not list(tmp_path.iterdir())
