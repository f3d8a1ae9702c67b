"""What the README and docs/python.md show in Python runs as written."""

import re

from flax import linen as nn
from helpers.jobs import ROOT
from helpers.tiny_network import random_variables
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import jood
from jood import models
from jood import testing
from jood.methods import factories
from jood.methods import scores
from jood.methods import transforms
from jood.training import objectives

README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "python.md").read_text()


def _blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


BLOCKS = _blocks(PAGE)


class _Stage(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(8, (3, 3), (2, 2))(x))


class _Backbone(nn.Module):
    @nn.compact
    def __call__(self, x):
        return _Stage(name="stage4")(_Stage(name="stage3")(x))


class _MyModel(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = _Backbone(name="backbone")(x)
        return nn.Dense(3, name="classifier")(x.mean((1, 2)))


def test_first_example_scores_and_decides(capsys):
    names = {}
    exec(BLOCKS[0], names)
    printed = capsys.readouterr().out
    assert "BARELY WORKS HERE: " in printed
    assert "False" in printed or "True" in printed  # is_ood's answers
    detector, images = names["detector"], names["images"]
    assert detector.is_ood(images[1000:]).mean() <= 0.05  # its calibration images
    for batches in names["unknown"].values():  # the page's example works
        assert detector.is_ood(batches[0]).mean() > 0.4


def test_own_model_example_scores(capsys):
    model = _MyModel()
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), images)
    names = {"jood": jood, "my_model": model, "my_variables": variables}
    exec(BLOCKS[1], names)
    assert names["detector"](images).shape == (4,)


def test_the_front_page_scores_decides_and_compares(capsys):
    model = _MyModel()
    images = np.random.default_rng(0).normal(size=(64, 16, 16, 3)).astype(np.float32)
    names = {
        "jood": jood,
        "my_model": model,
        "my_variables": model.init(jax.random.key(0), images),
        "images": images,
        "train_batches": [(images, np.arange(64) % 3)],
        "held_out_batches": [(images + 1, np.arange(64) % 3)],
    }
    (block,) = _blocks(README)
    exec(block, names)
    assert names["scores"].shape == (64,)
    assert "knn(k=5)" in capsys.readouterr().out


def test_the_front_page_counts_methods_and_objectives():
    methods = len(scores.__all__) + len(transforms.__all__)
    trained = len(objectives.__all__)
    assert f"[{methods} methods](docs/methods.md)" in README
    assert f"[{trained} training objectives](docs/training.md)" in README


def test_the_front_page_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.slow
def test_weights_example_loads_and_goes_back(tmp_path, monkeypatch):
    model = models.create("resnet50", 1000)
    variables = random_variables(model)
    tensors = jood.weights.to_torch_names(model, variables, "torchvision")
    save_file(tensors, tmp_path / "resnet50.safetensors")
    monkeypatch.chdir(tmp_path)
    names = {"jood": jood}
    exec(BLOCKS[2], names)
    assert names["tensors"].keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(names["tensors"][name], tensor)


def test_features_example_scores():
    rng = np.random.default_rng(0)
    names = {
        "jood": jood,
        "penultimate": jnp.asarray(rng.random((16, 8)), jnp.float32),
        "kernel": jnp.asarray(rng.normal(size=(8, 3)), jnp.float32),
        "bias": jnp.zeros(3),
        "fmap": jnp.ones((16, 4, 4, 8)),
    }
    exec(BLOCKS[3], names)
    assert names["scores"].shape == (16,)


def test_selection_example_chooses():
    detector = jood.Detector("msp()", testing.ToyNet(), testing.toy_variables())
    names = {
        "jood": jood,
        "detector": detector,
        "train_batches": [testing.toy_images(32, seed=0)],
        "validation_batches": [testing.toy_images(32, seed=1)],
    }
    exec(BLOCKS[4], names)
    assert names["selected"].best.values["k"] in (0.1, 0.2, 0.4)


def test_a_method_of_ones_own_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(factories, "_REGISTERED", {})
    exec(BLOCKS[5], {"__name__": "my_module"})
    component = jood.parse("feature_power(p=1.5)")
    acts = jood.Activations.of(np.full((4, 9), -4, "f"), np.ones((9, 3), "f"))
    np.testing.assert_allclose(component.apply((), acts), 72, rtol=1e-6)


def test_every_block_is_run():
    assert len(BLOCKS) == 6
