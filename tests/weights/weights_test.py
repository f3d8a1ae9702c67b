"""Weights of a model: what fits is taken whole, what does not is listed whole."""

import functools

from flax import linen as nn
from flax import traverse_util
from helpers.tiny_network import MODEL
from helpers.tiny_network import VARIABLES
from helpers.torch_oracle import torch_or_skip
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jood
from jood import models
from jood import weights
from jood.models import check
from jood.weights import checkpoint
from jood.weights import conversion
from jood.weights import layout as layout_lib
from jood.weights import matching
from jood.weights import reading


def tensors(**changes):
    """MODEL's tensors by torchvision's names, some changed, those of None left out."""
    found = weights.to_torch_names(MODEL, VARIABLES, "torchvision")
    found |= {name.replace("__", "."): array for name, array in changes.items()}
    return {name: array for name, array in found.items() if array is not None}


def message(given, model=MODEL, layout=None):
    with pytest.raises(ValueError, match="does not fit this ResNet") as error:
        weights.from_torch_names(given, model, layout)
    return str(error.value)


# Code bases that know a family, but not this network of it.
NOT_FOR = {("densenet121", "dice"), ("densenet121", "openood")}


def for_this(model, layout):
    """Whether a layout is for such a network: some are for segmentation alone."""
    if getattr(model, "decoder", 0) or layout == "mmsegmentation_fcn":
        return layout == "mmsegmentation_fcn" and model.decoder > 0
    dilated = max(getattr(model, "dilations", ()), default=1) > 1
    return dilated or layout != "torchvision_segmentation"


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_layout_of_every_model_names_each_variable_once(name):
    """`torch_names` raises otherwise. Nothing is computed, so all models are tried."""
    model = models.create(name, 7)
    shapes = matching.expected_shapes(model)
    for base, layout in weights.layouts(model).items():
        if (name, base) in NOT_FOR or not for_this(model, base):
            continue
        names = layout_lib.torch_names(layout, model, shapes)
        assert len(set(names.values())) == len(shapes)
        (kernel,) = [n for n in shapes if n.startswith("params/head/k")]
        shape = layout_lib.torch_shape(kernel, shapes[kernel], layout.convention)
        given = {names[kernel]: np.zeros(shape)}
        assert matching.head_size(given, model, layout) == 7


def test_weights_go_there_and_back_exactly():
    for layout in weights.layouts(MODEL):
        if layout in ("torchvision_segmentation", "mmsegmentation_fcn"):
            continue  # only of dilated networks
        given = weights.to_torch_names(MODEL, VARIABLES, layout)
        found = weights.from_torch_names(given, MODEL, layout)
        jax.tree.map(np.testing.assert_array_equal, found, VARIABLES)
        back = weights.to_torch_names(MODEL, found, layout)
        assert back.keys() == given.keys()
        for name in given:
            np.testing.assert_array_equal(back[name], given[name])


def test_axes_are_moved_to_pytorchs_order():
    kernel = VARIABLES["params"]["conv1"]["kernel"]  # [3, 3, in, out]
    assert tensors()["conv1.weight"].shape == (4, 3, 3, 3)
    assert tensors()["conv1.weight"][3, 1, 0, 2] == kernel[0, 2, 1, 3]
    head = VARIABLES["params"]["head"]["kernel"]  # [in, out]
    assert tensors()["fc.weight"][2, 5] == head[5, 2]


def test_variables_are_contiguous_float32_and_no_view_of_what_was_given():
    given = {n: np.asarray(t, np.float64) for n, t in tensors().items()}
    given["fc.bias"] = np.float32(given["fc.bias"])
    found = weights.from_torch_names(given, MODEL)
    for leaf in jax.tree.leaves(found):
        assert leaf.dtype == np.float32
        assert leaf.flags.c_contiguous
        assert leaf.flags.writeable
    given["fc.bias"][:] = 7
    np.testing.assert_array_equal(
        found["params"]["head"]["bias"], VARIABLES["params"]["head"]["bias"]
    )


def test_a_state_dict_of_pytorch_is_taken_as_it_is():
    torch = torch_or_skip()
    given = {f"module.{n}": torch.from_numpy(t) for n, t in tensors().items()}
    given["module.bn1.num_batches_tracked"] = torch.tensor(7)
    given["module.fc.weight"] = torch.nn.Parameter(given["module.fc.weight"])
    found = weights.from_torch_names(given, MODEL)
    jax.tree.map(np.testing.assert_array_equal, found, VARIABLES)


def test_all_differences_are_in_one_message():
    given = tensors(
        conv1__weight=None,
        layer1__0__bn1__bias=np.zeros(5, np.float32),
        stranger=np.zeros((2, 2), np.float32),
        bn1__bias=np.zeros(4, np.int8),
        bn1__weight=np.array([1, np.nan, 1, 1], np.float32),
    )
    lines = message(given).splitlines()
    assert lines[0] == (
        "the given tensors (layout 'torchvision', the nearest of "
        f"{', '.join(weights.layouts(MODEL))}) does not fit this ResNet:"
    )
    assert lines[1:] == [
        "  missing: conv1.weight",
        "  unexpected: stranger",
        "  of another shape: layer1.0.bn1.bias (model (4,), file (5,))",
        "  of no floating-point type: bn1.bias (int8)",
        "  with values that are not finite: bn1.weight",
    ]


def test_long_lists_are_shortened():
    given = {f"other.{i}": np.zeros(2, np.float32) for i in range(9)}
    text = message(given)
    assert "missing: bn1.bias, bn1.running_mean" in text
    assert (
        "unexpected: other.0, other.1, other.2, other.3, other.4, other.5 and 3 mo"
        in text
    )


@pytest.mark.parametrize("number", [10, 1])
def test_another_number_of_classes_says_so(number):
    given = tensors(
        fc__weight=np.zeros((number, 8), np.float32),
        fc__bias=np.zeros(number, np.float32),
    )
    text = message(given)
    assert f"fc.weight (model (3, 8), file ({number}, 8))" in text
    assert f"num_classes={number} in the file, 3 in the model" in text
    assert weights.num_classes(given, MODEL, "torchvision") == number
    assert "Only the classifier" not in message(given | {"more": np.zeros(2)})


def test_a_file_without_classifier_says_so():
    given = tensors(fc__weight=None, fc__bias=None)
    assert "a ResNet, ViT or Swin of num_classes=0 has none either" in message(given)
    assert weights.num_classes(given, MODEL, "torchvision") == 0


def test_a_backbone_leaves_the_classifier_of_the_file():
    backbone = MODEL.clone(num_classes=0)
    found = weights.from_torch_names(tensors(), backbone)
    expected = {
        "params": {k: v for k, v in VARIABLES["params"].items() if k != "head"},
        "batch_stats": VARIABLES["batch_stats"],
    }
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert "unexpected: fcn" in message(tensors(fcn=np.zeros(2)), backbone)


def test_the_layout_with_most_names_is_found_and_the_first_of_equals():
    for layout in ("mmpretrain", "kuangliu", "torchvision"):
        given = weights.to_torch_names(MODEL, VARIABLES, layout)
        assert weights.find_layout(given, MODEL) == layout
        assert weights.find_layout(given, MODEL.clone(num_classes=99)) == layout
    decoder = {"backbone." + n: t for n, t in tensors().items() if "fc" not in n}
    decoder["neck.conv.weight"] = np.zeros((2, 2))
    assert weights.find_layout(decoder, MODEL) == "mmdetection"


def test_layouts_without_such_a_network_are_passed_over():
    shapes = matching.expected_shapes(MODEL)
    known = weights.layouts(MODEL)
    nothing = weights.Layout(lambda model: [("conv1", "conv1")])
    found = matching.choose(tensors(), MODEL, shapes, {"nothing": nothing, **known})
    assert found == "torchvision"
    with pytest.raises(ValueError, match="does not list"):
        matching.choose(tensors(), MODEL, shapes, {"nothing": nothing})


def test_a_named_layout_is_taken_at_its_word():
    kuangliu = weights.to_torch_names(MODEL, VARIABLES, "kuangliu")
    text = message(kuangliu, layout="torchvision")
    assert text.startswith("the given tensors (layout 'torchvision') does")
    assert "fc.bias" in text
    assert "linear.bias" in text
    with pytest.raises(
        ValueError, match=r"unknown layout of a ResNet 'torchvison'; near: t"
    ):
        weights.from_torch_names(tensors(), MODEL, "torchvison")
    with pytest.raises(ValueError, match="near: timm"):
        weights.to_torch_names(MODEL, VARIABLES, "tim")


class ResNet(nn.Module):
    """A user's own model, named like one of ours."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_classes, name="top")(x.mean(axis=(1, 2)))


def test_a_model_of_another_library_brings_its_own_layout():
    with pytest.raises(ValueError, match=r"a ResNet of .*weights_test\. .*Layout"):
        weights.layouts(ResNet())
    layout = weights.Layout(lambda model: [("top", "classifier")], ("aux.",))
    given = {
        "classifier.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "classifier.bias": np.ones(2, np.float32),
        "aux.weight": np.ones(9, np.float32),
    }
    found = weights.from_torch_names(given, ResNet(), layout)
    np.testing.assert_array_equal(
        found["params"]["top"]["kernel"], given["classifier.weight"].T
    )
    logits = ResNet().apply(found, jnp.ones((1, 2, 2, 3)))
    np.testing.assert_array_equal(logits, [[4, 13]])
    back = weights.to_torch_names(ResNet(), found, layout)
    assert back.keys() == {"classifier.weight", "classifier.bias"}


def test_a_layout_that_is_not_complete_or_not_unique_is_refused():
    nothing = weights.Layout(lambda model: [("bottom", "classifier")])
    with pytest.raises(ValueError, match=r"does not list 2 .*: top/\w+, top/\w+\."):
        weights.from_torch_names({}, ResNet(), nothing)
    once = weights.Layout(lambda model: [("top/bias", "it"), ("top/kernel", "it")])
    with pytest.raises(ValueError, match=r"one name to several variables: \['it'\]"):
        weights.from_torch_names({}, ResNet(), once)


def test_load_reads_a_file_and_names_it(tmp_path):
    np.savez(tmp_path / "net.npz", **tensors())
    found = weights.load(tmp_path / "net.npz", MODEL)
    jax.tree.map(np.testing.assert_array_equal, found, VARIABLES)
    with pytest.raises(ValueError, match=r"net\.npz \(layout 'timm'\) does not fit"):
        weights.load(tmp_path / "net.npz", MODEL.clone(stage_sizes=(1, 2)), "timm")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "layout", "head"),
    [
        ("resnet20", "akamaster_resnet20-12fca82f", "akamaster", "module.linear"),
        ("resnet56", "akamaster_resnet56-4bfd9763", "akamaster", "module.linear"),
        ("densenet100_cifar", "dice_densenet100_cifar100", "dice", "fc"),
    ],
)
def test_published_networks_are_found_in_their_layout(
    data_dir, name, file, layout, head
):
    path = data_dir / "weights" / f"{file}.npz"
    tensors = reading.read(path)
    model = models.create(name, tensors[f"{head.removeprefix('module.')}.bias"].size)
    assert weights.find_layout(tensors, model) == layout
    found = traverse_util.flatten_dict(weights.load(path, model), sep="/")
    assert {n: a.shape for n, a in found.items()} == matching.expected_shapes(model)
    with np.load(path) as stored:
        np.testing.assert_array_equal(
            found["params/head/kernel"], stored[f"{head}.weight"].T
        )


def gray(model):
    """Random variables of a model for images of one channel, and their tensors."""
    shapes = matching.expected_shapes(model, channels=1)
    flat = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
    variables = traverse_util.unflatten_dict(flat, sep="/")
    base = next(iter(weights.layouts(model)))
    return variables, weights.to_torch_names(model, variables, base)


def test_a_network_of_gray_images_is_converted_saved_and_opened(tmp_path):
    variables, theirs = gray(MODEL)
    assert theirs["conv1.weight"].shape == (4, 1, 3, 3)
    found = weights.from_torch_names(theirs, MODEL)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    networks = checkpoint.TrainedNetwork(
        MODEL, found, "resnet_small", None, jood.Preprocessing((0.5,), (0.2,)), 16, {}
    )
    assert networks.image_shape == (16, 16, 1)
    checkpoint.save(tmp_path / "saved", networks)
    opened = checkpoint.open(tmp_path / "saved")
    assert opened.image_shape == (16, 16, 1)
    loaded = weights.load(tmp_path / "saved", MODEL)
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)


@pytest.mark.slow
def test_mean_and_std_are_one_number_per_channel_of_the_network(tmp_path):
    model = models.create("resnet_small", 3)
    save_file(gray(model)[1], tmp_path / "gray.safetensors")
    arguments = tmp_path / "gray.safetensors", "resnet_small"
    with pytest.raises(ValueError, match=r"1 channel.s., but .* for 3: .*--mean=.5"):
        conversion.convert(
            *arguments, jood.Preprocessing((0.5,) * 3, (0.5,) * 3), image_size=16
        )
    made = conversion.convert(
        *arguments, jood.Preprocessing((0.5,), (0.5,)), image_size=16
    )
    assert made.variables["params"]["conv1"]["kernel"].shape[2] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "mobilenet_v2", "vit_b16"])
def test_every_family_tells_its_channels(name):
    model = models.create(name, 3)
    shapes = {n: matching.expected_shapes(model, n) for n in (1, 3, 4)}
    size = matching.image_size(model)
    for channels, found in shapes.items():
        assert check.image_channels(model, found, size, shapes[3]) == channels


class Tiny(nn.Module):
    """A model from outside: one stage and the head."""

    num_classes: int
    width: int = 4
    dtype: str = "float32"

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.relu(nn.Conv(self.width, (3, 3), (4, 4), name="C5")(images))
        return nn.Dense(self.num_classes, name="head")(x.mean((1, 2)))


def test_a_family_from_outside_is_created_described_converted_and_saved(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(models, "_FAMILIES", dict(models._FAMILIES))
    monkeypatch.setattr(weights, "_LAYOUTS", dict(weights._LAYOUTS))
    ours = (("C5", "features.0"), ("head", "fc"))
    family = models.Family(
        Tiny, {"tiny": Tiny, "tiny_8": functools.partial(Tiny, width=8)}
    )
    weights.register(family, {"mine": weights.Layout(lambda model: ours)})
    with pytest.raises(ValueError, match="a model family 'Tiny' already"):
        models.register(family)
    other = models.Family(nn.Dense, {"resnet18": nn.Dense})
    with pytest.raises(ValueError, match="a model 'resnet18' already"):
        models.register(other)
    assert models.names()[-2:] == ("tiny", "tiny_8")
    model = models.create("tiny_8", 3)
    assert models.build(models.describe(model)) == model
    with pytest.raises(ValueError, match="integer >= 1"):
        models.create("tiny", 0)
    variables = jax.device_get(model.init(jax.random.key(0), jnp.ones((1, 8, 8, 3))))
    half = jood.Preprocessing((0.5,) * 3, (0.5,) * 3)
    network = checkpoint.TrainedNetwork(model, variables, "tiny_8", None, half, 8, {})
    assert conversion.export(network, tmp_path / "a.safetensors") == "mine"
    again = conversion.convert(
        tmp_path / "a.safetensors", "tiny_8", network.preprocessing, image_size=8
    )
    checkpoint.save(tmp_path / "saved", again)
    jax.tree.map(
        np.testing.assert_array_equal,
        dict(checkpoint.open(tmp_path / "saved").variables),
        dict(variables),
    )
    without = models.Family(nn.Conv, {"without": nn.Conv})
    models.register(without)
    with pytest.raises(ValueError, match="no layout is known for a Conv"):
        weights.layouts(nn.Conv(3, (1, 1)))
