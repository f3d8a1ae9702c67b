"""CIDER against its authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.methods import detector_text
from jood.training import objectives
from jood.training.objectives.cider import compactness
from jood.training.objectives.cider import dispersion
from jood.training.objectives.cider import moved
from jood.training.objectives.objective import added
from jood.training.objectives.projection import unit


def groups(folder):
    for group, given in golden.groups(folder, "cider"):
        if "loss" in given:
            yield group, given


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in groups(golden_training_dir):
        labels, T = jnp.asarray(np.tile(given["labels"], 2)), given["temp"]
        before = jnp.asarray(given["prototypes_before"])

        def parts(features, labels=labels, T=T, before=before, m=given["proto_m"]):
            prototypes = moved(before, features, labels, m)
            around = compactness(features, labels, prototypes, T)
            return {"disp": dispersion(prototypes, T), "comp": around}

        def whole(parts=parts, w=given["w"], **inner):
            found = parts(unit(inner["z"]) if "z" in inner else inner["features"])
            return w * found["comp"] + found["disp"]

        for name in ("z", "features"):
            golden.check(whole, {name: given[name]}, given, group)
        for term in ("disp", "comp"):
            own = {"loss": given[f"loss_{term}"]}
            own["grad_features"] = given[f"grad_features_{term}"]
            inner = {"features": given["features"]}

            def one(features, term=term, parts=parts):
                return parts(features)[term]

            golden.check(one, inner, own, f"{term} of {group}")
        rows = given["features"], labels
        after = jax.jit(moved, static_argnums=3)(before, *rows, given["proto_m"])
        golden.close(after, given["prototypes_after"], f"prototypes of {group}")


def test_dispersion_of_learned_prototypes(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "cider"):
        if "loss_disp" in given and "loss" not in given:

            def of(prototypes, T=given["temp"]):
                return dispersion(unit(prototypes), T)

            own = {**given, "loss": given["loss_disp"]}
            golden.check(of, {"prototypes": given["prototypes"]}, own, group)


def test_the_score_is_that_of_the_published_code(golden_training_dir):
    for group, given in groups(golden_training_dir):
        head = np.ones((given["knn_bank"].shape[1], 2), np.float32)
        bank = jood.Activations.of(given["knn_bank"], head)
        test = jood.Activations.of(given["knn_test"], head)
        part = detector_text.parse(f"knn(k={given['knn_k']})")
        distance = compiled.apply(part, jood.fit(part, [bank]), test)
        golden.close(-np.square(distance), given["score_knn"], f"KNN of {group}")


def test_prototypes_move_one_example_after_the_other():
    rng = np.random.default_rng(0)
    u = np.asarray(unit(jnp.asarray(rng.normal(size=(12, 5)), jnp.float32)))
    labels = rng.integers(0, 3, 12)  # of four classes: one is absent
    start = np.asarray(unit(jnp.asarray(rng.normal(size=(4, 5)), jnp.float32)))
    expected = start.copy()
    for row, label in zip(u, labels, strict=True):
        mean = 0.9 * expected[label] + 0.1 * row
        expected[label] = mean / np.linalg.norm(mean)
    found = jax.jit(moved, static_argnums=3)(start, u, labels, 0.9)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[3], start[3])


def test_prototypes_that_begin_at_zero_and_one_class_stay_finite():
    def loss(x):
        u = unit(x)
        prototypes = moved(jnp.zeros((3, 3)), u, jnp.zeros(4, int), 0.95)
        around = compactness(u, jnp.zeros(4, int), prototypes, 0.1)
        return dispersion(prototypes, 0.1) + around

    value, gradient = compiled.run(jax.value_and_grad(loss), np.ones((4, 3), "f"))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_one_class_has_nothing_to_be_apart_from():
    with pytest.raises(ValueError, match="two classes or more, the network has 1"):
        added(objectives.cider(), jax.random.key(0), 4, 1)
