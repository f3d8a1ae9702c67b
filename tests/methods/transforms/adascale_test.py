"""AdaSCALE and i-ODIN on a network whose gradient is known."""

from flax import linen as nn
import jax
import numpy as np
import pytest
from reference import leading as reference

import jood
from jood.core import fitting
from jood.methods.scores.iodin import iodin
from jood.methods.transforms.adascale import adascale_a
from jood.methods.transforms.adascale import adascale_l

RNG = np.random.default_rng(0)
SIZE, WIDTH, CLASSES = 3, 10, 4


class _Linear(nn.Module):
    """The mean over locations, and a head: ∇_x f_c is W_c over the locations."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(CLASSES, name="head")(images.mean((1, 2)))


KERNEL = RNG.normal(size=(WIDTH, CLASSES)).astype("f")
BIAS = RNG.normal(size=CLASSES).astype("f")
VARIABLES = {"params": {"head": {"kernel": KERNEL, "bias": BIAS}}}
TRAIN, TEST = RNG.normal(0.4, 1.0, (2, 24, SIZE, SIZE, WIDTH)).astype("f")


def observe(_, images):
    acts = jood.observe(_Linear(), VARIABLES, images, needs_network=True)
    return acts, np.ones(len(images), np.float32)


def pairs(images, o, eps):
    """Features, and those of the moved images, by the reference."""
    rows = []
    for x in images.astype(np.float64):
        h = x.mean((0, 1))
        c = np.argmax(h @ KERNEL + BIAS)
        # Entries of a location have equal gradients: tell them apart by nothing.
        gradient = np.broadcast_to(KERNEL[:, c] / SIZE**2, x.shape)
        rows.append((h, reference.weakest_moved(x, gradient, o, eps).mean((0, 1))))
    return rows


VALUES = {"low": 0.3, "high": 0.8, "k1": 0.5, "k2": 0.3, "lam": 5.0}


@pytest.mark.parametrize("factory", [adascale_a, adascale_l])
def test_adascale_matches_reference(factory):
    component = factory(**VALUES, o=0.4, eps=0.7)
    fitted = fitting.fit(component, [TRAIN[:10], TRAIN[10:]], observer=observe)
    got = jax.jit(lambda x: component.apply(fitted, observe((), x)[0]).logits)(TEST)
    test = pairs(TEST, 0.4, 0.7)
    counts = {**VALUES, "k1": int(WIDTH * 0.5), "k2": int(WIDTH * 0.3)}
    s = reference.adascale_s(pairs(TRAIN, 0.4, 0.7), test, **counts)
    features = np.array([h for h, _ in test])
    if factory is adascale_a:
        expected = (features * np.exp(s)[:, None]) @ KERNEL + BIAS
    else:
        expected = (features @ KERNEL + BIAS) * s[:, None] ** 2
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factory", [adascale_a, adascale_l])
@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"low": 75}, r"low must be a fraction in \(0, 1\)"),
        ({"low": 0.9, "high": 0.8}, "low must be below high"),
        ({"k2": 0.0}, r"k2 must be a fraction in \(0, 1\)"),
        ({"lam": -1.0}, "lam must be a finite number >= 0"),
        ({"eps": 0.0}, "eps must be a finite number above 0"),
        ({"capacity": 0}, "capacity must be an integer >= 1"),
    ],
)
def test_adascale_refuses_bad_values(factory, values, match):
    with pytest.raises(ValueError, match=match):
        factory(**values)


def test_adascale_needs_the_network():
    acts = jood.Activations.of(TEST.mean((1, 2)), KERNEL, BIAS)
    with pytest.raises(jood.MissingStageError, match="runs the network again"):
        jood.fit(adascale_l(), [acts])


def test_iodin_moves_the_entry_of_the_largest_gradient():
    component = iodin(T=2.0, eps=3.0)
    got = jax.jit(lambda x: component.apply((), observe((), x)[0]))(TEST)
    expected = []
    for x in TEST.astype(np.float64):
        f = x.mean((0, 1)) @ KERNEL + BIAS
        p = np.array(reference.softmax(f / 2))
        p[np.argmax(f)] -= 1
        gradient = KERNEL @ p / 2 / SIZE**2  # of each location's channel
        d = np.argmax(np.abs(gradient))
        h = x.mean((0, 1))
        h[d] -= 3.0 * np.sign(gradient[d]) / SIZE**2
        expected.append(max(reference.softmax((h @ KERNEL + BIAS) / 2)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "value"), [("T", 0.0), ("eps", 0.0), ("eps", -1.0)])
def test_iodin_refuses_bad_values(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a finite number above 0"):
        iodin(**{name: value})
