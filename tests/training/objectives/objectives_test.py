"""Objectives against plain NumPy, their gradients, and what they hold in memory."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import objectives as reference

from jood.core import activations
from jood.core import added_heads
from jood.methods import detector_text
from jood.training import config
from jood.training import objectives
from jood.training.forward import TrainingPass
from jood.training.objectives import patches as patches_lib
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.lff import local_feature_loss
from jood.training.objectives.objective import added
from jood.training.objectives.ssod import data_resampling
from jood.training.objectives.ssod import loss_wise
from jood.training.objectives.true_class_probability import true_class_probability

B, HW, D, K = 4, 6, 5, 3
KEY = jax.random.key(0)


def example(scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    local = scale * rng.normal(size=(B, HW, D))
    kernel, bias = rng.normal(size=(D, K)), rng.normal(size=K)
    labels = rng.integers(0, K, B).astype(np.int32)
    head = {"kernel": rng.normal(size=(D, 1)), "bias": np.array([0.2])}
    return local, kernel, bias, labels, head


def outputs_of(local, kernel, bias, labels, head=None, reference=None):
    """What a pass over a network with these local features gives."""
    local = jnp.asarray(local, jnp.float32)
    acts = activations.Activations.of(
        local.mean(1),
        jnp.asarray(kernel, jnp.float32),
        jnp.asarray(bias, jnp.float32),
        ood_head=None if head is None else (jnp.float32(head["kernel"]), head["bias"]),
    )
    return TrainingPass(acts, jnp.asarray(labels), local, reference=reference)


def cross_entropy_of(local, kernel, bias, labels):
    logits = local.mean(1) @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return -np.log(p[np.arange(B), labels]).mean()


def test_cross_entropy_is_the_mean_of_minus_log_p():
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5]], np.float32)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -(np.log(p[0, 1]) + np.log(p[1, 2])) / 2
    loss = softmax_cross_entropy(jnp.asarray(logits), jnp.array([1, 2]))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    half = softmax_cross_entropy(jnp.asarray(logits, jnp.bfloat16), jnp.array([1, 2]))
    assert half.dtype == jnp.float32


def test_probabilities_of_the_true_class_at_each_location():
    local, kernel, bias, labels, _ = example()
    found = jax.jit(true_class_probability)(
        *map(jnp.float32, (local, kernel, bias)), labels
    )
    chex.assert_shape(found, (B, HW))
    expected = reference.true_class_probability(local, kernel, bias, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_probabilities_carry_no_gradient():
    local, kernel, bias, labels, _ = example()
    inputs = [jnp.float32(x) for x in (local, kernel, bias)]
    gradients = jax.grad(
        lambda *x: true_class_probability(*x, jnp.asarray(labels)).sum(),
        argnums=(0, 1, 2),
    )(*inputs)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0)


def test_without_local_features_the_objective_says_why():
    outputs = outputs_of(*example()).replace(local=None, why_not="so")
    objectives.cross_entropy().loss(outputs, KEY)
    for name in ("lff", "ssod"):
        with pytest.raises(ValueError, match="needs local features, but so"):
            objectives.parse(name).loss(outputs, KEY)


# LFF


@pytest.mark.parametrize(("delta", "mu"), [(0.1, 1.0), (0.5, 2.0), (0.3, 0.0)])
def test_lff_is_equations_5_to_7(delta, mu):
    local, kernel, bias, labels, _ = example()
    objective = objectives.lff(delta=delta, mu=mu, lam=0.7, reference="current")
    loss, parts = jax.jit(objective.loss)(outputs_of(local, kernel, bias, labels), KEY)
    expected, count = reference.lff(local, kernel, bias, labels, delta, mu)
    assert 0 < count < B * HW
    plain = cross_entropy_of(local, kernel, bias, labels)
    np.testing.assert_allclose(loss, plain + 0.7 * expected, rtol=1e-5)
    assert parts["background_excess"].count == count
    share = parts["background_share"]
    np.testing.assert_allclose(share.total / share.count, count / (B * HW))
    p = np.array(reference.true_class_probability(local, kernel, bias, labels))
    wrong = np.argmax(local.mean(1) @ kernel + bias, -1) != labels
    assert 0 < wrong.sum() < B
    inside = parts["background_misclassified"]
    assert (inside.total, inside.count) == ((p[wrong] < delta).sum(), count)


@pytest.mark.parametrize("of", ["start", "current"])
def test_lff_takes_background_where_its_reference_does_not_find_the_class(of):
    local, kernel, bias, labels, _ = example()
    other = np.random.default_rng(7).uniform(size=(B, HW)).astype(np.float32)
    objective = objectives.lff(delta=0.3, mu=0.5, reference=of)
    outputs = outputs_of(local, kernel, bias, labels, reference=jnp.asarray(other))
    _, parts = jax.jit(objective.loss)(outputs, KEY)
    p = np.array(reference.true_class_probability(local, kernel, bias, labels))
    chosen = (other if of == "start" else p) < 0.3
    excess = np.maximum(np.linalg.norm(local, axis=-1) - 0.5, 0)[chosen].sum()
    np.testing.assert_allclose(parts["background_excess"].total, excess, rtol=1e-5)
    assert parts["background_excess"].count == chosen.sum()
    assert (objective.reference is None) == (of == "current")


def test_what_lff_asks_of_the_start_network_is_its_probability():
    local, kernel, bias, labels, _ = example()
    asked = objectives.lff().reference(outputs_of(local, kernel, bias, labels))
    expected = reference.true_class_probability(local, kernel, bias, labels)
    np.testing.assert_allclose(asked, expected, rtol=1e-5)


def test_without_background_lff_is_cross_entropy_with_finite_gradients():
    local, kernel, bias, labels, _ = example()

    def loss(local):
        outputs = outputs_of(local, kernel, bias, labels)
        return objectives.lff(1e-9, reference="current").loss(outputs, KEY)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.float32(local))
    plain = cross_entropy_of(local, kernel, bias, labels)
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    chex.assert_tree_all_finite(gradient)


def test_features_that_are_zero_have_no_gradient():
    # ReLU maps are zero in places, where the norm alone has none that is finite.
    local = np.zeros((1, 3, D), np.float32)
    local[0, 1], local[0, 2] = 5.0, 0.1
    chosen = jnp.ones((1, 3), bool)
    for mu in (0.0, 1.0):
        gradient = jax.grad(lambda z, mu=mu: local_feature_loss(z, chosen, mu).total)(
            jnp.asarray(local)
        )
        chex.assert_tree_all_finite(gradient)
        norm = np.linalg.norm(local[0, 1])
        np.testing.assert_allclose(gradient[0, 1], local[0, 1] / norm, rtol=1e-5)
        assert (gradient[0, 0] == 0).all()
        assert (gradient[0, 2] == 0).all() == (mu == 1.0)  # below the margin


# SSOD


@pytest.mark.parametrize("gamma", [0.6, 0.8, 0.95])
def test_patches_are_labelled_as_in_equation_12(gamma):
    probability = np.random.default_rng(1).uniform(size=(B, 40)).astype(np.float32)
    probability[0, :4] = 0.0, 1.0, gamma, 1 - gamma
    found = jax.jit(functools.partial(patches_lib.sample_patches, gamma=gamma))(
        probability
    )
    labels = reference.patch_labels(probability, gamma)
    np.testing.assert_array_equal(found.inside, [[x == 1 for x in r] for r in labels])
    np.testing.assert_array_equal(found.outside, [[x == 0 for x in r] for r in labels])
    assert found.inside[0, 2]
    assert not found.outside[0, 3]


def test_resampling_draws_equally_many_of_either_kind_in_each_image():
    rng = np.random.default_rng(0)
    inside = rng.uniform(size=(50, 16)) < rng.uniform(size=(50, 1))
    outside = ~inside & (rng.uniform(size=(50, 16)) < 0.7)
    inside[0], outside[0] = False, True  # nothing to draw with
    found = patches_lib.Patches(jnp.asarray(inside), jnp.asarray(outside))
    draw = jax.jit(patches_lib.resample)
    drawn = [jax.device_get(draw(found, jax.random.key(i))) for i in range(30)]
    for one in drawn:
        assert not (one.inside & ~inside).any()
        assert not (one.outside & ~outside).any()
        counts = np.minimum(inside.sum(-1), outside.sum(-1))
        np.testing.assert_array_equal(one.inside.sum(-1), counts)
        np.testing.assert_array_equal(one.outside.sum(-1), counts)
    assert (drawn[0].outside != drawn[1].outside).any()
    again = draw(found, jax.random.key(0))
    np.testing.assert_array_equal(again.outside, drawn[0].outside)
    # No patch of the larger kind is preferred: over the draws, each is taken.
    row = np.flatnonzero((outside.sum(-1) > inside.sum(-1)) & (inside.sum(-1) > 4))[0]
    taken = np.mean([one.outside[row] for one in drawn], axis=0)[outside[row]]
    assert taken.min() > 0


def ood_part(balance, gamma=0.8, **options):
    local, kernel, bias, labels, head = example(scale=1.5)
    outputs = outputs_of(local, kernel, bias, labels, head)
    objective = objectives.ssod(gamma=gamma, balance=balance, **options)
    loss, parts = jax.jit(objective.loss)(outputs, KEY)
    return float(loss), jax.device_get(parts), (local, kernel, bias, labels, head)


@pytest.mark.parametrize(
    ("balance", "expected"),
    [("lwb", reference.loss_wise), ("lw", reference.loss_weighting)],
)
def test_ssod_is_equation_14(balance, expected):
    loss, parts, (local, kernel, bias, labels, head) = ood_part(balance, alpha=0.5)
    probability = reference.true_class_probability(local, kernel, bias, labels)
    patches = reference.patch_labels(probability, 0.8)
    flat = [label for row in patches for label in row]
    assert {0, 1, None} == set(flat)
    logits = local @ head["kernel"][:, 0] + head["bias"]
    ood = expected(logits, patches)
    np.testing.assert_allclose(parts["ood_loss"].total, ood, rtol=1e-5)
    plain = cross_entropy_of(local, kernel, bias, labels)
    np.testing.assert_allclose(loss, plain + 0.5 * ood, rtol=1e-5)
    assert parts["id_share"].total == flat.count(1)
    assert parts["ood_share"].total == flat.count(0)
    right = [
        (x > 0) == bool(label)
        for x, label in zip(np.ravel(logits), flat, strict=True)
        if label is not None
    ]
    np.testing.assert_allclose(parts["ood_accuracy"].total, sum(right))


@pytest.mark.parametrize("kind", ["inside", "outside"])
def test_a_part_that_is_empty_counts_as_zero_in_loss_wise_balance(kind):
    mask, none = jnp.ones((1, 3), bool), jnp.zeros((1, 3), bool)
    logit = jnp.array([[0.5, -1.0, 2.0]])
    patches = patches_lib.Patches(none, none)._replace(**{kind: mask})
    sign = -1 if kind == "inside" else 1
    expected = np.log1p(np.exp(sign * np.asarray(logit))).mean() / 2
    np.testing.assert_allclose(loss_wise(logit, patches, KEY), expected, rtol=1e-6)


def test_loss_weighting_is_loss_wise_balance_times_the_share_of_id_patches():
    _, wise, _ = ood_part("lwb")
    _, weighted, _ = ood_part("lw")
    inside, outside = wise["id_share"].total, wise["ood_share"].total
    factor = 2 * inside / (inside + outside)
    np.testing.assert_allclose(
        weighted["ood_loss"].total, factor * wise["ood_loss"].total, rtol=1e-5
    )


def test_the_factor_of_loss_weighting_weighs_the_background():
    local, kernel, bias, labels, head = example(scale=1.5)
    probability = reference.true_class_probability(local, kernel, bias, labels)
    labelled = reference.patch_labels(probability, 0.8)
    logits = local @ head["kernel"][:, 0] + head["bias"]
    ones, zeros = reference._cross_entropies(logits, labelled)
    _, parts, _ = ood_part("lw", factor=0.5)
    expected = (sum(ones) + 0.5 * sum(zeros)) / len(ones + zeros)
    np.testing.assert_allclose(parts["ood_loss"].total, expected, rtol=1e-5)
    assert "factor=0.5" in objectives.ssod(balance="lw", factor=0.5).spec
    assert "factor" not in objectives.ssod(balance="lw").spec


def test_data_resampling_is_the_mean_over_what_was_drawn():
    rng = np.random.default_rng(2)
    logit = jnp.float32(rng.normal(size=(B, 9)))
    inside = rng.uniform(size=(B, 9)) < 0.3
    patches = patches_lib.Patches(jnp.asarray(inside), jnp.asarray(~inside))
    drawn = patches_lib.resample(patches, KEY)
    labels = [
        [1 if i else 0 if o else None for i, o in zip(*rows, strict=True)]
        for rows in zip(*drawn, strict=True)
    ]
    ones, zeros = reference._cross_entropies(logit, labels)
    found = data_resampling(logit, patches, KEY)
    np.testing.assert_allclose(found, np.mean(ones + zeros), rtol=1e-5)


@pytest.mark.parametrize("balance", ["lwb", "lw", "dr"])
def test_without_patches_ssod_is_cross_entropy_with_finite_gradients(balance):
    local, kernel, bias, labels, head = example(scale=0.01)  # p = 1/3 everywhere

    def loss(local):
        outputs = outputs_of(local, kernel, 0 * bias, labels, head)
        return objectives.ssod(gamma=0.95, balance=balance).loss(outputs, KEY)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.float32(local))
    plain = cross_entropy_of(local, kernel, 0 * bias, labels)
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    chex.assert_tree_all_finite(gradient)


def test_both_terms_reach_the_network():
    local, kernel, bias, labels, head = example(scale=1.5)

    def extra(local, weights):
        given = {**head, "kernel": weights}
        outputs = outputs_of(local, kernel, bias, labels, given)
        return objectives.ssod(gamma=0.6).loss(outputs, KEY)[1]["ood_loss"].total

    gradients = jax.grad(extra, argnums=(0, 1))(
        jnp.float32(local), jnp.float32(head["kernel"])
    )
    for gradient in gradients:
        assert (gradient != 0).any()


def test_the_ood_head_is_begun_from_a_key():
    made = objectives.ssod().init(jax.random.key(0), 7)["ood_head"]
    chex.assert_shape([made["kernel"], made["bias"]], [(7, 1), (1,)])
    other = objectives.ssod().init(jax.random.key(1), 7)["ood_head"]
    assert (made["kernel"] != other["kernel"]).any()
    assert objectives.lff().init(KEY, 7) == {}


# Texts


@pytest.mark.parametrize("name", objectives.__all__)
def test_an_objective_is_its_text(name):
    spec = objectives.parse(name).spec
    assert spec.startswith(f"{name}(")
    assert objectives.parse(spec).spec == spec


def test_equal_objectives_have_one_text():
    assert objectives.lff(mu=1, lam=1).spec == objectives.lff().spec
    assert objectives.ssod(alpha=1).spec == objectives.ssod().spec


def test_the_samplers_of_the_pictures_are_those_of_the_losses():
    p = jnp.array([[0.0, 0.005, 0.2, 0.97]])
    found = objectives.lff(delta=0.01).sample(p)
    np.testing.assert_array_equal(found.outside, [[True, True, False, False]])
    assert not found.inside.any()
    found = objectives.ssod(gamma=0.75).sample(p)
    np.testing.assert_array_equal(found.outside, [[True, True, True, False]])
    np.testing.assert_array_equal(found.inside, [[False, False, False, True]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lfff", r"near: lff"),
        ("lff(delta=10)", r"fraction in \(0, 1\).*Signature: lff\(delta=0\.1"),
        ("lff(mu=-1)", "mu must be"),
        ("lff(reference='end')", "reference must be 'start' or 'current', got 'end'"),
        ("lff(nu=1)", r"unexpected keyword argument 'nu'.*signature"),
        ("ssod(gamma=0.5)", r"\(0\.5, 1\)"),
        ("ssod(balance='x')", "one of lwb, lw, dr"),
        ("ssod(alpha=-1)", "alpha must be"),
        ("ssod(balance='lw', factor=-1)", "factor must be"),
        ("ssod(factor=0.1)", "needs balance='lw', got 'lwb'"),
        ("lff(delta=x)", "must be literals"),
        ("lff(**x)", r"\*\* cannot be read"),
        ("lff(", "cannot read the objective"),
        ("lff|ssod", "expected an objective"),
        ("", "cannot read the objective"),
        ("(" * 9000 + "lff" + ")" * 9000, "cannot read"),
        ("lff(mu=" + "-" * 15000 + "1)", "nested this deeply"),
        ("lff(mu=" + "1+" * 9000 + "1)", "nested this deeply"),
    ],
)
def test_bad_objectives_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)


# Memory


@pytest.mark.parametrize(
    "name", ["lff(reference='current')", "ssod", "ssod(balance='dr')"]
)
def test_the_logits_of_all_locations_are_held_at_most_once(name):
    batch, locations, width, classes = 8, 64, 16, 1000
    objective = objectives.parse(name)

    def loss(local, kernel, head):
        outputs = outputs_of(
            local, kernel, np.zeros(classes), np.zeros(batch, int), head
        )
        return objective.loss(outputs, KEY)[0]

    shapes = (
        jax.ShapeDtypeStruct((batch, locations, width), jnp.float32),
        jax.ShapeDtypeStruct((width, classes), jnp.float32),
        {
            "kernel": jax.ShapeDtypeStruct((width, 1), jnp.float32),
            "bias": jax.ShapeDtypeStruct((1,), jnp.float32),
        },
    )
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()
    logits = 4 * batch * locations * classes
    held = compiled.memory_analysis().temp_size_in_bytes
    assert held < 2 * logits, f"{held / logits:.1f} times the logits of all locations"
    made = re.findall(rf"f32\[{batch},{locations},{classes}\]", compiled.as_text())
    assert made, "the shape to look for has changed"


# From outside


@pytest.fixture
def registry(monkeypatch):
    """A registry that forgets what a test adds."""
    monkeypatch.setattr(objectives, "_FACTORIES", dict(objectives._FACTORIES))


def halved(share: float = 0.5) -> objectives.Objective:
    whole = objectives.cross_entropy()

    def loss(outputs, key):
        return share * whole.loss(outputs, key)[0], {}

    return objectives.Objective(f"halved(share={share})", loss)


@pytest.mark.usefixtures("registry")
def test_an_objective_from_outside_is_known_by_its_name():
    with pytest.raises(ValueError, match="unknown objective 'halved'"):
        objectives.parse("halved")
    assert objectives.register(halved) is halved
    assert objectives.register(halved) is halved  # a cell that runs again
    assert objectives.parse("halved(share=0.25)").spec == "halved(share=0.25)"
    assert objectives.names() == (*objectives.__all__, "halved")
    assert config.TrainConfig(objective="halved").objective == "halved(share=0.5)"
    with pytest.raises(ValueError, match=r"near: halved.*all: cider, cross_entropy"):
        objectives.parse("halve")


@pytest.mark.usefixtures("registry")
def test_a_name_that_is_taken_is_refused():
    def lff():
        return halved()

    message = r"'lff' exists already, in jood\.training\.objectives\.lff.*another name"
    with pytest.raises(ValueError, match=message):
        objectives.register(lff)
    with pytest.raises(ValueError, match="needs a name for its text, got '<lambda>'"):
        objectives.register(lambda: halved())


@pytest.mark.parametrize("name", objectives.__all__)
def test_what_an_objective_adds_to_validation_and_tables_are_scores(name):
    objective = objectives.parse(name)
    for text in (*objective.validation.values(), *objective.rows.values()):
        part = detector_text.parse(text)
        assert part.slot == "score"
        own = [read for read in part.reads if added_heads.MARK in read]
        assert not own or set(own) & added(objective, KEY, 4, 8).keys()
