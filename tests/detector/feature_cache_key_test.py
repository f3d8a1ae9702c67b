"""What keys cached features: everything that they depend on, and nothing else."""

import json

from helpers.counted_network import BATCH
from helpers.counted_network import EDITED
from helpers.counted_network import IMAGES
from helpers.counted_network import LABELS
from helpers.counted_network import ONE
from helpers.counted_network import OTHER
from helpers.counted_network import VARIABLES
from helpers.counted_network import Net
from helpers.counted_network import OtherNet
from helpers.counted_network import data
from helpers.counted_network import fit
from helpers.counted_network import stores
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood._utils import fingerprinting
from jood._utils.fingerprinting import Fingerprinted
from jood.core.backbones import edited_runs
from jood.data.pipeline import EvaluationBatches
from jood.detector import feature_cache_key


def _nudged():
    variables = jax.tree.map(np.copy, VARIABLES)
    kernel = variables["params"]["C4"]["dense"]["kernel"]
    kernel[0, 0] = np.nextafter(kernel[0, 0], np.float32(9))
    return variables


def _pixel():
    images = IMAGES.copy()
    images[20, 3, 3, 2] ^= 1
    return images


@pytest.mark.parametrize(
    ("fields", "batches"),
    [
        ({"variables": _nudged()}, data()),
        ({"preprocessing": OTHER}, data()),
        ({"model": Net(power=2)}, data()),
        ({"model": OtherNet()}, data()),
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
