"""ODIN: a network with a known gradient, the peers' scores, and compositions."""

import dataclasses
import functools

import chex
from flax import linen as nn
from helpers import golden_inputs
from helpers import golden_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps

import jood
from jood import testing
from jood.methods.scores import energy
from jood.methods.scores import feature_sim
from jood.methods.scores import msp
from jood.methods.scores.odin import max_probability
from jood.methods.scores.odin import moved
from jood.methods.scores.odin import odin
from jood.methods.transforms import ash_s
from jood.methods.transforms import react
from jood.methods.transforms import ta

TAPS = jood.Taps(stages={"C3": "layer2", "C4": "layer3", "C5": "layer4"}, head="fc")
STD = {
    "nostd": None,
    "std63": (63 / 255, 62.1 / 255, 66.7 / 255),
    "std0.2": (0.2023, 0.1994, 0.2010),
    "std0.5": (0.5, 0.5, 0.5),
    "": (0.2470, 0.2435, 0.2616),
}
# As section 5 of the golden README: float32 gradients near 0 change their sign, and
# a score at T = 1000 has a resolution of 5e-5 std.
TOLERANCE = {
    "odin_T1000_eps0.02": 3.1e-3,
    "odin_T1000_eps0.02_std63": 3.1e-3,
    "odin_T1000_eps0.02_nostd": 2e-4,
    "odin_T1_eps0.0014": 4e-4,
}
KEYS = {
    "odin_T1000_eps0.0": "openood pytorch_ood",
    "odin_T1000_eps0.0_nostd": "gradnorm react",
    "odin_T1000_eps0.0014": "openood pytorch_ood",
    "odin_T1000_eps0.0014_nostd": "gradnorm react oodeel pytorch_ood",
    "odin_T1000_eps0.0014_std0.2": "maha",
    "odin_T1000_eps0.0014_std0.5": "openood pytorch_ood",
    "odin_T1000_eps0.0014_std63": "odin",
    "odin_T1000_eps0.02": "openood pytorch_ood",
    "odin_T1000_eps0.02_nostd": "react oodeel pytorch_ood",
    "odin_T1000_eps0.02_std63": "odin",
    "odin_T1_eps0.0014": "openood pytorch_ood",
}
LOGITS = [
    "odin_T1000_eps0.0014_perturbed_logits__pytorch_ood",
    "odin_T1000_eps0.0014_nostd_perturbed_logits__pytorch_ood",
    "odin_T1000_eps0.02_perturbed_logits__pytorch_ood",
    "odin_T1_eps0.0014_perturbed_logits__pytorch_ood",
]


def _parameters(key):
    """(T, eps, std) of a golden key such as odin_T1000_eps0.0014_nostd."""
    _, T, eps, *rest = key.removesuffix("_perturbed_logits").split("_")
    return float(T[1:]), float(eps[3:]), STD[rest[0] if rest else ""]


@functools.cache
def _golden(folder):
    """The network's weights, and the test images normalised as the peers did."""
    images = golden_inputs.load(folder / "cnn_images.npz")
    pixels = np.concatenate([images["id_images_u8"], images["ood_images_u8"]])
    pixels = pixels.transpose(0, 2, 3, 1).astype(np.float32)
    normalised = (pixels / np.float32(255) - images["mean"]) / images["std"]
    weights = golden_inputs.load(folder / "cnn_weights.npz")
    return golden_network.flax_variables(weights), normalised.astype(np.float32)


@functools.cache
def _compiled(folder, T, still):
    """One program for all ε and std, which are its arguments: logits and scores."""
    variables, _ = _golden(folder)

    @jax.jit
    def program(images, eps, std):
        component = odin(T, 0.0 if still else eps)
        acts = jood.observe(
            golden_network.TinyCNN(),
            variables,
            images,
            needs_network=not still,
            taps=TAPS,
            std=std,
        )
        seen = acts if still else moved(acts, T, eps)
        return component.apply((), acts), seen.logits

    return program


def _run(folder, key):
    T, eps, std = _parameters(key)
    std = np.asarray(std or (1.0, 1.0, 1.0), np.float32)
    return _compiled(folder, T, eps == 0)(_golden(folder)[1], eps, std)


@pytest.mark.parametrize(
    "key", [f"{k}__{peer}" for k, peers in KEYS.items() for peer in peers.split()]
)
def test_scores_of_peers(golden_dir, key):
    method, peer = key.split("__")
    golden = golden_inputs.load(golden_dir / "scores_cnn.npz")[key].astype(np.float64)
    golden = -golden if peer in ("pytorch_ood", "oodeel") else golden
    got = np.asarray(_run(golden_dir, method)[0], np.float64)
    error = np.abs(got - golden).max() / golden.std()
    assert error <= TOLERANCE.get(method, 1e-4), f"{key}: {error:.1e} std"


@pytest.mark.parametrize("key", LOGITS)
def test_logits_at_the_moved_images_of_a_peer(golden_dir, key):
    golden = golden_inputs.load(golden_dir / "scores_cnn.npz")[key]
    got = _run(golden_dir, key.split("__")[0])[1]
    error = np.abs(np.asarray(got, np.float64) - golden) / golden.std()
    # A pixel whose gradient is near 0 moves the other way: a few images, by a little.
    assert np.quantile(error, 0.99) <= 1e-4
    assert error.max() <= 3e-3


def test_no_golden_odin_is_left_out(golden_dir):
    stored = golden_inputs.load(golden_dir / "scores_cnn.npz")
    compared = {f"{k}__{p}" for k, peers in KEYS.items() for p in peers.split()}
    first = "odin_T1000_eps0.0014_perturbed_first32__pytorch_ood"
    assert {k for k in stored if k.startswith("odin_T")} == {*compared, *LOGITS, first}


def test_the_moved_images_of_a_peer(golden_dir):
    variables, images = _golden(golden_dir)
    seen = []
    acts = jood.observe(
        golden_network.TinyCNN(),
        variables,
        jnp.asarray(images[:32]),
        needs_network=True,
        taps=TAPS,
        std=STD[""],
    )
    network = acts.behind()

    def spy(images):
        seen.append(images)
        return network.run(images)

    moved(acts.replace(network=dataclasses.replace(network, run=spy)), 1000.0, 0.0014)
    key = "odin_T1000_eps0.0014_perturbed_first32__pytorch_ood"
    golden = golden_inputs.load(golden_dir / "scores_cnn.npz")[key].transpose(
        0, 2, 3, 1
    )
    apart = np.abs(np.asarray(seen[-1]) - golden)
    assert (apart > 1e-6).mean() < 1e-4  # gradients near 0, whose sign is chance
    assert apart.max() < 2.1 * 0.0014 / min(STD[""])


@pytest.mark.parametrize(
    ("key", "spec", "eps"),
    [
        (
            "react_odin_p90_T1000_eps0.0014_nostd__react",
            "react(clip=1.047191858291626)",
            0.0014,
        ),
        ("bats_odin_lam1.05_eps0.005__bats", "bats(lam=1.05)", 0.005),
    ],
)
def test_the_gradient_goes_through_what_stands_before(golden_dir, key, spec, eps):
    """2e-4 std is three units in the last place of these scores (section 5)."""
    stored = golden_inputs.load(golden_dir / "scores_cnn.npz")
    component = jood.chain(jood.parse(spec), odin(eps=eps))
    train, _ = golden_inputs.records(golden_dir, "cnn")
    fitted = jood.fit(component, [train])
    variables, images = _golden(golden_dir)

    @jax.jit
    def score(images):
        net = golden_network.TinyCNN()
        acts = jood.observe(
            net,
            variables,
            images,
            edits=component.edits,
            needs_network=component.needs_network,
            taps=TAPS,
        )
        return component.apply(fitted, acts)

    got = np.asarray(score(images), np.float64)
    golden = stored[key].astype(np.float64)
    error = np.abs(got - golden).max() / golden.std()
    assert error <= 2e-4, f"{key}: {error:.1e} std"


class _Linear(nn.Module):
    """f(x) = mean over locations of x, times a kernel: its gradient is known."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(4, name="head")(images.mean((1, 2)))


def _linear_case(channels=3):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(channels, 4)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    images = rng.normal(size=(6, 5, 4, channels)).astype(np.float32)
    return {"params": {"head": {"kernel": kernel, "bias": bias}}}, images


@pytest.mark.parametrize("T", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("std", [(1.0, 1.0, 1.0), (0.2, 0.5, 2.0)])
def test_odin_of_a_linear_network(T, eps, std):
    variables, images = _linear_case()
    component = odin(T=T, eps=eps)
    acts = jood.observe(_Linear(), variables, images, needs_network=True, std=std)
    head = variables["params"]["head"]
    expected = reference_maps.odin_of_a_linear_network(
        images, head["kernel"], head["bias"], T, eps, np.array(std)
    )
    np.testing.assert_allclose(component.apply((), acts), expected, rtol=2e-6)


def test_without_a_step_it_is_temperature_scaling_in_one_pass():
    component = odin(T=5.0, eps=0.0)
    assert not component.needs_network
    acts = testing.toy_activations(component, testing.toy_images(6, 0)[0])
    expected = jax.nn.softmax(acts.logits / 5).max(-1)
    np.testing.assert_allclose(component.apply((), acts), expected, rtol=1e-6)
    one = odin(T=1.0, eps=0).apply((), acts)
    np.testing.assert_allclose(one, msp().apply((), acts), rtol=1e-6)


@pytest.mark.parametrize("classes", [4, 1000])
def test_a_high_temperature_keeps_what_float32_can_hold(classes):
    logits = np.random.default_rng(0).normal(0, 3, (50, classes)).astype(np.float32)
    got = max_probability(jnp.asarray(logits), 1000.0)
    chex.assert_type(got, jnp.float32)
    expected = reference_maps.max_probability(logits, 1000.0)
    np.testing.assert_allclose(got, expected, rtol=1.5e-7)  # one unit or two
    order = np.argsort(expected)
    assert (np.diff(np.asarray(got)[order]) >= -2e-7 / classes).all()


def test_the_step_raises_the_score():
    images = testing.toy_images(8, 0)[0]
    still, component = odin(T=10.0, eps=0.0), odin(T=10.0, eps=0.05)
    acts = testing.toy_activations(component, images)
    assert (component.apply((), acts) > still.apply((), acts)).all()


def test_temperature_and_step_may_be_traced():
    images = testing.toy_images(6, 0)[0]

    def score(T, eps):
        component = odin(T=T, eps=eps)
        return component.apply((), testing.toy_activations(component, images))

    compiled = jax.jit(score)
    for T, eps in ((10.0, 0.02), (1000.0, 0.0), (2.0, 0.1)):
        np.testing.assert_allclose(compiled(T, eps), score(T, eps), rtol=1e-5)


@pytest.mark.parametrize(
    "before", [lambda: ta(k=0.3), lambda: react(clip=0.6), lambda: ash_s(q=0.5)]
)
def test_it_composes_with_what_stands_before(before):
    component = jood.chain(before(), odin(T=2.0, eps=0.05))
    images = testing.toy_images(6, 0)[0]
    got = component.apply((), testing.toy_activations(component, images))
    # By hand: the gradient of the rewritten loss, and the rewritten look at x'.
    part = before()

    def rewritten(x):
        return part.apply((), testing.toy_activations(part, x))

    predicted = jnp.argmax(rewritten(images).logits, axis=-1)

    def loss(x):
        logs = jax.nn.log_softmax(rewritten(x).logits / 2)
        return -jnp.take_along_axis(logs, predicted[:, None], axis=-1).sum()

    gradient = jax.grad(loss)(jnp.asarray(images))
    shifted = images - 0.05 * np.where(np.asarray(gradient) >= 0, 1, -1)
    shifted = jnp.asarray(shifted, jnp.float32)
    expected = jax.nn.softmax(rewritten(shifted).logits / 2).max(-1)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_fusion_with_feature_sim_in_a_detector_with_preprocessing():
    """Feature Sim, Table 2: S_feat + λ S_ODIN, both after TA; ε / std from pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 4, 4, testing.WIDTH), dtype=np.uint8)
    std = tuple(np.linspace(0.2, 0.6, testing.WIDTH).tolist())
    preprocessing = jood.Preprocessing((0.3,) * testing.WIDTH, std)
    variables = testing.toy_variables()
    both = jood.fuse(feature_sim(), odin(T=10.0, eps=0.05), weights=(1.0, 1300.0))
    component = jood.chain(ta(k=0.2), both)
    detector = jood.Detector(
        component, testing.ToyNet(), variables, preprocessing=preprocessing
    )
    acts = jood.observe(
        testing.ToyNet(),
        variables,
        preprocessing(jnp.asarray(pixels)),
        edits=component.edits,
        needs_network=component.needs_network,
        std=std,
    )
    edited = acts.edit(ta(k=0.2).spec)
    parts = [feature_sim().apply((), edited), odin(10.0, 0.05).apply((), edited)]
    np.testing.assert_allclose(detector(pixels), parts[0] + 1300 * parts[1], rtol=1e-4)
    without = odin(10.0, 0.05).apply(
        (), edited.replace(network=dataclasses.replace(edited.behind(), std=None))
    )
    assert not np.allclose(parts[1], without, rtol=1e-4)


def test_scale_weights_are_fitted_through_the_second_look():
    images = testing.toy_images(32, 0)[0]
    component = jood.fuse(energy(), odin(T=10.0), weights="scale")
    detector = jood.Detector(component, testing.ToyNet(), testing.toy_variables())
    detector = detector.fit([images])
    alone = [
        jood.Detector(part, testing.ToyNet(), testing.toy_variables())(images)
        for part in (energy(), odin(T=10.0))
    ]
    factor = alone[0].std() / alone[1].std()
    np.testing.assert_allclose(
        detector(images), alone[0] + factor * alone[1], rtol=1e-3
    )


@pytest.mark.parametrize("T", [0.0, -1.0, float("inf"), "1"])
def test_a_bad_temperature_is_refused(T):
    with pytest.raises(ValueError, match="T must be"):
        odin(T=T)


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf"), None])
def test_a_bad_step_is_refused(eps):
    with pytest.raises(ValueError, match="eps must be a finite number >= 0"):
        odin(eps=eps)


def test_features_alone_are_refused():
    acts = jood.Activations.of(np.ones((2, 3), "f"), np.ones((3, 2), "f"))
    with pytest.raises(ValueError, match="runs the network again"):
        odin().apply((), acts)
