"""NPOS against its authors' code, and its intended selection against a formula."""

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import Activations
from jood.core.added_heads import mlp
from jood.training import objectives
from jood.training.forward import TrainingPass
from jood.training.objectives import boundary_outliers
from jood.training.objectives import class_queues
from jood.training.objectives.cider import compactness
from jood.training.objectives.cider import dispersion
from jood.training.objectives.cider import moved
from jood.training.objectives.npos import outlier_loss
from jood.training.objectives.objective import added
from jood.training.objectives.projection import unit

PUBLISHED, INTENDED = "", "intended_"  # prefixes of the file


def rows_after(given):
    features = given["penultimate"].reshape(-1, given["penultimate"].shape[-1])
    labels = np.tile(given["labels"], len(given["penultimate"]))

    def after(*batch):
        return class_queues.in_order(class_queues.pushed(*batch))

    return compiled.run(after, golden.full_queues(given["queue"]), features, labels)


def sampled(given, selection):
    """Outliers [K R points, D] and their places [K, R points]."""

    def of_class(rows, pick):
        return boundary_outliers.outliers(
            rows,
            pick,
            given["draw_eps"],
            k=given["K"],
            select=given["select"],
            points=given["ID_points_num"],
            scale=given["cov_mat"],
            selection=selection,
        )

    found, place = jax.jit(jax.vmap(of_class))(rows_after(given), given["draw_pick"])
    return found.reshape(-1, found.shape[-1]), place


@pytest.mark.slow
def test_the_outliers_are_those_of_the_published_code_and_of_the_formula(
    golden_training_dir,
):
    for group, given in golden.groups(golden_training_dir, "npos"):
        rows = rows_after(given)
        if "queue_after" in given:
            golden.close(rows, given["queue_after"], f"queue of {group}")
        at_boundary = jax.vmap(
            lambda rows, given=given: boundary_outliers.at_the_boundary(
                rows, given["K"], given["select"]
            )
        )
        place, distance = compiled.run(at_boundary, rows)
        np.testing.assert_array_equal(place, given["boundary_index"], group)
        golden.close(distance, given["boundary_kth_sqdist"], f"distances of {group}")
        for selection, prefix in (("published", PUBLISHED), ("intended", INTENDED)):
            found, place = sampled(given, selection)
            if f"{prefix}ood_row" in given:
                expected = given[f"{prefix}ood_row"]
                np.testing.assert_array_equal(place, expected, f"{selection} {group}")
            if f"{prefix}ood_samples" in given:
                expected = given[f"{prefix}ood_samples"]
                golden.close(found, expected, f"{selection} outliers of {group}")
            loss = compiled.run(
                lambda *both, given=given: outlier_loss(
                    *(mlp(golden.layers("mlp", given), x)[:, 0] for x in both)
                ),
                given["penultimate"].reshape(-1, found.shape[-1]),
                found,
            )
            expected = given[f"{prefix}loss_outlier"]
            golden.close(loss, expected, f"{selection} loss of {group}")


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "npos"):
        outside, _ = sampled(given, "published")
        given = golden.on_device(given)
        labels = jnp.asarray(np.tile(given["labels"], len(given["penultimate"])))

        def of_directions(normed_features, given=given, labels=labels):
            T, before = given["temp"], given["prototypes_before"]
            prototypes = moved(before, normed_features, labels, given["proto_m"])
            around = compactness(normed_features, labels, prototypes, T)
            apart = dispersion(prototypes, T)
            return given["w_disp"] * apart + given["w_comp"] * around, prototypes

        def loss(given=given, outside=outside, of_directions=of_directions, **inner):
            values = {**given, **inner}
            h = inner["penultimate"].reshape(-1, inner["penultimate"].shape[-1])
            u = unit(mlp(golden.layers("head", values), h))
            logits = (mlp(golden.layers("mlp", values), x)[:, 0] for x in (h, outside))
            told = outlier_loss(*logits)
            return of_directions(u)[0] + given["loss_weight"] * told

        names = [n.removeprefix("grad_") for n in given if n.startswith("grad_")]
        names.remove("normed_features")
        golden.check(loss, {name: given[name] for name in names}, given, group)
        told = given["loss_weight"] * given["loss_outlier"]
        own = {**given, "loss": given["loss"] - told}
        inner = {"normed_features": given["normed_features"]}
        golden.check(of_directions, inner, own, f"directions of {group}", 2e-5)
        after = compiled.run(of_directions, *inner.values())[1]
        golden.close(after, given["prototypes_after"], f"prototypes of {group}")


SMALL = (
    "npos(start=2.0, width=3, queue=4, k=2, select=3, picks=2, draws=6, points=2, "
    "selection={!r})"
)


def example(text, epoch=2.0, filled=True):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 5)).astype(np.float32)  # two views of six
    acts = Activations.of(features, rng.normal(size=(5, 3)).astype(np.float32))
    collections = added(objectives.parse(text), jax.random.key(0), 5, 3)
    if filled:
        rows = rng.normal(size=(3, 4, 5)).astype(np.float32)
        collections["class_queues"] = golden.full_queues(rows)
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    return TrainingPass(acts, labels, None, added=collections, epoch=jnp.float32(epoch))


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "filled"), [(1.9, True), (2.0, False), (2.0, True)])
def test_outliers_begin_at_their_epoch_with_full_queues(epoch, filled):
    found = {}
    for selection in boundary_outliers.SELECTIONS:
        text = SMALL.format(selection)
        objective = objectives.parse(text)
        outputs = example(text, epoch, filled)
        found[selection], parts = jax.jit(objective.loss)(outputs, jax.random.key(1))
        begun = filled and epoch >= 2
        assert parts["outlier_loss"].count == begun
    assert (found["published"] != found["intended"]) == begun
    after = jax.jit(objective.update)(outputs)
    assert after.keys() == set(objective.state)
    norms = np.linalg.norm(after["prototypes"]["direction"], axis=-1)
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("npos(k=2000)", "k must be at most queue, got k=2000 and queue=1000"),
        ("npos(picks=300)", "picks must be at most select"),
        ("npos(points=601)", "points must be at most draws"),
        ("npos(selection='x')", "selection must be 'published' or 'intended', got 'x'"),
        ("npos(lam=-1)", "lam must be"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)
