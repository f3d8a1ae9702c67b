"""OpenOOD's checkpoints: every name and shape, as the code of its networks makes them.

The tables below follow openood/networks/resnet18_32x32.py, resnet18_224x224.py,
resnet50.py, vit_b_16.py, swin_t.py and regnet_y_16gf.py; the last four are
torchvision's classes.
"""

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from jood import models
from jood import weights
from jood.data import benchmarks
from jood.weights import conversion
from jood.weights import layout as layout_lib
from jood.weights import matching


def norm(name, width):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts}


def conv(name, width, of, size):
    return {f"{name}.weight": (width, of, size, size)}


def linear(name, width, of):
    return {f"{name}.weight": (width, of), f"{name}.bias": (width,)}


def resnet18(classes, stem, shortcut):
    """Basic blocks; what differs are the stem and the shortcut's name."""
    found = conv("conv1", 64, 3, stem) | norm("bn1", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            at = f"layer{stage}.{block}"
            found |= conv(f"{at}.conv1", width, before, 3) | norm(f"{at}.bn1", width)
            found |= conv(f"{at}.conv2", width, width, 3) | norm(f"{at}.bn2", width)
            if before != width:
                found |= conv(f"{at}.{shortcut}.0", width, before, 1)
                found |= norm(f"{at}.{shortcut}.1", width)
            before = width
    return found | linear("fc", classes, 512)


def resnet50(classes):
    found = conv("conv1", 64, 3, 7) | norm("bn1", 64)
    before = 64
    for stage, (depth, width) in enumerate(
        zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), 1
    ):
        for block in range(depth):
            at = f"layer{stage}.{block}"
            sizes = ((width, before, 1), (width, width, 3), (4 * width, width, 1))
            for i, size in enumerate(sizes, 1):
                found |= conv(f"{at}.conv{i}", *size) | norm(f"{at}.bn{i}", size[0])
            if block == 0:
                found |= conv(f"{at}.downsample.0", 4 * width, before, 1)
                found |= norm(f"{at}.downsample.1", 4 * width)
            before = 4 * width
    return found | linear("fc", classes, 2048)


def vit_b_16(classes):
    found = {
        "class_token": (1, 1, 768),
        "conv_proj.weight": (768, 3, 16, 16),
        "conv_proj.bias": (768,),
        "encoder.pos_embedding": (1, 197, 768),
    }
    for i in range(12):
        at = f"encoder.layers.encoder_layer_{i}"
        for part in (f"{at}.ln_1", f"{at}.ln_2"):
            found |= {f"{part}.weight": (768,), f"{part}.bias": (768,)}
        found |= {f"{at}.self_attention.in_proj_weight": (2304, 768)}
        found |= {f"{at}.self_attention.in_proj_bias": (2304,)}
        found |= linear(f"{at}.self_attention.out_proj", 768, 768)
        found |= linear(f"{at}.mlp.0", 3072, 768) | linear(f"{at}.mlp.3", 768, 3072)
    found |= {"encoder.ln.weight": (768,), "encoder.ln.bias": (768,)}
    return found | linear("heads.head", classes, 768)


def regnet_y_16gf(classes):
    found = conv("stem.0", 32, 3, 3) | norm("stem.1", 32)
    before = 32
    for stage, (depth, width) in enumerate(
        zip((2, 4, 11, 1), (224, 448, 1232, 3024), strict=True), 1
    ):
        for block in range(depth):
            at = f"trunk_output.block{stage}.block{stage}-{block}"
            gate = round(before / 4)
            for part, size in (
                ("a", (width, before, 1)),
                ("b", (width, 112, 3)),
                ("c", (width, width, 1)),
            ):
                found |= conv(f"{at}.f.{part}.0", *size)
                found |= norm(f"{at}.f.{part}.1", width)
            for name, size in (("fc1", (gate, width)), ("fc2", (width, gate))):
                found |= conv(f"{at}.f.se.{name}", *size, 1)
                found |= {f"{at}.f.se.{name}.bias": size[:1]}
            if block == 0:
                found |= conv(f"{at}.proj.0", width, before, 1)
                found |= norm(f"{at}.proj.1", width)
            before = width
    return found | linear("fc", classes, 3024)


def swin_t(classes):
    def norm(name, width):
        return {f"{name}.weight": (width,), f"{name}.bias": (width,)}

    found = conv("features.0.0", 96, 3, 4) | {"features.0.0.bias": (96,)}
    found |= norm("features.0.2", 96)
    stages = zip((2, 2, 6, 2), (96, 192, 384, 768), (3, 6, 12, 24), strict=True)
    for stage, (depth, width, heads) in enumerate(stages):
        if stage > 0:
            at = f"features.{2 * stage}"
            found |= norm(f"{at}.norm", 2 * width)
            found |= {f"{at}.reduction.weight": (width, 2 * width)}
        for block in range(depth):
            at = f"features.{2 * stage + 1}.{block}"
            found |= norm(f"{at}.norm1", width) | norm(f"{at}.norm2", width)
            found |= {f"{at}.attn.relative_position_bias_table": (169, heads)}
            found |= linear(f"{at}.attn.qkv", 3 * width, width)
            found |= linear(f"{at}.attn.proj", width, width)
            found |= linear(f"{at}.mlp.0", 4 * width, width)
            found |= linear(f"{at}.mlp.3", width, 4 * width)
    return found | norm("norm", 768) | linear("head", classes, 768)


NETWORKS = {
    "resnet18_cifar": (10, "openood", resnet18(10, 3, "shortcut")),
    "resnet18": (200, "openood", resnet18(200, 7, "downsample")),
    "resnet50": (1000, "torchvision", resnet50(1000)),
    "vit_b16": (1000, "torchvision", vit_b_16(1000)),
    "swin_t": (1000, "torchvision", swin_t(1000)),
    "regnet_y_16gf": (1000, "torchvision", regnet_y_16gf(1000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_those_of_openoods_code(name):
    classes, layout, theirs = NETWORKS[name]
    model = models.create(name, classes)
    shapes = matching.expected_shapes(model)
    known = weights.layouts(model)[layout]
    names = layout_lib.torch_names(known, model, shapes)
    ours = {names[n]: layout_lib.torch_shape(n, s) for n, s in shapes.items()}
    assert ours == theirs
    # The layout is found, and the number of classes read, from the tensors alone.
    tensors = {n: np.broadcast_to(np.float32(0), s) for n, s in theirs.items()}
    found = weights.find_layout(tensors, models.create(name, 1))
    assert weights.num_classes(tensors, models.create(name, 1), found) == classes


def test_a_checkpoint_of_the_small_resnet_18_becomes_a_network(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in NETWORKS["resnet18_cifar"][2].items()
    }
    counters = {n.replace("running_mean", "num_batches_tracked") for n in tensors}
    counters -= tensors.keys()
    path = tmp_path / "best.safetensors"
    extra = dict.fromkeys(counters, np.zeros((), np.int64))
    safetensors_numpy.save_file(tensors | extra, path)
    spec = benchmarks.describe("openood_cifar10")
    shown = spec.preprocessing["openood"]
    network = conversion.convert(
        path, "resnet18_cifar", shown, class_names=spec.class_names
    )
    assert (network.image_size, network.model.num_classes) == (32, 10)
    assert network.preprocessing == shown
    bias = network.variables["params"]["head"]["bias"]
    np.testing.assert_array_equal(bias, tensors["fc.bias"])
    kernel = network.variables["params"]["C4"]["block1"]["downsample_conv"]["kernel"]
    theirs = tensors["layer3.0.shortcut.0.weight"]
    np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 1, 0))


def test_swins_buffers_are_no_weights():
    """torchvision's class saves which row of the table each pair of patches reads."""
    tensors = {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in NETWORKS["swin_t"][2].items()
    }
    index = {
        name.replace("bias_table", "index"): np.zeros(49**2, np.int64)
        for name in tensors
        if name.endswith("relative_position_bias_table")
    }
    assert len(index) == 12
    variables = weights.from_torch_names(tensors | index, models.create("swin_t", 1000))
    table = variables["params"]["C4_block6"]["position_bias"]
    assert table.shape == (169, 12)
