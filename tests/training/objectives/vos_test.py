"""VOS against its authors' code, and its queues."""

from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import Activations
from jood.core.activations import linear
from jood.methods import detector_text
from jood.training import objectives
from jood.training.forward import TrainingPass
from jood.training.objectives import class_queues
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import added
from jood.training.objectives.vos import gaussians
from jood.training.objectives.vos import least_likely
from jood.training.objectives.vos import regulariser
from jood.training.objectives.vos import weighted_energy


def full(rows):
    """Queues that hold rows [K, n, D], the oldest first."""
    classes, length, _ = rows.shape
    whole = class_queues.empty(*rows.shape)
    return {**whole, "rows": rows, "count": jnp.full(classes, length)}


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "vos"):
        labels, select = given["labels"], given["select"]

        def sample(features, given=given, select=select, labels=labels):
            queues = class_queues.pushed(full(given["queue"]), features, labels)
            means, factor = gaussians(queues["rows"])
            of_class = jax.vmap(
                lambda mean, eps: least_likely(mean, factor, eps, select)
            )
            virtual = of_class(means, given["draw_eps"])
            return queues, means, factor, virtual.reshape(-1, means.shape[1])

        def loss(
            features, W, b, energy_W, lr_weight, lr_bias, given=given, sample=sample
        ):
            virtual = sample(features)[-1]
            inside, outside = (linear(x, W.T, b) for x in (features, virtual))
            layer = {"weight": energy_W[0], "kernel": lr_weight.T, "bias": lr_bias}
            told = regulariser(inside, outside, layer)
            plain = softmax_cross_entropy(inside, given["labels"])
            return plain + given["loss_weight"] * told

        names = ("features", "W", "b", "energy_W", "lr_weight", "lr_bias")
        golden.check(loss, {n: given[n] for n in names}, given, group)
        queues, means, factor, virtual = jax.jit(sample)(given["features"])
        found = {
            "ood_samples": virtual,
            "queue_after": class_queues.in_order(queues),
            "mean": means,
            "cov": factor @ factor.T,
        }
        for name, logits in {"in": given["logits"], "out": given["ood_logits"]}.items():
            found[f"energy_{name}"] = weighted_energy(logits, given["energy_W"][0])
        for name in found.keys() & given.keys():
            golden.close(found[name], given[name], f"{name} of {group}", 2e-5)
        acts = Activations.of(given["features"], given["W"].T, given["b"])
        score = detector_text.parse("energy()").apply((), acts)
        golden.close(score, given["score_energy"], f"score of {group}")


# Queues


def by_hand(lists, features, labels, length):
    """The published loop over a batch."""
    whole = all(len(one) == length for one in lists)
    for row, label in zip(features, labels, strict=True):
        if whole:
            lists[label] = [*lists[label][1:], row]
        elif len(lists[label]) < length:
            lists[label].append(row)


def test_queues_fill_and_then_turn_as_a_loop_over_the_batch_does():
    rng, classes, length = np.random.default_rng(0), 3, 4
    queues, lists = class_queues.empty(classes, length, 1), [[] for _ in range(classes)]
    push = jax.jit(class_queues.pushed)
    turned = 0
    for step in range(12):
        # Now and then more features of a class than its queue holds.
        labels = rng.integers(0, classes if step % 3 else 1, 7)
        labels[0] = step % classes
        features = rng.normal(size=(7, 1)).astype(np.float32)
        turned += bool(class_queues.are_full(queues))
        queues = push(queues, features, labels)
        by_hand(lists, features, labels, length)
        np.testing.assert_array_equal(queues["count"], [len(one) for one in lists])
        if class_queues.are_full(queues):
            np.testing.assert_array_equal(class_queues.in_order(queues), lists)
    assert 3 < turned < 12


def test_queues_that_do_not_fill_are_told():
    for name in ("vos", "npos"):
        advice = objectives.parse(name).advice
        assert "queue was 3% full" in advice({"queue_filled": 0.03})
        assert not advice({"queue_filled": 0.6})


# The objective

SMALL = "vos(start=2.0, queue=2, draws=16, select=2)"


def example(filled=True, epoch=2.0):
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)
    acts = Activations.of(features, rng.normal(size=(4, 3)).astype(np.float32))
    collections = added(objectives.parse(SMALL), jax.random.key(0), 4, 3)
    rows = jnp.asarray(rng.normal(size=(3, 2, 4)), jnp.float32)
    if filled:
        collections["class_queues"] = full(rows)
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    return TrainingPass(acts, labels, None, added=collections, epoch=jnp.float32(epoch))


@pytest.mark.parametrize(("filled", "epoch"), [(True, 1.9), (False, 2.0), (True, 2.0)])
def test_the_regulariser_begins_at_its_epoch_with_full_queues(filled, epoch):
    objective, seen = objectives.parse(SMALL), example(filled, epoch)
    plain = softmax_cross_entropy(seen.acts.logits, seen.labels)
    loss, parts = jax.jit(objective.loss)(seen, jax.random.key(1))
    begun = filled and epoch >= 2
    assert parts["virtual_outliers"].count == begun
    assert (loss > plain) == begun
    assert parts["queue_filled"].total == filled
    after = objective.update(seen)["class_queues"]
    assert class_queues.are_full(after)


def test_other_keys_draw_other_outliers():
    objective, seen = objectives.parse(SMALL), example()
    loss = jax.jit(lambda key: objective.loss(seen, key)[0])
    assert loss(jax.random.key(1)) != loss(jax.random.key(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vos(select=5, draws=4)", "select must be at most draws"),
        ("vos(queue=0)", "queue must be an integer >= 1"),
        ("vos(start=-1)", "start must be"),
        ("vos(lam=-1)", "lam must be"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)
