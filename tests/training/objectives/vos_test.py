"""VOS against its authors' code, and its queues."""

from helpers import compiled
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


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "vos"):
        labels, select = jnp.asarray(given["labels"]), given["select"]

        def sample(features, given=given, select=select, labels=labels):
            queues = class_queues.pushed(
                golden.full_queues(given["queue"]), features, labels
            )
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
            "queue_after": compiled.run(class_queues.in_order, queues),
            "mean": means,
            "cov": factor @ factor.T,
        }
        for name, logits in {"in": given["logits"], "out": given["ood_logits"]}.items():
            energy = compiled.run(weighted_energy, logits, given["energy_W"][0])
            found[f"energy_{name}"] = energy
        for name in found.keys() & given.keys():
            golden.close(found[name], given[name], f"{name} of {group}", 2e-5)
        acts = Activations.of(given["features"], given["W"].T, given["b"])
        score = compiled.apply(detector_text.parse("energy()"), (), acts)
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
        told = advice({"queue_filled": 0.03}, 60)
        assert "queue is 3% full after the first of 60 epochs" in told
        assert "choose a shorter queue" in told
        assert advice({"queue_filled": 0.6}, 1)
        assert not advice({"queue_filled": 0.03}, 100)
        assert not advice({"queue_filled": 1.0}, 1)


# The objective

SMALL = "vos(start=2.0, queue=2, draws=16, select=2)"


def example(filled=True, epoch=2.0):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 4)).astype(np.float32)
    acts = Activations.of(features, rng.normal(size=(4, 3)).astype(np.float32))
    collections = added(objectives.parse(SMALL), jax.random.key(0), 4, 3)
    rows = rng.normal(size=(3, 2, 4)).astype(np.float32)
    if filled:
        collections["class_queues"] = golden.full_queues(rows)
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    return TrainingPass(acts, labels, None, added=collections, epoch=jnp.float32(epoch))


@pytest.mark.slow
@pytest.mark.parametrize(("filled", "epoch"), [(True, 1.9), (False, 2.0), (True, 2.0)])
def test_the_regulariser_begins_at_its_epoch_with_full_queues(filled, epoch):
    objective, outputs = objectives.parse(SMALL), example(filled, epoch)
    plain = compiled.run(softmax_cross_entropy, outputs.acts.logits, outputs.labels)
    loss, parts = jax.jit(objective.loss)(outputs, jax.random.key(1))
    begun = filled and epoch >= 2
    assert parts["virtual_outliers"].count == begun
    assert (loss > plain) == begun
    assert parts["queue_filled"].total == filled
    after = jax.jit(objective.update)(outputs)["class_queues"]
    assert class_queues.are_full(after)


def test_other_keys_draw_other_outliers():
    objective, outputs = objectives.parse(SMALL), example()
    loss = jax.jit(lambda key: objective.loss(outputs, key)[0])
    assert loss(jax.random.key(1)) != loss(jax.random.key(2))


def held(text, classes, width=64, batch=8):
    """Bytes that the gradient of a loss holds beside its inputs and outputs."""
    objective = objectives.parse(text)
    collections = added(objective, jax.random.key(0), width, classes)

    def loss(features, kernel, layer, queues):
        acts = Activations.of(features, kernel)
        given = {"vos": layer, "class_queues": queues}
        labels = jnp.zeros(batch, int)
        outputs = TrainingPass(acts, labels, None, added=given, epoch=jnp.float32(9))
        return objective.loss(outputs, jax.random.key(0))[0]

    arrays = (jnp.zeros((batch, width)), jnp.zeros((width, classes)))
    given = (*arrays, collections["vos"], collections["class_queues"])
    step = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    return step.lower(*given).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_the_draws_of_all_classes_are_not_held_at_once():
    draws, width = 4096, 64
    one = 4 * draws * width  # the draws of a class, in bytes
    text = f"vos(start=0, queue=2, draws={draws})"
    few, many = (held(text, classes, width) for classes in (4, 64))
    assert one < few < 8 * one, "the draws are not in this program"
    assert many - few < one  # of 60 more classes


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
