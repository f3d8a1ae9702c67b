"""`chain`, `fuse` and `bundle`: what they compute, and what they refuse."""

import chex
from helpers import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import testing
from jood.core import activations
from jood.core import component
from jood.core.backbones import observing
from jood.core.compose import bundle
from jood.core.compose import chain
from jood.core.compose import fuse
from jood.core.fitting import fit
from jood.methods import detector_text
from jood.methods.scores import energy
from jood.methods.scores import feature_sim
from jood.methods.scores import max_logit
from jood.methods.scores import msp
from jood.methods.transforms import react
from jood.methods.transforms import ta
from jood.methods.transforms import temperature


def _acts(rows=8, seed=0):
    rng = np.random.default_rng(seed)
    return activations.Activations.of(
        rng.uniform(0, 3, (rows, 5)).astype(np.float32),
        rng.normal(size=(5, 3)).astype(np.float32),
        np.array([0.5, -0.5, 0.0], np.float32),
        stages={"C5": rng.uniform(0, 2, (rows, 2, 2, 5)).astype(np.float32)},
    )


def _toy(edits=()):
    images, labels = testing.toy_images(6, seed=3, ood=True)
    return observing.observe(
        testing.ToyNet(),
        testing.toy_variables(),
        jnp.asarray(images),
        edits=edits,
        labels=jnp.asarray(labels),
    )


def _constant(value):
    return component.score("constant()", lambda acts: jnp.full(len(acts.logits), value))


# Slot order.


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("temperature() | react(clip=1.0)", "temperature", "react"),
        ("energy() | msp()", "energy", "msp"),
        ("energy() | temperature()", "energy", "temperature"),
        ("bundle(a=msp()) | react(clip=1.0)", "bundle", "react"),
        ("react(clip=1.0) | ta()", "react", "ta"),
        ("temperature() | chain(react(clip=1.), energy())", "temperature", "react"),
        ("temperature() | bundle(a=msp(), b=react()|msp())", "temperature", "bundle"),
        ("react() | fuse(ta()|msp(), msp(), weights=(1, 1))", "react", "fuse"),
    ],
)
def test_chain_out_of_order_names_both_parts(text, first, second):
    with pytest.raises(ValueError, match=rf"^{first}\(.*\b{second}\("):
        detector_text.parse(text)


def test_chain_in_slot_order_may_repeat_slots():
    part = chain(ta(), react(), react(clip=1.0), temperature(T=2.0), msp())
    assert part.slot == "score"
    assert part.entry == "stage"


def test_component_of_unknown_slot_raises():
    with pytest.raises(ValueError, match=r"slot must be one of .*got 'logits'"):
        component.stateless("x()", "logits", lambda acts: acts)


# What compositions compute.


def test_chain_is_associative():
    a, b, c = react(q=0.7), temperature(T=2.0), energy()
    flat = chain(a, b, c)
    acts = _acts()
    expected = compiled.apply(flat, fit(flat, [acts]), acts)
    for nested in (chain(chain(a, b), c), chain(a, chain(b, c))):
        assert nested.spec == flat.spec
        actual = compiled.apply(nested, fit(nested, [acts]), acts)
        np.testing.assert_array_equal(actual, expected)


def test_chain_fits_each_part_on_what_the_parts_before_it_rewrote():
    fitted = fit(chain(react(clip=0.5), react(q=0.999), energy()), [_acts()])
    np.testing.assert_allclose(fitted, [0.5], rtol=1e-3)  # not about 3


def test_fuse_is_the_weighted_sum():
    acts = _acts()
    logits = np.asarray(acts.logits, np.float64)
    exponents = np.exp(logits)
    expected = 2.0 * (exponents / exponents.sum(1, keepdims=True)).max(1)
    expected += -0.5 * logits.max(1) + 0.1 * np.log(exponents.sum(1))
    fused = fuse(msp(), max_logit(), energy(), weights=(2.0, -0.5, 0.1))
    actual = compiled.apply(fused, (), acts)
    chex.assert_shape(actual, (8,))
    chex.assert_type(actual, jnp.float32)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_scale_weights_are_ratios_of_standard_deviations():
    batches = [_acts(seed=s) for s in (1, 2, 3)]
    parts = (feature_sim(), chain(react(clip=1.0), energy()))
    trained = [
        np.concatenate(
            [np.asarray(compiled.apply(p, (), a), np.float64) for a in batches]
        )
        for p in parts
    ]
    fused = fuse(*parts, weights="scale")
    fitted = fit(fused, batches)
    acts = _acts(seed=4)
    first, second = (np.asarray(compiled.apply(p, (), acts)) for p in parts)
    expected = first + trained[0].std() / trained[1].std() * second
    np.testing.assert_allclose(compiled.apply(fused, fitted, acts), expected, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -1234.567])
@pytest.mark.parametrize("rows", [7, 100])
def test_scale_weights_refuse_a_constant_score(value, rows):
    fused = fuse(max_logit(), _constant(value), weights="scale")
    with pytest.raises(ValueError, match=r"constant\(\) is\s+constant"):
        fit(fused, [_acts(rows), _acts(rows, seed=1)])


def test_bundle_gives_each_part_under_its_name():
    acts = _acts()
    both = bundle(cold=msp(), hot=chain(temperature(T=2.0), msp()))
    actual = compiled.apply(both, (), acts)
    assert list(actual) == ["cold", "hot"]
    probabilities = jax.nn.softmax(acts.logits)
    chex.assert_trees_all_close(actual["cold"], probabilities.max(-1))
    hot = jax.nn.softmax(acts.logits / 2.0).max(-1)
    chex.assert_trees_all_close(actual["hot"], hot)


@pytest.mark.slow
def test_bundle_of_fuses_of_chains_equals_its_parts_fitted_separately():
    parts = {
        "scaled": "fuse(react(q=0.8)|energy(), feature_sim(), weights='scale')",
        "chained": "react(q=0.5)|temperature(T=3.0)|msp()",
        "plain": "max_logit()",
        "nested": "fuse(fuse(feature_sim(), react(q=0.6)|msp(), weights='scale'), "
        "max_logit(), weights='scale')",
    }
    parts = {name: detector_text.parse(text) for name, text in parts.items()}
    batches = [_acts(seed=1), _acts(seed=2)]
    acts = _acts(seed=3)
    together = bundle(**parts)
    actual = compiled.apply(together, fit(together, batches), acts)
    for name, part in parts.items():
        expected = compiled.apply(part, fit(part, batches), acts)
        np.testing.assert_allclose(actual[name], expected, rtol=1e-6, err_msg=name)


def test_bundle_asks_for_each_distinct_edit_once():
    parts = (chain(ta(k=0.2), msp()), chain(ta(k=0.2), energy()), chain(ta(k=1), msp()))
    both = bundle(**{f"d{i}": part for i, part in enumerate(parts)})
    assert [path[0].spec for path in both.edits] == [ta(k=0.2).spec, ta(k=1).spec]


def test_edits_of_branches_follow_the_edit_before_them():
    """TA at C3 stands before both branches, which have each another at C4."""
    first, second = ta(k=0.01, stage="C3"), ta(k=0.02)
    both = chain(
        first, bundle(a=chain(second, feature_sim()), b=chain(ta(k=0.1), feature_sim()))
    )
    a, b = chain(first, second, feature_sim()), chain(first, ta(k=0.1), feature_sim())
    assert both.edits == a.edits + b.edits
    assert [[e.spec for e in path] for path in a.edits] == [[first.spec, second.spec]]
    actual = compiled.apply(both, (), _toy(both.edits))
    for name, part in (("a", a), ("b", b)):
        expected = compiled.apply(part, (), _toy(part.edits))
        np.testing.assert_allclose(actual[name], expected, rtol=1e-5)
    assert not np.allclose(actual["a"], actual["b"], rtol=1e-3)


# What is refused.


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), ()])
def test_fuse_needs_one_weight_per_part(weights):
    with pytest.raises(ValueError, match="one weight per part: 2 parts"):
        fuse(msp(), energy(), weights=weights)


@pytest.mark.parametrize("bad", [float("nan"), np.float32("nan"), np.inf, "1", None])
def test_fuse_weights_must_be_finite_numbers(bad):
    with pytest.raises(ValueError, match="weight must be a finite number"):
        fuse(msp(), energy(), weights=(1, bad))


def test_fuse_knows_one_rule_for_weights():
    with pytest.raises(ValueError, match=r"'scale' or one number per part.*'auto'"):
        fuse(msp(), energy(), weights="auto")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("fuse(msp(), weights=(1,))", "at least two"),
        ("fuse(msp(), react(), weights=(1, 1))", r"react\(q=0.9\) \(slot feature\)"),
        ("fuse(msp(), bundle(a=msp()), weights=(1, 1))", "got the bundle"),
        ("bundle(a=bundle(b=msp()))", "got the bundle"),
        ("bundle(a=temperature())", r"temperature\(T=1.0\) \(slot logit\)"),
        ("bundle()", "at least one"),
        ("chain()", "at least one"),
    ],
)
def test_fuse_and_bundle_take_single_scores_only(text, match):
    with pytest.raises(ValueError, match=match):
        detector_text.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "react(q=0.5)|energy()",
        "fuse(react(q=0.5)|energy(), msp(), weights=(1, 1))",
        "fuse(msp(), energy(), weights='scale')",
        "bundle(a=msp(), b=react(q=0.5)|energy())",
    ],
)
def test_unfitted_composition_raises(text):
    with pytest.raises(
        component.NotFittedError, match=r"pass\(es\) but got 0.*jood\.fit"
    ):
        detector_text.parse(text).apply((), _acts())


# Traced hyper-parameters.


@pytest.mark.parametrize(
    "make",
    [
        lambda v: chain(ta(k=v), feature_sim()),
        lambda v: chain(ta(k=v), ta(k=v, stage="C5"), energy()),
        lambda v: chain(react(clip=v), energy()),
        lambda v: chain(temperature(T=v), msp()),
        lambda v: energy(T=v),
        lambda v: fuse(feature_sim(), energy(), weights=(1.0, v)),
        lambda v: fuse(chain(ta(k=v), energy()), msp(), weights=(v, 1)),
    ],
)
def test_traced_sweep_compiles_once_and_equals_eager(make):
    traces = []

    @jax.jit
    def sweep(value):
        traces.append(value)
        part = make(value)
        return part.apply((), _toy(part.edits))

    results = []
    for value in (0.25, 0.5, 1.5):
        part = make(value)
        results.append(np.asarray(sweep(value)))
        expected = part.apply((), _toy(part.edits))
        np.testing.assert_allclose(results[-1], expected, rtol=2e-5)
    assert len(traces) == 1
    assert not np.allclose(results[0], results[2], rtol=1e-4)


def test_vmapped_sweep_equals_a_loop():
    def score(k):
        part = chain(ta(k=k), feature_sim())
        return part.apply((), _toy(part.edits))

    ks = (0.1, 0.4, 0.9)
    swept = jax.vmap(score)(jnp.array(ks))
    chex.assert_shape(swept, (3, 6))
    np.testing.assert_allclose(swept, [score(k) for k in ks], rtol=2e-5)


def test_two_traced_edits_in_one_program_stay_distinct():
    def make(first, second):
        return bundle(
            a=chain(ta(k=first), feature_sim()), b=chain(ta(k=second), feature_sim())
        )

    @jax.jit
    def score(first, second):
        part = make(first, second)
        assert len(part.edits) == 2
        return part.apply((), _toy(part.edits))

    part = make(0.1, 1.0)
    expected = part.apply((), _toy(part.edits))
    actual = score(0.1, 1.0)
    chex.assert_trees_all_close(actual, expected, rtol=2e-5)
    assert not np.allclose(actual["a"], actual["b"], rtol=1e-3)
