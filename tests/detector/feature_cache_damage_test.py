"""Cached features that are damaged, on a full disk, or written by two processes."""

import contextlib
import io
import os
import pathlib
import resource
import subprocess
import sys
import textwrap
import time

import chex
from helpers.counted_network import ONE
from helpers.counted_network import fit
from helpers.counted_network import reads
from helpers.counted_network import small_cache
from helpers.counted_network import small_features
from helpers.counted_network import stores
import numpy as np
import pytest


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
    cache, batch = small_cache(tmp_path), small_features(width=4)
    cache.write(0, batch)
    for file in tmp_path.glob("*/*/*.npz"):
        content = file.read_bytes()
        for place in range(0, len(content), 3):
            file.write_bytes(
                content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
            )
            found = small_cache(tmp_path).read(0)  # None: damaged
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


def test_a_full_disk_is_named_and_what_was_written_stays(tmp_path):
    cache = small_cache(tmp_path)
    cache.write(0, small_features())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes a file
    try:
        with pytest.raises(OSError, match=r"cannot use the feature cache .*Free disk"):
            cache.write(1, small_features(seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [small_cache(tmp_path).has_batch(i) for i in (0, 1)] == [True, False]
    cache.write(1, small_features(seed=1))
    chex.assert_trees_all_equal(small_cache(tmp_path).read(1), small_features(seed=1))


@pytest.mark.parametrize("reads_map", [False, True])
def test_a_complete_cache_may_be_read_only(filled, reads_map):
    folder, _ = filled
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    fit(reads(lambda acts: acts.stage("C4").mean((1, 2))) if reads_map else ONE,
        cache=folder)  # fmt: skip
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


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
