"""DenseNet: the paper's network, cut where its maps are activated; its weights."""

import functools
import re

import chex
from helpers import torch_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import models
from jood import weights
from jood.core import activations
from jood.models import densenet

_SMALL = densenet.DenseNet((2, 1, 2), 5, growth=3, stem="cifar", compression=0.6)
_SIZE = 14


@functools.cache
def _variables(model=_SMALL):
    """Random values of which no two are alike; the variances are positive."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if path[-1].key == "kernel" else 25
        return rng.normal(0, fan_in**-0.5, leaf.shape).astype(np.float32)

    images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        (
            "densenet121",
            224,
            {"C2": (56, 256), "C3": (28, 512), "C4": (14, 1024), "C5": (7, 1024)},
        ),
        ("densenet100_cifar", 32, {"C3": (32, 216), "C4": (16, 300), "C5": (8, 342)}),
    ],
)
def test_stages_and_their_shapes(name, size, expected):
    model = models.create(name, 10)
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    acts = jax.eval_shape(functools.partial(jood.observe, model), variables, images)
    assert {stage: x.shape for stage, x in acts.stages.items()} == {
        stage: (2, side, side, channels) for stage, (side, channels) in expected.items()
    }
    chex.assert_shape(acts.penultimate, (2, expected["C5"][1]))
    chex.assert_shape(acts.logits, (2, 10))


def _slow(variables, x):
    """The small network as the paper draws it, in float64: concatenate, then pool."""
    params, stats = variables["params"], variables["batch_stats"]

    def norm_relu(x, *path):
        p, s = params, stats
        for key in path:
            p, s = p[key], s[key]
        y = (x - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"]
        return np.maximum(y, 0)

    def conv(x, layer):
        kernel = layer["kernel"]
        height, width, pad = *x.shape[1:3], kernel.shape[0] // 2
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        return sum(
            x[:, i : i + height, j : j + width] @ kernel[i, j]
            for i, j in np.ndindex(kernel.shape[:2])
        )

    x, maps = conv(x.astype(np.float64), params["conv1"]), {}
    for stage, size in zip(("C3", "C4", "C5"), _SMALL.block_sizes, strict=True):
        if stage != "C3":
            x = conv(x, params[stage]["reduce"])
            height, width = (side // 2 for side in x.shape[1:3])
            x = x[:, : 2 * height, : 2 * width]  # an odd last row has no partner
            x = x.reshape(len(x), height, 2, width, 2, -1).mean(axis=(2, 4))
        for i in range(1, size + 1):
            layer = params[stage][f"layer{i}"]
            y = norm_relu(x, stage, f"layer{i}", "bn1")
            y = norm_relu(conv(y, layer["conv1"]), stage, f"layer{i}", "bn2")
            x = np.concatenate([x, conv(y, layer["conv2"])], axis=-1)
        x = maps[stage] = norm_relu(x, stage, "norm")
    head = params["head"]
    return maps, x.mean(axis=(1, 2)) @ head["kernel"] + head["bias"]


def test_forward_pass_is_the_papers():
    images = torch_oracle.images(_SIZE)
    maps, logits = _slow(_variables(), images)
    acts = jax.jit(lambda v, x: jood.observe(_SMALL, v, x))(_variables(), images)
    assert acts.stages["C4"].shape == (2, 7, 7, 10)  # int(0.6 * 12) + 3
    assert acts.stages["C5"].shape[1:3] == (3, 3)
    assert logits.std() > 0.1
    chex.assert_trees_all_close(dict(acts.stages), maps, atol=1e-5)
    np.testing.assert_allclose(acts.logits, logits, atol=1e-5)


@pytest.mark.slow
def test_stages_are_activated_and_all_that_follows_reads_nothing_else():
    edits = [
        (activations.StageEdit(f"{change}({stage})", stage, rewrite),)
        for change, rewrite in (("swap", lambda x: x[::-1]), ("zero", jnp.zeros_like))
        for stage in ("C3", "C4", "C5")
    ]
    acts = jax.jit(lambda v, x: jood.observe(_SMALL, v, x, edits=edits))(
        _variables(), torch_oracle.images(_SIZE)
    )
    assert np.abs(acts.logits[0] - acts.logits[1]).max() > 1e-2
    for stage, value in acts.stages.items():
        assert value.min() == 0, stage
        assert value.max() > 0.1, stage
        # The images swap all that is behind the stage, so they swap their logits.
        swapped = acts.edited[f"swap({stage})"].logits
        np.testing.assert_allclose(swapped, acts.logits[::-1], atol=1e-6)
        zeroed = acts.edited[f"zero({stage})"].logits
        np.testing.assert_allclose(zeroed[0], zeroed[1], atol=1e-6)
        assert np.abs(zeroed - acts.logits).max() > 1e-2
    bias = _variables()["params"]["head"]["bias"]
    np.testing.assert_array_equal(zeroed[0], bias)  # of C5: nothing is left
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_logits_are_those_of_pytorch_and_weights_go_both_ways(library):
    module = torch_oracle.library(library)
    torch = torch_oracle.torch_or_skip()
    create = module.create_model if library == "timm" else module.models.get_model
    network = torch_oracle.perturbed(create("densenet121", num_classes=7))
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
    model = models.create("densenet121", 7)
    variables = weights.from_torch_names(torch_oracle.tensors(network), model)
    images = torch_oracle.images(70)  # maps of 35, 18, 9, 4 and 2 pixels
    expected = torch_oracle.logits(network, images)
    assert 0.1 < np.abs(expected[0] - expected[1]).max() < 10
    logits = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    back = weights.to_torch_names(model, variables, library)
    fresh = create("densenet121", num_classes=7).eval()
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in back.items()})
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_dices_networks_give_pytorchs_logits_and_features(name, data_dir):
    path = data_dir / f"weights/dice_densenet100_{name}.npz"
    model = models.create("densenet100_cifar", int(name.removeprefix("cifar")))
    variables = weights.load(path, model)
    mean, std = np.array([[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]])
    with np.load(data_dir / f"reference/dice_densenet100_{name}.npz") as reference:
        images = ((reference["images"] / 255 - mean) / std).astype(np.float32)
        acts = jax.jit(lambda v, x: jood.observe(model, v, x))(variables, images)
        np.testing.assert_allclose(
            acts.penultimate, reference["penultimate"], rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(acts.logits, reference["logits"], rtol=0, atol=1e-4)
    back = weights.to_torch_names(model, variables, "openood")
    with np.load(path) as tensors:
        counted = {n for n in tensors if n.endswith("num_batches_tracked")}
        assert back.keys() == tensors.keys() - counted
        chex.assert_trees_all_equal(back, {n: tensors[n] for n in back})


def test_published_files_of_torchvision_have_older_names():
    model = densenet.DenseNet((1, 2), 5, growth=2)
    tensors = weights.to_torch_names(model, _variables(model), "torchvision")
    older = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): tensor
        for name, tensor in tensors.items()
    }
    assert "features.denseblock2.denselayer2.norm.1.running_var" in older
    assert "features.norm3.weight" in older
    found = weights.from_torch_names(older, model)
    chex.assert_trees_all_equal(found, _variables(model))


@pytest.mark.parametrize("layout", ["torchvision", "dice"])
def test_weights_go_both_ways_without_pytorch(layout):
    tensors = weights.to_torch_names(_SMALL, _variables(), layout)
    # The norm that ends a stage here is the transition's there.
    ours = _variables()["params"]["C4"]
    norm, reduce = {
        "torchvision": ("features.transition2.norm", "features.transition1.conv"),
        "dice": ("trans2.bn1", "trans1.conv1"),
    }[layout]
    np.testing.assert_array_equal(tensors[f"{norm}.weight"], ours["norm"]["scale"])
    kernel = ours["reduce"]["kernel"][0, 0].T
    np.testing.assert_array_equal(tensors[f"{reduce}.weight"][..., 0, 0], kernel)
    found = weights.from_torch_names(tensors, _SMALL)
    chex.assert_trees_all_equal(found, _variables())


def test_training_updates_the_statistics_of_every_norm():
    images = torch_oracle.images(_SIZE)
    logits, new = jax.jit(
        lambda v, x: _SMALL.apply(v, x, train=True, mutable=["batch_stats"])
    )(_variables(), images)
    assert np.isfinite(logits).all()
    old = _variables()["batch_stats"]
    for before, after in zip(
        jax.tree.leaves(old), jax.tree.leaves(new["batch_stats"]), strict=True
    ):
        assert np.abs(before - after).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "deep"}, "stem must be one of imagenet, cifar, got 'deep'"),
        ({"dtype": "int8"}, "dtype must be one of .*got 'int8'"),
        ({"block_sizes": (6,)}, r"2 to 4 blocks, got \(6,\)"),
        ({"block_sizes": (1,) * 5}, "2 to 4 blocks"),
        ({"block_sizes": (6, 0)}, r"block_sizes .* 1 to 1000, got \(6, 0\)"),
        ({"growth": 0}, "growth must be >= 1, got 0"),
        ({"compression": 0.0}, r"compression must be in \(0, 1\], got 0.0"),
        ({"compression": 1.5}, r"compression must be in \(0, 1\], got 1.5"),
    ],
)
def test_a_bad_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.create("densenet121", 10, **options)


def test_mmpretrains_names():
    variables = _variables()
    changes = [
        (r"^features\.conv0", "backbone.stem.0"),
        (r"^features\.norm0", "backbone.stem.1"),
        (r"^features\.norm4\.", "backbone.transitions.2.0."),
        (r"^classifier", "head.fc"),
        *[
            (rf"^features\.transition{i + 1}\.", f"backbone.transitions.{i}.")
            for i in range(2)
        ],
        *[
            (
                rf"^features\.denseblock{i + 1}\.denselayer{j + 1}\.",
                f"backbone.stages.{i}.block.{j}.",
            )
            for i in range(3)
            for j in range(2)
        ],
    ]
    tensors = {}
    for name, tensor in weights.to_torch_names(_SMALL, variables, "timm").items():
        for old, new in changes:
            name = re.sub(old, new, name)
        tensors[name] = tensor
    assert all(name.startswith(("backbone.", "head.")) for name in tensors)
    assert weights.find_layout(tensors, _SMALL) == "mmpretrain"
    parallel = {f"module.{name}": tensor for name, tensor in tensors.items()}
    for named in (tensors, parallel):
        found = weights.from_torch_names(named, _SMALL)
        chex.assert_trees_all_equal(found, jax.tree.map(np.float32, variables))
