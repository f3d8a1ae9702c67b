"""PyTorch networks that stay in PyTorch: the same scores as in JAX, or a refusal."""

import functools

from helpers import torch_oracle
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

import jood
from jood import models
from jood import testing
from jood import weights
from jood.core.backbones import torch_support

STAGES = {"C3": "one", "C4": "two", "C5": "three"}
IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)


@functools.cache
def network():
    torch = torch_oracle.torch_or_skip()

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, width in (("one", 3), ("two", 6), ("three", 6)):
                conv = torch.nn.Conv2d(width, 6, 3, padding=1)
                layers = conv, torch.nn.BatchNorm2d(6), torch.nn.ReLU()
                setattr(self, name, torch.nn.Sequential(*layers))
            self.fc = torch.nn.Linear(6, 5)

        def forward(self, x):
            return self.fc(self.three(self.two(self.one(x))).mean((2, 3)))

    return torch_oracle.perturbed(Net())


def backbone(**changes):
    return jood.torch_backbone(network(), **{"stages": STAGES, "head": "fc", **changes})


@functools.cache
def in_jax():
    """The same network as a JAX function, with the same weights."""
    state = {name: t.numpy() for name, t in network().state_dict().items()}

    def layer(name, x):
        kernel = state[f"{name}.0.weight"].transpose(2, 3, 1, 0)
        y = jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        parts = ("0.bias", "1.running_mean", "1.running_var", "1.weight", "1.bias")
        bias, mean, var, scale, shift = (
            state[f"{name}.{part}"][None, None, None] for part in parts
        )
        return jax.nn.relu((y + bias - mean) / jnp.sqrt(var + 1e-5) * scale + shift)

    def after(stage):
        def run(params, x):
            stages = {}
            for name, path in STAGES.items():
                if name > stage:
                    stages[name] = x = layer(path, x)
            return {"penultimate": x.mean((1, 2)), "stages": stages}

        return run

    head = (state["fc.weight"].T, state["fc.bias"])
    return jood.Backbone(after(""), head, {stage: after(stage) for stage in STAGES})


def assert_same(text):
    ours = jood.Detector(text, backbone()).fit([IMAGES])
    theirs = jood.Detector(text, in_jax()).fit([IMAGES])
    found, expected = ours.run(IMAGES), theirs.run(IMAGES)
    np.testing.assert_array_equal(found.prediction, expected.prediction)
    for name, scores in expected.scores.items():
        np.testing.assert_allclose(found.scores[name], scores, rtol=1e-4, atol=1e-4)


def test_scores_are_those_of_the_network_in_jax():
    assert_same(
        "bundle(a=energy(), b=ta(k=0.1)|feature_sim(), c=react(q=0.9)|energy(), "
        "d=ta(k=0.1, stage='C3')|ta(k=0.2)|energy())"
    )


def test_gradients_are_torchs():
    assert_same("bundle(a=odin(T=1.0, eps=0.1), b=ta(k=0.1)|odin(T=1.0, eps=0.1))")


def test_edits_out_of_order_are_made_in_the_networks_order():
    assert_same("bundle(a=ta(k=0.2)|ta(k=0.1, stage='C3')|energy(), b=energy())")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("energy()", 1),
        ("bundle(a=energy(), b=ta(k=0.1)|energy())", 2),
        ("bundle(a=energy(), b=ta(k=0.1, stage='C3')|ta(k=0.2)|energy())", 3),
    ],
)
def test_each_edit_costs_one_run(monkeypatch, text, count):
    runs = []
    plain = torch_support.TorchBackbone.run

    def counted(self, *arguments):
        runs.append(1)
        return plain(self, *arguments)

    monkeypatch.setattr(torch_support.TorchBackbone, "run", counted)
    detector = jood.Detector(text, backbone())
    detector(IMAGES)
    runs.clear()
    detector(IMAGES)
    assert len(runs) == count


def test_the_detector_is_a_function_too():
    detector = jood.Detector("energy", backbone())
    function, params = detector.function()
    found = jax.jit(function)(params, IMAGES).scores
    np.testing.assert_allclose(found, detector(IMAGES), rtol=1e-5)


def test_hooks_are_gone_and_weights_unchanged_after_a_run():
    module = network()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    jood.Detector("odin()", backbone())(IMAGES)
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
    assert all((t == before[name]).all() for name, t in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_it_is_saved_without_weights_and_not_exported(tmp_path):
    torch = torch_oracle.torch_or_skip()
    detector = jood.Detector("react(q=0.9)|energy()", backbone()).fit([IMAGES])
    detector.save(tmp_path / "detector")
    loaded = jood.Detector.load(tmp_path / "detector", backbone())
    np.testing.assert_array_equal(loaded(IMAGES), detector(IMAGES))
    with pytest.raises(ValueError, match=r"energy.*of kind PyTorch, which computes in"):
        detector.export(tmp_path / "detector.zip")
    with torch.no_grad():
        network().fc.bias += 1
    try:
        with pytest.raises(ValueError, match="other weights"):
            jood.Detector.load(tmp_path / "detector", backbone())
    finally:
        with torch.no_grad():
            network().fc.bias -= 1


# What is refused.


def test_a_module_in_training_mode_is_refused():
    module = network()
    given = backbone()
    module.two.train()
    try:
        with pytest.raises(ValueError, match=r"training mode \(two.*module\.eval\(\)"):
            backbone()
        module.train()
        with pytest.raises(ValueError, match="training mode"):
            jood.Detector("energy", given)(IMAGES)
    finally:
        module.eval()
    running = jood.Detector("energy", given)
    running(IMAGES)  # compiled: what follows is met as the network runs
    statistics = {k: t.clone() for k, t in module.state_dict().items()}
    module.train()
    try:
        with pytest.raises(ValueError, match=r"^Net is in training mode \(Net.*\.eval"):
            running(IMAGES)
    finally:
        module.eval()
    now = module.state_dict()
    assert all((now[name] == t).all() for name, t in statistics.items())


def test_a_module_that_was_trained_further_is_refused():
    torch = torch_oracle.torch_or_skip()
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5)).eval()
    given = jood.torch_backbone(module, head="1")
    detector = jood.Detector("energy", given)
    detector(IMAGES)
    with torch.no_grad():
        module[1].weight.mul_(2)
    with pytest.raises(ValueError, match=r"^the weights of Sequential were changed"):
        detector(IMAGES)
    with pytest.raises(ValueError, match="were changed or moved"):
        jood.Detector("energy", given)
    again = jood.Detector("energy", jood.torch_backbone(module, head="1"))
    logits = torch_oracle.logits(module, IMAGES)
    np.testing.assert_allclose(again(IMAGES), np.log(np.exp(logits).sum(-1)), rtol=1e-4)


def test_a_head_that_is_not_linear_is_refused():
    torch = torch_oracle.torch_or_skip()

    class Cosine(torch.nn.Linear):
        def forward(self, x):
            return super().forward(torch.nn.functional.normalize(x))

    module = torch.nn.Sequential(torch.nn.Flatten(), Cosine(192, 5)).eval()
    with pytest.raises(ValueError, match=r"head '1' \(Cosine\) is not linear: it"):
        jood.torch_backbone(module, head="1")
    sides = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU())
    with pytest.raises(ValueError, match=r"must be a Linear module.*got Sequential"):
        jood.torch_backbone(torch.nn.Sequential(sides).eval(), head="0")


def test_images_that_the_module_does_not_take_are_refused():
    with pytest.raises(ValueError, match=r"Net does not take images of .*\(8, 8, 5\)"):
        jood.Detector("energy", backbone())(np.ones((2, 8, 8, 5), np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stages": {"C4": "layer3"}},
            "Net has no submodule 'layer3' to be the stage 'C4'; it has: one, two, "
            "three, fc",
        ),
        ({"head": "classifier"}, "no submodule 'classifier' to be the head"),
        ({"head": "two.0"}, "must be a Linear module or a 1x1.*got Conv2d"),
        ({"head": "two.2"}, "must be a Linear module.*got ReLU"),
    ],
)
def test_names_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        backbone(**changes)


def test_what_is_no_module_or_on_no_device_is_refused():
    torch = torch_oracle.torch_or_skip()
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got ToyNet"):
        jood.torch_backbone(testing.ToyNet())
    meta = torch.nn.Linear(3, 2, device="meta").eval()
    with pytest.raises(ValueError, match=r"on one device, got meta.*module\.to"):
        jood.torch_backbone(meta, head="")
    layers = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2, device="meta")
    with pytest.raises(ValueError, match=r"on one device, got cpu, meta: call"):
        jood.torch_backbone(torch.nn.Sequential(*layers).eval(), head="1")
    with pytest.raises(TypeError, match=r"Linear is a PyTorch module.*torch_backbone"):
        jood.Detector("energy", torch.nn.Linear(3, 2))


def test_methods_that_it_cannot_serve_are_refused_by_name():
    plain = backbone(stages={})
    with pytest.raises(ValueError, match=r"ta\(k=0.2, stage='C4'\).*PyTorch.*none"):
        jood.Detector("ta(k=0.2)|energy()", plain)
    with pytest.raises(ValueError, match=r"blocks.*PyTorch network"):
        jood.Detector("feature_norm_selected(among='blocks')", plain)
    with pytest.raises(ValueError, match=r"name them in jood\.torch_backbone"):
        jood.Detector("energy", plain, stages={"C4": "two"})


def test_images_with_channels_first_are_refused():
    with pytest.raises(ValueError, match=r"looks like PyTorch's \[B, C, H, W\]"):
        jood.Detector("energy", backbone())(IMAGES.transpose(0, 3, 1, 2))


# The field's networks, with preprocessing of their libraries.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stages", "head", "size"),
    [
        ("resnet18", {"C4": "layer3", "C5": "layer4"}, "fc", 64),
        ("densenet121", {"C4": "features.transition3.norm"}, "classifier", 64),
        ("vit_b16", {}, "heads.head", 224),
    ],
)
def test_scores_are_those_of_the_converted_network(name, stages, head, size):
    library = torch_oracle.library("torchvision")
    theirs = {"vit_b16": "vit_b_16"}.get(name, name)
    module = library.models.get_model(theirs, num_classes=10).eval()
    model = models.create(name, 10)
    tensors = torch_oracle.tensors(module)
    variables = weights.from_torch_names(tensors, model, "torchvision")
    text = "bundle(a=energy(), b=max_logit(), c=msp())"
    if "C5" in stages:
        text = text.replace("c=msp()", "c=msp(), d=ta(k=0.1)|feature_sim()")
    images = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype("f")
    given = jood.torch_backbone(module, stages, head)
    found = jood.Detector(text, given)(images)
    expected = jood.Detector(text, model, variables)(images)
    for key, scores in expected.items():
        np.testing.assert_allclose(found[key], scores, rtol=1e-4, atol=1e-4)


def test_preprocessing_is_that_of_torchvisions_weights():
    library = torch_oracle.library("torchvision")
    transforms = library.models.ResNet50_Weights.IMAGENET1K_V2.transforms()
    found = jood.torch_preprocessing(transforms)
    assert found == jood.Preprocessing(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), resize=232, crop=224
    )
    with pytest.raises(TypeError, match=r"timm model or the transforms.*got int"):
        jood.torch_preprocessing(3)
    assert_fits_as(transforms, found)


def assert_fits_as(transforms, preprocessing):
    """The library's transforms of a photograph are the preprocessing's."""
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (250, 300, 3), dtype=np.uint8)
    expected = transforms(Image.fromarray(photo)).numpy().transpose(1, 2, 0)
    found = preprocessing(preprocessing.fit_image(photo)[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_preprocessing_is_that_of_timms_model():
    timm = torch_oracle.library("timm")
    model = timm.create_model("resnet18", num_classes=2)
    found = jood.torch_preprocessing(model)
    assert (found.resize, found.crop) == (235, 224)
    assert found.mean == (0.485, 0.456, 0.406)
    config = timm.data.resolve_model_data_config(model)
    assert_fits_as(timm.data.create_transform(**config), found)
    model.pretrained_cfg["crop_mode"] = "squash"  # as SigLIP's and others have it
    squashed = jood.torch_preprocessing(model)
    assert squashed.resize == (235, 235)
    config = timm.data.resolve_model_data_config(model)
    assert_fits_as(timm.data.create_transform(**config), squashed)
    model.pretrained_cfg["crop_mode"] = "border"
    with pytest.raises(ValueError, match=r"crop_mode='border'; expected a square"):
        jood.torch_preprocessing(model)
