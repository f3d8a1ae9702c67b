"""A function as a network: `jood.Backbone`, by hand, of Equinox and of Keras."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core.backbones.observing import observe
from jood.methods.transforms import ta

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 8, 8, 3)).astype(np.float32)
PARAMS = {
    name: RNG.normal(0, 0.3, (3, 3, ins, 6)).astype(np.float32)
    for name, ins in (("C3", 3), ("C4", 6), ("C5", 6))
}
HEAD = (RNG.normal(size=(6, 5)).astype(np.float32), np.ones(5, np.float32))


def conv(kernel, x):
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=layout
    )
    return jax.nn.relu(y)


def run(params, x, names):
    stages = {}
    for name in names:
        stages[name] = x = conv(params[name], x)
    return {"penultimate": x.mean(axis=(1, 2)), "stages": stages}


def features(params, images):
    return run(params, images, PARAMS)


REST = {
    "C3": lambda params, x: run(params, x, ("C4", "C5")),
    "C4": lambda params, x: run(params, x, ("C5",)),
    "C5": lambda params, x: x.mean(axis=(1, 2)),  # the features alone will do
}
BACKBONE = jood.Backbone(features, HEAD, REST, PARAMS)


def observed(*parts, backbone=BACKBONE):
    variables = jood.Detector("energy", backbone).variables
    edits = tuple(path for part in parts for path in part.edits)
    return jax.jit(lambda v, x: observe(backbone, v, x, edits=edits))(variables, IMAGES)


def test_the_record_is_what_the_function_gives():
    acts = observed()
    expected = features(PARAMS, jnp.asarray(IMAGES))
    np.testing.assert_allclose(acts.penultimate, expected["penultimate"], rtol=1e-5)
    chex.assert_trees_all_close(acts.stages, expected["stages"], rtol=1e-4)
    logits = expected["penultimate"] @ HEAD[0] + HEAD[1][None]
    np.testing.assert_allclose(acts.logits, logits, rtol=1e-4, atol=1e-5)


def test_an_edit_goes_on_from_its_map():
    part = ta(k=0.2)
    acts = observed(part)
    edited = acts.edit(part.spec)
    cut = jnp.maximum(acts.stages["C4"] - 0.2, 0)
    np.testing.assert_allclose(edited.stages["C4"], cut, atol=1e-6)
    after = REST["C4"](PARAMS, cut)
    np.testing.assert_allclose(edited.penultimate, after["penultimate"], rtol=1e-4)
    np.testing.assert_array_equal(edited.stages["C3"], acts.stages["C3"])
    assert not np.allclose(edited.stages["C5"], acts.stages["C5"], rtol=1e-2)


def test_edits_of_two_stages_are_both_made_in_the_networks_order():
    first, second = ta(k=0.1, stage="C3"), ta(k=0.2, stage="C5")
    both = jood.chain(first, second)
    once = observed(both).edit(first.spec)
    twice = once.edit(second.spec)
    cut = jnp.maximum(once.stages["C5"] - 0.2, 0)
    np.testing.assert_allclose(twice.stages["C5"], cut, atol=1e-6)
    np.testing.assert_allclose(twice.penultimate, cut.mean((1, 2)), atol=1e-6)
    np.testing.assert_array_equal(twice.stages["C3"], once.stages["C3"])


def test_maps_that_the_rest_does_not_give_are_not_the_plain_runs():
    part = ta(k=0.2, stage="C4")
    short = jood.Backbone(features, HEAD, {"C4": REST["C5"]}, PARAMS)
    edited = observed(part, backbone=short).edit(part.spec)
    assert set(edited.stages) == {"C3", "C4"}


def test_without_a_head_maps_and_features_can_be_scored():
    headless = jood.Backbone(features, None, params=PARAMS)
    assert jood.Detector("feature_sim()", headless)(IMAGES).shape == (4,)
    with pytest.raises(ValueError, match="reads the classifier"):
        jood.Detector("energy", headless)


def test_an_added_head_can_be_given_beside_the_function():
    head = {"kernel": np.ones((6, 1), np.float32), "bias": np.zeros(1, np.float32)}
    scored = jood.Detector("ood_factor()", BACKBONE, {"ood_head": head})
    assert scored(IMAGES).shape == (4,)
    with pytest.raises(ValueError, match=r"holds its own params.*got batch_stats"):
        jood.Detector("energy", BACKBONE, {"batch_stats": {}})


# What is refused, before anything runs where that can be known.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(3), HEAD), TypeError, "features must be a function.*got ndarray"),
        (
            (features, HEAD, {"C4": None}),
            TypeError,
            r"rest\['C4'\] must be a function.*NoneType",
        ),
        ((features, HEAD[0]), ValueError, "head must be a pair.*got ndarray"),
        (
            (features, (PARAMS["C3"], None)),
            ValueError,
            r"kernel must be floating \[D, K\], got \(3, 3, 3, 6\)",
        ),
        (
            (features, (HEAD[0].T, HEAD[1])),
            ValueError,
            r"bias must be \[K\] = \(6,\).*got \(5,\)\. Transpose the kernel",
        ),
        (
            (features, HEAD, {}, {"w": np.ones(3), "act": jax.nn.relu}),
            TypeError,
            r"got a (function|jit|custom_jvp|PjitFunction).* at params\['act'\].*eqx",
        ),
    ],
)
def test_a_backbone_checks_its_parts(arguments, error, message):
    with pytest.raises(error, match=message):
        jood.Backbone(*arguments)


def test_a_method_that_the_function_cannot_serve_is_refused_by_name():
    plain = jood.Backbone(features, HEAD, params=PARAMS)
    match = r"ta\(k=0.2, stage='C4'\) rewrites.*\(a function\).*it has: none"
    with pytest.raises(ValueError, match=match):
        jood.Detector("ta(k=0.2)|energy()", plain)
    with pytest.raises(ValueError, match=r"blocks.*\(a function\) has none"):
        jood.Detector("feature_norm_selected(among='blocks')", BACKBONE)
    with pytest.raises(ValueError, match="leave stages and head out"):
        jood.Detector("energy", BACKBONE, stages={"C4": "layer3"})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: x.mean(axis=(1, 2)), r'features must return {"penultimate"'),
        (lambda x: {"stages": {}}, r"got \['stages'\]"),
        (lambda x: {"penultimate": x}, r"must be \[B, D\], got shape.*jax.vmap"),
    ],
)
def test_what_a_function_returns_is_checked(returned, message):
    wrong = jood.Backbone(lambda _, x: returned(x), HEAD)
    with pytest.raises(ValueError, match=message):
        jood.Detector("energy", wrong)(IMAGES)


def test_a_stage_that_the_function_does_not_return_is_told():
    named = jood.Backbone(features, HEAD, {"C2": REST["C3"]}, PARAMS)
    with pytest.raises(ValueError, match=r"'C2', which features does not.*C3, C4, C5"):
        jood.Detector("ta(k=0.1, stage='C2')|energy()", named)(IMAGES)


# What it costs.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("energy()", 3),
        ("bundle(a=energy(), b=ta(k=0.1)|feature_sim())", 3 + 1),
        (
            "bundle(a=msp(), b=ta(k=0.1, stage='C3')|msp(), c=ta(k=0.2)|msp())",
            3 + 2 + 1,
        ),
    ],
)
def test_each_distinct_edit_costs_the_layers_after_it(text, count):
    asked = jood.Detector(text, BACKBONE)

    def score(variables, images):
        acts = asked.backbone.asked_by(asked.component, variables, images)
        return asked.component.apply((), acts)

    compiled = jax.jit(score).lower(asked.variables, IMAGES).compile().as_text()
    assert len(re.findall(r"= \S+ convolution\(", compiled)) == count


# Other people's networks.


def assert_serves(backbone, logits):
    """Scores with and without an edit, and logits that are the network's own."""
    text = "bundle(a=max_logit(), b=ta(k=0.1)|feature_sim(), c=odin())"
    found = jood.Detector(text, backbone)(IMAGES)
    np.testing.assert_allclose(found["a"], np.max(logits, axis=-1), rtol=1e-4)
    assert all(np.isfinite(values).all() for values in found.values())


def test_an_equinox_network():
    eqx = pytest.importorskip("equinox", reason="Equinox comes with the extra test")
    keys = jax.random.split(jax.random.key(0), 3)
    layers = {
        "C4": eqx.nn.Conv2d(3, 6, 3, padding=1, key=keys[0]),
        "C5": eqx.nn.Conv2d(6, 6, 3, padding=1, key=keys[1]),
    }
    fc = eqx.nn.Linear(6, 5, key=keys[2])
    params, static = eqx.partition(layers, eqx.is_array)

    def one(params, image, names):  # Equinox takes one image, [C, H, W]
        network, x, stages = eqx.combine(params, static), image.transpose(2, 0, 1), {}
        for name in names:
            x = jax.nn.relu(network[name](x))
            stages[name] = x.transpose(1, 2, 0)
        return {"penultimate": x.mean(axis=(1, 2)), "stages": stages}

    def batched(*names):
        return lambda params, x: jax.vmap(lambda image: one(params, image, names))(x)

    backbone = jood.Backbone(
        batched("C4", "C5"), (fc.weight.T, fc.bias), {"C4": batched("C5")}, params
    )
    x = jnp.asarray(IMAGES).transpose(0, 3, 1, 2)
    for layer in layers.values():
        x = jax.nn.relu(jax.vmap(layer)(x))
    assert_serves(backbone, jax.vmap(fc)(x.mean(axis=(2, 3))))


@pytest.mark.slow
def test_a_keras_network(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))  # it writes its settings there
    reason = "Keras 3 has 50 MB; .ci/run installs it"
    keras = pytest.importorskip("keras", reason=reason)
    if keras.backend.backend() != "jax":
        pytest.skip("Keras runs on another backend than JAX")
    inputs = keras.Input((8, 8, 3))
    c4 = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    normal = keras.layers.BatchNormalization()(c4)
    c5 = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(normal)
    pooled = keras.layers.GlobalAveragePooling2D()(c5)
    logits = keras.layers.Dense(5, name="fc")(pooled)
    network = keras.Model(inputs, logits)
    outputs = {"penultimate": pooled, "stages": {"C4": c4, "C5": c5}}
    front = keras.Model(inputs, outputs)
    back = keras.Model(c4, {"penultimate": pooled, "stages": {"C5": c5}})

    def values(model):
        kinds = model.trainable_variables, model.non_trainable_variables
        return [[variable.value for variable in kind] for kind in kinds]

    def call(model, name):
        return lambda params, x: model.stateless_call(*params[name], x, training=False)[
            0
        ]

    kernel, bias = (v.value for v in network.get_layer("fc").variables)
    backbone = jood.Backbone(
        call(front, "front"),
        (kernel, bias),
        {"C4": call(back, "back")},
        {"front": values(front), "back": values(back)},
    )
    with jax.numpy_rank_promotion("allow"):  # as Keras needs it
        assert_serves(backbone, network(IMAGES))
