"""Whatever a configuration says, the loop does or refuses: every field of it."""

import dataclasses

from flax import linen as nn
from helpers import tiny_network
from helpers import tiny_run
import jax
import numpy as np
import pytest

import jood
from jood import models
from jood.training import agreement
from jood.training import config as config_lib
from jood.training import loop
from jood.training import periodic
from jood.weights import checkpoint

# A constant rate without warm-up, so that every field shows in a few steps.
BASE = dataclasses.replace(
    tiny_run.CONFIG, batch_size=16, warmup_epochs=0.0, learning_rate=0.05, epochs=1
)
STEP = {"schedule": "step", "decay_epochs": (0.5,)}
# By field: what it is changed to, in a configuration of these other changes.
DONE = {
    "objective": ("lff(delta=0.5, mu=0.1, reference='current')", {}),
    "augment": (("flip",), {}),
    "jitter": ((0.1, 0.1, 0.1, 0.0), {"augment": ("jitter",)}),
    "jitter_probability": (0.5, {"augment": ("jitter",)}),
    "epochs": (2, {}),
    "batch_size": (32, {}),
    "accumulate": (2, {}),
    "optimizer": ("sgd", {}),
    "learning_rate": (0.1, {}),
    "schedule": ("cosine", {}),
    "warmup_epochs": (0.5, {}),
    "decay_epochs": ((0.25,), STEP),
    "decay_factor": (0.5, STEP),
    "momentum": (0.5, {}),
    "weight_decay": (0.1, {}),
    "clip_norm": (1e-3, {}),
    "seed": (1, {}),
}
REFUSED = {
    "benchmark": ("digits", "of the data 'digits_tiny'"),
    "images": ("photos", "of the data ''"),
    "validation": ("held", "validation is 'held'"),
    "image_size": (64, "of the data 32"),
    "model": ("densenet100_cifar", "a DenseNet, but .* a ResNet"),
    "hold_out": (5, "of the data 0"),
    "outliers": ("photos", "of the data ''"),
    "dtype": ("bfloat16", "of the model 'float32'"),
}
# In loop_test.py, outliers_test.py and below.
BEGUN = ("init_from", "new_head", "outlier_batch_size")


def test_every_field_is_walked_through():
    fields = {field.name for field in dataclasses.fields(config_lib.TrainConfig)}
    assert fields == {*DONE, *REFUSED, *BEGUN}


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_given_must_be_what_the_configuration_says(field, tmp_path):
    value, message = REFUSED[field]
    changes = {field: value}
    if field in ("images", "validation"):
        changes |= {"images": "photos", "benchmark": "folders"}
    if field == "outliers":
        changes |= {"objective": "outlier_exposure"}
    config = dataclasses.replace(BASE, **changes)
    with pytest.raises(ValueError, match=message) as error:
        loop.train(config, tiny_run.data(), tiny_run.MODEL, tmp_path / "run")
    assert f"{field} is" in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains with some changes; returns the parameters, once for equal ones."""
    known = {}

    def train(**changes):
        key = repr(sorted(changes.items()))
        if key not in known:
            known[key] = loop.train(
                dataclasses.replace(BASE, **changes),
                tiny_run.data(64),
                tiny_run.MODEL,
                tmp_path_factory.mktemp("run"),
                keeping=periodic.LoopOptions(validate_every=0),
            )["params"]
        return known[key]

    return train


@pytest.mark.slow
@pytest.mark.parametrize("field", DONE)
def test_what_a_field_says_changes_the_network(field, trained):
    value, others = DONE[field]
    before, after = trained(**others), trained(**{**others, field: value})
    same = jax.tree.map(np.array_equal, before, after)
    assert not all(jax.tree.leaves(same)), f"{field} is not read"


class Own(nn.Module):
    """A network that jood does not know."""

    num_classes: int = 8


@pytest.mark.slow
def test_a_network_of_ones_own_needs_a_name_of_its_own():
    agreement.check(dataclasses.replace(BASE, model="own"), tiny_run.data(), Own())
    with pytest.raises(ValueError, match="a name that no model of jood has"):
        agreement.check(BASE, tiny_run.data(), Own())
    named = dataclasses.replace(BASE, model="resnet_smal")
    with pytest.raises(ValueError, match="no model of jood is called"):
        agreement.check(named, tiny_run.data(), tiny_run.MODEL)
    with pytest.raises(ValueError, match="2 classes, the data 8"):
        agreement.check(BASE, tiny_run.data(), models.create("resnet_small", 2))


def test_larger_images_are_for_a_crop_and_nothing_else():
    data = tiny_run.data()
    large = np.zeros((16, 40, 40, 3), np.uint8)
    larger = dataclasses.replace(data, train=dataclasses.replace(
        data.train, images=large, labels=data.train.labels[:16]
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"neither .32, 32, 3. nor larger"):
        agreement.check(BASE, larger, tiny_run.MODEL)
    for crop in ("crop", "resized_crop"):
        config = dataclasses.replace(BASE, augment=("flip", crop))
        agreement.check(config, larger, tiny_run.MODEL)


def test_a_network_is_trained_on_with_its_own_normalisation(tmp_path):
    model = tiny_run.MODEL
    checkpoint.save(
        tmp_path / "saved",
        checkpoint.TrainedNetwork(
            model=model,
            variables=tiny_network.random_variables(model),
            name="resnet_small",
            class_names=None,
            preprocessing=jood.Preprocessing((0.4,) * 3, (0.2,) * 3),
            image_size=32,
            source={},
        ),
    )
    config = dataclasses.replace(BASE, init_from=str(tmp_path / "saved"))
    with pytest.raises(ValueError, match=r"mean \(0.4, 0.4, 0.4\).*its own"):
        loop.train(config, tiny_run.data(), model, tmp_path / "run")


def test_the_fields_of_a_changed_model_are_recorded():
    data = tiny_run.data()
    usual = models.create("resnet_small", 8)
    assert agreement.architecture(BASE, data, usual) is None
    found = agreement.architecture(BASE, data, tiny_run.MODEL)
    assert models.build(found) == tiny_run.MODEL
    own = dataclasses.replace(BASE, model="own")
    assert agreement.architecture(own, data, Own()) is None
