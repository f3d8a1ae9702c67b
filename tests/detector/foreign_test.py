"""Networks whose owner keeps the weights: what is saved, and what is checked."""

import json

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

import jood
from jood import testing
from jood.detector import foreign
from jood.detector import saved_checks
from jood.detector.saving import ARRAYS_NAME
from jood.detector.saving import JSON_NAME
from jood.testing import toy_kinds

IMAGES, LABELS = testing.toy_images(40, seed=0)
FOREIGN = ["flax.nnx", "function"]


def network(kind):
    return toy_kinds.network(kind)[0]


def other(kind):
    """The same network with another weight."""
    model = network(kind)
    if kind == "function":
        kernel, bias = model.head
        return jood.Backbone(model.features, (kernel, bias + 1), model.rest)
    graph, state = nnx.split(model)
    copied = nnx.merge(graph, state, copy=True)
    copied.head.bias[...] = jnp.ones(testing.CLASSES)
    return copied


def saved(kind, folder):
    head = {"ood_head": testing.toy_variables()["ood_head"]}
    detector = jood.Detector("react(q=0.9)|joint_posterior()", network(kind), head)
    detector = detector.fit([IMAGES]).calibrate([IMAGES], tpr=0.9)
    detector.save(folder)
    return detector


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_joods_is_saved_and_the_network_is_given(kind, tmp_path):
    detector = saved(kind, tmp_path / "detector")
    arrays = safetensors_numpy.load((tmp_path / "detector" / ARRAYS_NAME).read_bytes())
    names = {name for name in arrays if name.startswith("variables/")}
    assert names == {"variables/ood_head/kernel", "variables/ood_head/bias"}
    loaded = jood.Detector.load(tmp_path / "detector", network(kind))
    np.testing.assert_array_equal(loaded(IMAGES), detector(IMAGES))
    np.testing.assert_array_equal(loaded.p_values(IMAGES), detector.p_values(IMAGES))
    with pytest.raises(ValueError, match=rf"does not hold.*{kind}.*model="):
        jood.Detector.load(tmp_path / "detector")


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_weights_and_other_kinds_are_refused(kind, tmp_path):
    saved(kind, tmp_path / "detector")
    with pytest.raises(ValueError, match="other weights than those of the given"):
        jood.Detector.load(tmp_path / "detector", other(kind))
    (another,) = {*FOREIGN} - {kind}
    with pytest.raises(ValueError, match=rf"of kind {kind}; the given .*{another}"):
        jood.Detector.load(tmp_path / "detector", network(another))
    with pytest.raises(ValueError, match=rf"of kind {kind}; the given ToyNet"):
        jood.Detector.load(tmp_path / "detector", testing.ToyNet())


def test_the_fingerprint_is_that_of_a_process_that_ends(tmp_path):
    """It depends on names and values alone, not on objects or on the device."""
    saved("flax.nnx", tmp_path / "one")
    found = json.loads((tmp_path / "one" / JSON_NAME).read_text())
    variables = jood.Detector("energy", network("flax.nnx")).variables
    host = jax.tree.map(np.asarray, dict(variables))
    assert found["network"]["weights"] == foreign.fingerprint(network("flax.nnx"), host)


def test_a_folder_that_names_a_kind_wrongly_is_refused(tmp_path):
    saved("function", tmp_path / "detector")
    content = json.loads((tmp_path / "detector" / JSON_NAME).read_text())
    content["network"] = "function"
    with pytest.raises(ValueError, match="network must be an object with the texts"):
        saved_checks.check_description(content, "here")
