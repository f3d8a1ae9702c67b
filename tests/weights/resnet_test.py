"""ResNets with PyTorch's weights: names of every code base, equal maps and logits."""

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
from jood.models import resnet
from jood.models import resnet_cifar

_SIZE = 64


def _random(model):
    """Variables with positive variances, of which no two are alike."""
    images = jax.ShapeDtypeStruct((1, _SIZE, _SIZE, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape), shapes)


def _calm(network):
    """Perturbs a PyTorch ResNet so that its logits are of a trained one's size."""
    torch = torch_oracle.torch_or_skip()
    torch_oracle.perturbed(network)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, generator=generator)
        elif type(module).__name__ == "FrozenBatchNorm2d":
            for buffer in module.buffers():
                buffer.uniform_(0.5, 1.5, generator=generator)
    for block in network.modules():
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if last is not None:
            last.weight.data.mul_(0.2)
    return network


def _last_map(model, variables, images):
    _, state = jax.jit(
        lambda v, x: model.apply(
            v,
            x,
            capture_intermediates=lambda module, _: module.name == "C5",
            mutable=["intermediates"],
        )
    )(variables, images)
    return state["intermediates"]["C5"]["__call__"][0]


# Logits and maps are those of torchvision and timm.


@pytest.mark.parametrize(
    ("name", "library", "theirs", "options", "size"),
    [
        ("resnet18", "torchvision", "resnet18", {}, 64),
        ("resnet50", "torchvision", "resnet50", {}, 64),
        # 75 px: maps of 19, 10, 5 and 3 pixels, so that pooling meets an odd side.
        ("resnet50d", "timm", "resnet50d", {}, 75),
        # mmsegmentation's ResNetV1c at stride 8.
        ("resnet50_d8", "timm", "resnet50c", {"output_stride": 8}, 64),
    ],
)
def test_logits_are_those_of_pytorch_and_weights_go_both_ways(
    name, library, theirs, options, size
):
    module = torch_oracle.library(library)
    create = module.create_model if library == "timm" else module.models.get_model
    network = _calm(create(theirs, num_classes=10, **options))
    model = models.create(name, 10)
    tensors = torch_oracle.tensors(network)
    variables = weights.from_torch_names(tensors, model, library)
    images = torch_oracle.images(size)
    expected = torch_oracle.logits(network, images)
    assert 0.3 < expected.std() < 10
    logits = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)

    torch = torch_oracle.torch_or_skip()
    back = weights.to_torch_names(model, variables, library)
    fresh = create(theirs, num_classes=10, **options).eval()
    # The counters of batches, which evaluation does not use, are all that is missing.
    fresh.load_state_dict({n: torch.from_numpy(t) for n, t in back.items()})
    np.testing.assert_array_equal(torch_oracle.logits(fresh, images), expected)


def _fcn(theirs):
    whole = theirs.segmentation.fcn_resnet50(
        weights=None, weights_backbone=None, aux_loss=True
    )
    return whole, lambda x: whole.backbone(x)["out"]


def _faster_rcnn(theirs):
    backbone = theirs.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18", weights=None
    )
    whole = theirs.detection.FasterRCNN(backbone, num_classes=2)
    return whole, lambda x: backbone.body(x)["3"]


@pytest.mark.parametrize(
    ("build", "name", "options"),
    [
        (_fcn, "resnet50_dilated", {}),
        (_faster_rcnn, "resnet18", {}),
    ],
)
def test_backbones_of_torchvisions_fcn_and_faster_rcnn(build, name, options):
    torch = torch_oracle.torch_or_skip()
    whole, backbone = build(torch_oracle.library("torchvision").models)
    tensors = torch_oracle.tensors(_calm(whole))
    model = models.create(name, 0, **options)
    variables = weights.from_torch_names(tensors, model)
    images = torch_oracle.images(_SIZE)
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    expected = expected.numpy().transpose(0, 2, 3, 1)  # [B, H, W, C]
    assert 0.3 < expected.std() < 30
    found = _last_map(model, variables, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_epsilon_is_added_to_every_variance():
    """COCO_V1's Faster R-CNN has 0, which is 1e-5 less than the others."""
    usual = resnet.ResNet((1, 1), 3, block="bottleneck", width=4)
    frozen = usual.clone(epsilon=0.0)
    variables = _random(usual)
    shifted = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 1e-5 * (path[-1].key == "var"),
        jax.tree.map(lambda leaf: np.float64(leaf) * 1e-3, variables["batch_stats"]),
    )
    small = jax.tree.map(lambda leaf: np.float64(leaf) * 1e-3, variables["batch_stats"])
    images = torch_oracle.images(_SIZE)

    def logits(model, stats):
        stats = jax.tree.map(np.float32, stats)
        given = {"params": variables["params"], "batch_stats": stats}
        return np.asarray(jax.jit(model.apply)(given, images))

    expected = logits(frozen, shifted)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        logits(usual, small) / scale, expected / scale, atol=1e-5
    )
    assert np.abs(logits(frozen, small) - expected).max() > 1e-3 * scale


# Names of code bases that are not installed, from those that were just checked.

_V1D = resnet.ResNet(
    (2, 1, 1, 1), 3, block="bottleneck", stem="deep", width=4, downsample="avgpool"
)
_V1C = _V1D.clone(downsample="conv")
_PLAIN = _V1C.clone(stem="imagenet")
_DILATED = _PLAIN.clone(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
_SMALL = resnet.ResNet((2, 1, 1, 1), 3, stem="cifar", width=4)

# conv1.0, conv1.1, conv1.3, ... are timm's deep stem; its last BatchNorm is bn1.
_MM_STEM = [(r"^bn1\.", "stem.7."), (r"^conv1\.", "stem.")]
_MMPRETRAIN_STEM = [
    (r"^bn1\.", "stem.2.bn."),
    (r"^conv1\.0\.", "stem.0.conv."),
    (r"^conv1\.1\.", "stem.0.bn."),
    (r"^conv1\.3\.", "stem.1.conv."),
    (r"^conv1\.4\.", "stem.1.bn."),
    (r"^conv1\.6\.", "stem.2.conv."),
]
_NO_POOLING_AT_STRIDE_1 = [
    (r"^(layer1\.0\.downsample)\.1\.", r"\1.0."),
    (r"^(layer1\.0\.downsample)\.2\.", r"\1.1."),
]
_BACKBONE = [(r"^(?!fc\.)", "backbone.")]
_TO_HEAD = [(r"^fc\.", "head.fc.")]
_SHORTCUT = [("downsample", "shortcut")]
_ENCODER = [(r"^(?!fc\.)", "encoder.")]


@pytest.mark.parametrize(
    ("layout", "model", "changes", "others"),
    [
        ("mmpretrain", _PLAIN, _BACKBONE + _TO_HEAD, ""),
        (
            "mmpretrain",
            _V1D,
            _MMPRETRAIN_STEM + _NO_POOLING_AT_STRIDE_1 + _BACKBONE + _TO_HEAD,
            "",
        ),
        ("mmsegmentation", _V1C, _MM_STEM + _BACKBONE, "decode_head auxiliary_head"),
        ("mmsegmentation", _V1D, _MM_STEM + _BACKBONE, "decode_head auxiliary_head"),
        ("mmdetection", _PLAIN, _BACKBONE, "neck rpn_head roi_head"),
        ("mmdetection", _V1D, _MM_STEM + _BACKBONE, "neck rpn_head roi_head"),
        ("torchvision_segmentation", _DILATED, _BACKBONE, "classifier aux_classifier"),
        (
            "torchvision_detection",
            _PLAIN,
            [*_BACKBONE, (r"backbone\.", "backbone.body.")],
            "backbone.fpn rpn roi_heads",
        ),
        ("openood", _SMALL, _SHORTCUT, ""),
        ("openood", _PLAIN, [], ""),
        ("kuangliu", _SMALL, [*_SHORTCUT, (r"^fc\.", "linear.")], ""),
        ("supcon", _SMALL, _SHORTCUT + _ENCODER, "head"),
        ("supcon", _SMALL, _SHORTCUT + _ENCODER, ""),  # with the classifier
        ("supcon_torchvision", _PLAIN, _ENCODER, "head"),
    ],
)
def test_layouts_of_other_code_bases(layout, model, changes, others):
    if others:  # a detection or segmentation model: no classifier of ours
        model = model.clone(num_classes=0)
    variables = _random(model)
    tensors = {}
    for name, tensor in weights.to_torch_names(model, variables, "timm").items():
        for old, new in changes:
            name = re.sub(old, new, name)
        tensors[name] = tensor
    renamed = dict(tensors)
    for head in others.split():
        tensors[f"{head}.0.conv.weight"] = np.zeros((3, 3), np.float32)
        tensors[f"{head}.0.bn.num_batches_tracked"] = np.array(7)
    as_float32 = jax.tree.map(np.float32, variables)
    parallel = {f"module.{name}": tensor for name, tensor in tensors.items()}
    for given in (layout, None):  # named, or found by the names
        for named in (parallel, tensors):
            found = weights.from_torch_names(named, model, given)
            chex.assert_trees_all_equal(found, as_float32)
    back = weights.to_torch_names(model, found, layout)
    assert back.keys() == renamed.keys()
    chex.assert_trees_all_equal(back, renamed)


@pytest.mark.slow
def test_fcn_s_decode_head_is_read_beside_its_backbone():
    model = _V1C.clone(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), decoder=5)
    variables = _random(model)
    tensors = weights.to_torch_names(model, variables, "mmsegmentation_fcn")
    wide = 4 * 4 * 8  # of the last stage
    assert {
        name: tensor.shape
        for name, tensor in tensors.items()
        if name.startswith("decode_head.") and name.endswith(".weight")
        if tensor.ndim == 4
    } == {
        "decode_head.convs.0.conv.weight": (5, wide, 3, 3),
        "decode_head.convs.1.conv.weight": (5, 5, 3, 3),
        "decode_head.conv_cat.conv.weight": (5, wide + 5, 3, 3),
        "decode_head.conv_seg.weight": (3, 5, 1, 1),
    }
    assert "decode_head.conv_cat.bn.running_var" in tensors
    assert "backbone.stem.0.weight" in tensors
    tensors["auxiliary_head.convs.0.conv.weight"] = np.zeros((3, 3), np.float32)
    as_float32 = jax.tree.map(np.float32, variables)
    for given in ("mmsegmentation_fcn", None):
        found = weights.from_torch_names(tensors, model, given)
        chex.assert_trees_all_equal(found, as_float32)
    backbone = weights.from_torch_names(tensors, model.clone(num_classes=0, decoder=0))
    assert "decoded" not in backbone["params"]
    with pytest.raises(ValueError, match="create the model 'fcn_r50_d8'"):
        weights.from_torch_names(tensors, _V1C, "mmsegmentation_fcn")


def test_segmentation_weights_are_not_taken_for_a_network_without_dilation():
    tensors = weights.to_torch_names(
        _DILATED, _random(_DILATED), "torchvision_segmentation"
    )
    tensors["classifier.4.weight"] = np.zeros((3, 3), np.float32)
    with pytest.raises(ValueError, match="'resnet50_dilated'"):
        weights.from_torch_names(tensors, _PLAIN, "torchvision_segmentation")
    with pytest.raises(ValueError, match=r"unexpected: .*classifier"):
        weights.from_torch_names(tensors, _PLAIN)


@pytest.mark.slow
@pytest.mark.parametrize("model", [_DILATED, _V1C, _V1D, _SMALL])
def test_every_layout_names_every_tensor_once(model):
    variables = _random(model)
    dilated = max(model.dilations, default=1) > 1
    for layout in weights.layouts(model):
        if layout == "torchvision_segmentation" and not dilated:
            continue  # refused; see above
        if layout == "mmsegmentation_fcn":
            continue  # of a model with a decode head
        names = weights.to_torch_names(model, variables, layout)
        assert len(names) == len(jax.tree.leaves(variables)), layout


def test_a_layout_of_another_code_base_lists_what_is_missing():
    tensors = weights.to_torch_names(_SMALL, _random(_SMALL), "torchvision")
    match = r"(?s)missing: .*shortcut.*unexpected: .*downsample"
    with pytest.raises(ValueError, match=match):
        weights.from_torch_names(tensors, _SMALL, "openood")


# The CIFAR networks of akamaster, with the weights that he published.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20-12fca82f", "resnet56-4bfd9763"])
def test_published_cifar_networks_give_pytorchs_logits_and_features(name, data_dir):
    model = models.create(name.split("-")[0], 10)
    variables = weights.load(data_dir / f"weights/akamaster_{name}.npz", model)
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    with np.load(data_dir / f"reference/akamaster_{name}.npz") as reference:
        images = ((reference["images"] / 255 - mean) / std).astype(np.float32)
        acts = jax.jit(lambda v, x: jood.observe(model, v, x))(variables, images)
        np.testing.assert_allclose(
            acts.penultimate, reference["penultimate"], rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(acts.logits, reference["logits"], rtol=0, atol=1e-4)


def test_cifar_weights_go_both_ways():
    model = resnet_cifar.CifarResNet(2, 3, width=4)
    variables = _random(model)
    tensors = weights.to_torch_names(model, variables, "akamaster")
    assert {"conv1.weight", "layer3.1.bn2.running_var", "linear.bias"} < tensors.keys()
    found = weights.from_torch_names(
        {f"module.{n}": t for n, t in tensors.items()}, model
    )
    chex.assert_trees_all_equal(found, jax.tree.map(np.float32, variables))
