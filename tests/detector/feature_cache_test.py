"""Cached features: what keys them, resuming, damage, and several processes."""

import contextlib
import io
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import textwrap
import time
import weakref

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood._utils import fingerprinting
from jood._utils import sharding
from jood._utils.fingerprinting import Fingerprinted
from jood.core import component as component_lib
from jood.core.backbones import edited_runs
from jood.core.features import Features
from jood.core.features import Reader
from jood.data.benchmarks.spec import Benchmark
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import ArraySource
from jood.detector import feature_cache
from jood.detector import feature_cache_key
from jood.detector.feature_cache import FeatureCache
from jood.evaluation import benchmark_run

ONE = "react(q=0.9)|energy()"
EDITED = "ta(k=0.2)|react(q=0.9)|energy()"
TWO = f"fuse({EDITED}, max_logit(), weights='scale')"  # sweeps, and runs
OTHER = jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.41))
PREPROCESSING = jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
IMAGES = np.random.default_rng(0).integers(0, 256, (22, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(22, dtype=np.int32) % 4
BATCH, BATCHES = 4, 6  # the last is padded
RUNS = []  # one entry per batch that the network below has run on


def _count():
    RUNS.append(1)
    return np.float32(0)


class Stage(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(6, name="dense")(x))


def runs(component):
    """How often the network ran; an edited run counts as one with the plain run."""
    count, rest = divmod(len(RUNS), len(edited_runs.prefixes(component.edits)))
    assert not rest
    return count


class Net(nn.Module):
    """A small network that counts its runs (not its traces)."""

    power: int = 1

    @nn.compact
    def __call__(self, x):
        x += jax.pure_callback(_count, jax.ShapeDtypeStruct((), "f"))
        x = Stage(name="C4")(x) ** self.power
        return nn.Dense(4, name="head")(x.mean((1, 2)))


VARIABLES = jax.device_get(Net().init(jax.random.key(0), np.zeros((1, 4, 4, 3), "f")))


def detector(component=ONE, model=None, variables=VARIABLES, **fields):
    fields = {"preprocessing": PREPROCESSING, **fields}
    return jood.Detector(component, model or Net(), variables, **fields)


def data(images=IMAGES, labels=LABELS, batch=BATCH):
    return EvaluationBatches(ArraySource(images, labels), batch)


def fit(component=ONE, batches=None, cache=None, **fields):
    """Fits; returns the fitted values and how often the network ran."""
    RUNS.clear()
    new = detector(component, **fields)
    fitted = new.fit(batches or data(), cache=cache).fitted
    return fitted, runs(new.component)


def stores(root):
    return {path.name for path in pathlib.Path(root).iterdir()}


@pytest.fixture(scope="module")
def _filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    return folder, fit(cache=folder)[0]


@pytest.fixture
def filled(_filled, tmp_path):
    """A folder with the complete features of `data()`, and what was fitted on them."""
    folder, fitted = _filled
    return pathlib.Path(shutil.copytree(folder, tmp_path / "filled")), fitted


# What keys it


def _nudged():
    variables = jax.tree.map(np.copy, VARIABLES)
    kernel = variables["params"]["C4"]["dense"]["kernel"]
    kernel[0, 0] = np.nextafter(kernel[0, 0], np.float32(9))
    return variables


def _pixel():
    images = IMAGES.copy()
    images[20, 3, 3, 2] ^= 1
    return images


class Renamed(nn.Module):
    """`Net` with another body; below it takes its name."""

    power: int = 1

    @nn.compact
    def __call__(self, x):
        x += jax.pure_callback(_count, jax.ShapeDtypeStruct((), "f"))
        x = Stage(name="C4")(x) ** self.power * 1.5
        return nn.Dense(4, name="head")(x.mean((1, 2)))


Renamed.__qualname__ = Renamed.__name__ = "Net"


@pytest.mark.parametrize(
    ("fields", "batches"),
    [
        ({"variables": _nudged()}, data()),
        ({"preprocessing": OTHER}, data()),
        ({"model": Net(power=2)}, data()),
        ({"model": Renamed()}, data()),
        ({"stages": {"C4": "C4"}}, data()),
        ({}, data(images=_pixel())),
        ({}, data(labels=LABELS[::-1])),
        ({}, data(images=IMAGES[::-1], labels=LABELS)),
        ({}, data(batch=5)),
        ({}, data(labels=None)),
    ],
    ids=[
        "weights by one ulp", "preprocessing", "field of the model", "its code",
        "taps", "pixel", "labels", "order", "batch size", "no labels",
    ],
)  # fmt: skip
def test_a_stale_key_is_never_read(filled, fields, batches):
    folder, _ = filled
    assert fit(batches=batches, cache=folder, **fields)[1] == len(batches)
    assert len(stores(folder)) == 2


def test_the_same_ingredients_are_the_same_key(filled):
    folder, _ = filled
    frozen = jax.tree.map(jnp.asarray, VARIABLES)
    copies = data(IMAGES.copy(), LABELS.copy())
    assert fit("react(q=0.5)|msp()", copies, folder, variables=frozen)[1] == 0
    assert len(stores(folder)) == 1


def test_key_json_says_what_the_key_was_made_of(tmp_path):
    fit(EDITED, cache=tmp_path)
    (store,) = tmp_path.iterdir()
    key = json.loads((store / "key.json").read_text())
    assert key["format"] == feature_cache_key.FORMAT
    assert key["model"].endswith(".Net")
    assert "power = 1" in key["model_fields"]
    assert "0.2, 0.3, 0.4" in key["preprocessing"]
    assert f"batch_size={BATCH}" in key["data"]
    assert key["head"] == "head"
    edits = [json.loads(p.read_text())["edits"] for p in store.glob("*/key.json")]
    assert sorted(edits) == [[], [jood.parse(EDITED).edits[0][0].spec]]


def test_a_folder_with_another_key_is_refused(filled):
    folder, _ = filled
    (path,) = folder.glob("*/key.json")
    path.write_text(path.read_text().replace("power = 1", "power = 3"))
    with pytest.raises(OSError, match="of another key than its folder's name says"):
        fit(cache=folder)


def test_runs_are_the_prefixes_of_edit_paths():
    a, b = (jood.StageEdit(name, "C5", lambda x: x) for name in "ab")
    paths = [(a, b), (b,), (a,)]
    assert [feature_cache_key.names(path) for path in edited_runs.prefixes(paths)] == [
        (),
        ("a",),
        ("a", "b"),
        ("b",),
    ]


def test_the_digest_of_arrays_covers_name_dtype_shape_and_bytes():
    x = np.arange(4, dtype=np.int32)
    variants = [
        {"x": x},
        {"y": x},
        {"x": x.view(np.uint32)},
        {"x": x.reshape(2, 2)},
        {"x": x[::-1]},
        {"x": x.reshape(2, 2), "z": np.float32(0)},
        {"x": jnp.bfloat16(1)},
    ]
    digests = {fingerprinting.array_digest(**arrays) for arrays in variants}
    assert len(digests) == len(variants)
    assert fingerprinting.array_digest(x=x, y=None) == fingerprinting.array_digest(x=x)


def test_constants_of_a_program_count_however_deep():
    def key(value):
        constant = np.full(3, value, np.float32)

        def observe(variables, images, edits):
            del edits
            inner = jax.jit(lambda x: x + jnp.asarray(constant)[None])
            features = jax.lax.cond(True, inner, lambda x: x, images)
            return jood.Activations.of(features, variables)

        return feature_cache_key.program(
            observe, jnp.ones((3, 2)), jnp.ones((1, 3)), ()
        )

    assert key(1.0) == key(1.0)
    assert key(1.0) != key(2.0)


# Without the network


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


def _reads(read):
    """A detector whose one statistic is the sum of what `read` returns, [B, D]."""
    total = component_lib.Statistic(
        init=lambda acts: jnp.zeros(6),
        update=lambda state, acts, mask: state + mask @ read(acts),
        merge=jnp.add,
        finalize=np.asarray,
    )
    return component_lib.build(
        "reads()",
        "score",
        lambda fitted, acts: acts.logits.max(-1),
        passes=(lambda fitted: total,),
        needs_network=True,
    )


@pytest.mark.parametrize(
    "read",
    [
        lambda acts: acts.stage("C4").mean((1, 2)),
        lambda acts: acts.behind().run(acts.behind().images * 2).penultimate,
    ],
    ids=["map", "network"],
)
def test_what_is_not_kept_runs_the_network_which_fills_the_cache(tmp_path, read):
    expected, count = fit(_reads(read))
    for _ in range(2):
        actual, again = fit(_reads(read), cache=tmp_path)
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


# Interrupted


class Interrupted:
    """The data, with an error after some batches."""

    def __init__(self, error, after):
        self.error, self.after = error, after

    def __iter__(self):
        for index, batch in enumerate(data()):
            if index == self.after:
                raise self.error
            yield batch

    def fingerprint(self):
        return data().fingerprint()


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


SCRIPT = textwrap.dedent("""
    import sys, time
    import jood
    from jood import testing
    images, labels = testing.toy_images(96, seed=0)

    class Slow:
        def __iter__(self):
            for i in range(0, 96, 4):
                time.sleep(float(sys.argv[2]))
                yield images[i:i+4], labels[i:i+4]

        def fingerprint(self):
            return 'toy'

    detector = jood.Detector(
        "fuse(ta()|react()|energy(), max_logit(), weights='scale')",
        testing.ToyNet(),
        testing.toy_variables(),
    )
    detector = detector.fit(Slow(), cache=sys.argv[1])
    print(detector.fitted)
""")


def _start(cache, pause):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(cache), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "XLA_FLAGS": ""},
    )


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_compile")  # as the other processes do
def test_killed_then_two_processes_at_once_then_a_third_reads(tmp_path):
    victim = _start(tmp_path, 0.1)
    while len(list(tmp_path.glob("*/*/*.npz"))) < 6:
        assert victim.poll() is None, victim.communicate()[1]
        time.sleep(0.005)
    victim.kill()
    victim.communicate()
    done = len(list(tmp_path.glob("*/*/*.npz")))
    assert done < 2 * 24
    pair = [_start(tmp_path, 0.0) for _ in range(2)]
    printed = [process.communicate(timeout=120) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], printed

    namespace = {}
    sys_argv, sys.argv = sys.argv, ["", str(tmp_path), "0"]
    try:
        written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        exec(SCRIPT, namespace)  # in this process, with two devices: the same key
        assert written == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        slow = namespace["Slow"]()
        fresh = namespace["detector"].fit(slow, cache=tmp_path / "fresh").fitted
    finally:
        sys.argv = sys_argv
    assert stores(tmp_path) - {"fresh"} == stores(tmp_path / "fresh")
    fitted = namespace["detector"].fitted
    assert [out.strip() for out, _ in printed] == [str(fitted)] * 2
    assert fresh == fitted


# Damage


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:6])


@pytest.mark.parametrize("damage", [_flip, _truncate, pathlib.Path.unlink])
def test_a_damaged_batch_is_computed_again(filled, damage):
    folder, expected = filled
    (file,) = folder.glob("*/*/000002.npz")
    content = file.read_bytes()
    damage(file)
    with contextlib.ExitStack() as stack:
        if damage is not pathlib.Path.unlink:
            match = r"batch 2 .* is damaged"
            stack.enter_context(pytest.warns(UserWarning, match=match))
        assert fit(cache=folder) == (expected, 1)
    with np.load(file) as new, np.load(io.BytesIO(content)) as old:
        chex.assert_trees_all_equal(dict(new), dict(old))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:batch 0 of the features")
def test_no_flipped_byte_changes_what_is_read(tmp_path):
    cache, batch = _cache(tmp_path), _features(width=4)
    cache.write(0, batch)
    for file in tmp_path.glob("*/*/*.npz"):
        content = file.read_bytes()
        for place in range(0, len(content), 3):
            file.write_bytes(
                content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
            )
            found = _cache(tmp_path).read(0)  # None: damaged
            if found is not None:  # a byte that says nothing, such as of a date
                chex.assert_trees_all_equal(found, batch)
        file.write_bytes(content)


def test_swapped_and_copied_batches_are_computed_again(filled):
    folder, expected = filled
    one, two, three = (next(folder.glob(f"*/*/00000{i}.npz")) for i in (1, 2, 3))
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    three.write_bytes(content)
    with pytest.warns(UserWarning, match=r"damaged.*another batch's file") as caught:
        assert fit(cache=folder) == (expected, 3)
    assert len(caught) == 3
    assert fit(cache=folder) == (expected, 0)


@pytest.mark.parametrize("name", ["labels", "mask"])
def test_a_batch_that_lacks_an_array_is_computed_again(filled, name):
    """Without its labels it would be the user's batches that lack them."""
    folder, expected = filled
    (file,) = folder.glob("*/*/000002.npz")
    with np.load(file) as stored:
        arrays = dict(stored)
    del arrays[name]
    np.savez(file, **arrays)
    with pytest.warns(UserWarning, match="batch 2 .* lacks an array"):
        assert fit(cache=folder) == (expected, 1)


def test_a_lost_count_is_found_again(filled):
    folder, expected = filled
    (count,) = folder.glob("*/batches.json")
    content = count.read_bytes()
    count.write_bytes(b"?")
    assert fit(cache=folder) == (expected, 0)
    assert count.read_bytes() == content


def test_a_damaged_key_says_what_to_do(filled):
    folder, _ = filled
    (key,) = folder.glob("*/key.json")
    key.write_text("{")
    with pytest.raises(OSError, match=r"cannot use the feature cache .*delete it"):
        fit(cache=folder)


@pytest.mark.parametrize("where", ["file", "nowhere"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, where):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache" if where == "file" else "/proc/jood"
    with pytest.raises(OSError, match=r"cannot use the feature cache .*name another"):
        fit(cache=folder)


def _features(size=8, width=64, seed=0, labels=True):
    x = np.random.default_rng(seed).normal(size=(size, width)).astype("f")
    y = np.arange(size, dtype=np.int32) if labels else None
    return Features({(): x, ("a",): -x}, np.ones(size, "f"), y)


def _cache(root):
    return FeatureCache(root, {"data": 1}, {(): {}, ("a",): {"edits": ["a"]}})


def test_a_full_disk_is_named_and_what_was_written_stays(tmp_path):
    cache = _cache(tmp_path)
    cache.write(0, _features())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes a file
    try:
        with pytest.raises(OSError, match=r"cannot use the feature cache .*Free disk"):
            cache.write(1, _features(seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [_cache(tmp_path).has_batch(i) for i in (0, 1)] == [True, False]
    cache.write(1, _features(seed=1))
    chex.assert_trees_all_equal(_cache(tmp_path).read(1), _features(seed=1))


@pytest.mark.parametrize("reads_map", [False, True])
def test_a_complete_cache_may_be_read_only(filled, reads_map):
    folder, _ = filled
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    fit(_reads(lambda acts: acts.stage("C4").mean((1, 2))) if reads_map else ONE,
        cache=folder)  # fmt: skip
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


# The store itself


@pytest.mark.parametrize("labels", [True, False])
def test_batches_of_any_size_come_back_in_any_order(tmp_path, labels):
    cache = _cache(tmp_path)
    batches = [
        _features(size, seed=i, labels=labels) for i, size in enumerate([8, 20, 3, 8])
    ]
    for index in (0, 3, 1, 2):
        assert cache.read(index) is None
        cache.write(index, batches[index])
    assert cache.count is None
    cache.finish(4)
    again = _cache(tmp_path)
    assert again.count == 4
    for index, batch in enumerate(batches):
        chex.assert_trees_all_equal(again.read(index), batch)
    assert again.read(4) is None


def test_features_of_zeros_are_kept(tmp_path):
    zeros = jax.tree.map(np.zeros_like, _features())
    _cache(tmp_path).write(0, zeros)
    chex.assert_trees_all_equal(_cache(tmp_path).read(0), zeros)


def test_the_batches_are_plain_npz(tmp_path):
    batch = _features()
    _cache(tmp_path).write(0, batch)
    for path in tmp_path.glob("*/*/000000.npz"):
        edits = json.loads((path.parent / "key.json").read_text()).get("edits", [])
        with np.load(path) as arrays:
            np.testing.assert_array_equal(
                arrays["penultimate"], batch.runs[tuple(edits)]
            )


def _reader(cache, source):
    """Features that are twice the batch, of the plain run and of one with an edit."""

    def observer(variables, batch):
        acts = jood.Activations.of(batch * 2, variables)
        return acts.replace(edited={"a": acts}), jnp.ones(len(batch))

    return Reader(observer, np.ones((64, 3), "f"), source, np.ones((2, 64), "f"), cache)


def test_memory_does_not_grow_with_the_number_of_batches(tmp_path):
    refs = []

    def track(array):
        refs.append(weakref.ref(array))
        return array

    def source():
        for index in range(40):
            yield track(np.full((2, 64), index, "f"))

    for _ in range(2):  # filled, then read, when no batch of the source is needed
        for features in _reader(_cache(tmp_path), source()):
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


# Fingerprints


@pytest.mark.parametrize(
    "batches",
    [
        [IMAGES],
        iter([IMAGES]),
        EvaluationBatches([{"image": image} for image in IMAGES], 4),
    ],
    ids=["list", "iterator", "source"],
)
def test_batches_without_a_fingerprint_are_refused(tmp_path, batches):
    with pytest.raises(ValueError, match=r"no method fingerprint\(\).*Fingerprinted"):
        fit(batches=batches, cache=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_batches_can_be_named(tmp_path):
    pair = [IMAGES[:8], IMAGES[8:]]
    expected, _ = fit(ONE, pair)
    assert fit(ONE, Fingerprinted(pair, "train"), tmp_path) == (expected, 2)
    assert fit(ONE, Fingerprinted(pair, "train"), tmp_path) == (expected, 0)
    assert fit(ONE, Fingerprinted(pair, "test"), tmp_path)[1] == 2
    # The first batch is looked at, whatever the name says.
    assert fit(ONE, Fingerprinted(pair[::-1], "train"), tmp_path)[1] == 2


def test_a_source_that_is_shorter_than_its_cache_is_refused(tmp_path):
    parts = [IMAGES[i : i + 4] for i in range(0, 20, 4)]
    fit(ONE, Fingerprinted(parts, "train"), tmp_path)
    next(tmp_path.glob("*/*/000004.npz")).unlink()
    message = r"the source ends after 2 batches, but .* 5"  # known

    for component in (ONE, _reads(lambda acts: acts.stage("C4").mean((1, 2)))):
        with pytest.raises(ValueError, match=message):
            fit(component, Fingerprinted(parts[:2], "train"), tmp_path)


def test_a_source_that_is_shorter_than_a_partial_cache_is_refused(tmp_path):
    cache = _cache(tmp_path)
    for index in range(3):
        cache.write(index, _features())
    with pytest.raises(ValueError, match=r"ends after 2 batches, but .* more"):
        list(_reader(cache, [np.ones((8, 64), "f")] * 2))
    assert cache.count is None


def test_given_activations_need_no_cache(tmp_path):
    acts = jood.Activations.of(np.ones((2, 3), "f"), np.ones((3, 2), "f"))
    with pytest.raises(ValueError, match="without a network"):
        jood.fit(jood.parse(ONE), [acts], cache=_cache(tmp_path))


@pytest.mark.slow
def test_toy_key_does_not_depend_on_the_process_or_the_trace():
    net, variables = testing.ToyNet(), testing.toy_variables()

    def observe(variables, images, edits):
        return jood.observe(net, variables, images, edits=edits)

    images = jax.ShapeDtypeStruct((2, 4, 4, 32), jnp.float32)
    path = jood.parse(EDITED).edits[0]
    keys = {
        feature_cache_key.program(observe, variables, images, path) for _ in range(3)
    }
    jax.clear_caches()
    keys.add(feature_cache_key.program(observe, variables, images, path))
    assert len(keys) == 1
