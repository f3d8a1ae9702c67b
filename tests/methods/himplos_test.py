"""HIMPLoS (feature mask, prototype smoothing), DICE and LINE against the reference."""

import chex
from helpers import compiled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import papers as reference

import jood
from jood import testing
from jood import transforms
from jood.methods import detector_text
from jood.methods import preset_values

D, K, N = 20, 4, 120
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(D, K)).astype(np.float32)
BIAS = RNG.normal(size=K).astype(np.float32)
LABELS = np.arange(N).astype(np.int32) % K


def features(rows, seed):
    rng = np.random.default_rng(seed)
    return rng.gamma(0.5, 1.0, (rows, D)).astype(np.float32)


TRAIN = jood.Activations.of(features(N, 1), KERNEL, BIAS, labels=LABELS)
TEST = jood.Activations.of(features(16, 2), KERNEL, BIAS)
MEANS = reference.prototypes(TRAIN.penultimate, LABELS, K)
close = chex.assert_trees_all_close


def scores(text, train=TRAIN, test=TEST):
    component = jood.parse(text)
    return np.asarray(compiled.apply(component, jood.fit(component, [train]), test))


@pytest.mark.parametrize("q", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_feature_mask_keeps_what_weighs_most_for_the_class(q):
    acts = compiled.apply(transforms.feature_mask(q), (), TEST)
    expected = reference.feature_mask(TEST.penultimate, KERNEL, TEST.prediction, q)
    close(acts.penultimate, expected.astype(np.float32))
    kept = D - int(np.round(q * D))
    assert ((np.asarray(acts.penultimate) > 0).sum(-1) <= kept).all()
    close(acts.original, TEST.penultimate)
    close(acts.prediction, TEST.prediction)


def test_feature_mask_breaks_ties_by_the_lower_index():
    acts = jood.Activations.of(jnp.ones((1, 4)), jnp.ones((4, 2)), [1.0, 0.0])
    masked = compiled.apply(transforms.feature_mask(q=0.5), (), acts)
    np.testing.assert_array_equal(masked.penultimate, [[1.0, 1.0, 0.0, 0.0]])


def test_feature_mask_s_fraction_may_be_traced():
    def masked(q):
        return transforms.feature_mask(q).apply((), TEST).penultimate

    for q in (0.1, 0.6):
        np.testing.assert_array_equal(jax.jit(masked)(q), masked(q))


@pytest.mark.parametrize(("q", "clip"), [(0.3, 0.8), (0.6, 1.6)])
def test_himplos_is_the_paper_s_equation_11(q, clip):
    text = f"feature_mask(q={q})|react(clip={clip})|prototype_smoothing()|energy()"
    expected = reference.himplos(TEST.penultimate, KERNEL, BIAS, MEANS, q, clip)
    np.testing.assert_allclose(scores(text), expected, rtol=2e-5, atol=1e-5)


def test_smoothing_scales_the_logits_bias_included():
    component = transforms.prototype_smoothing()
    fitted = jood.fit(component, [TRAIN])
    out = compiled.apply(component, fitted, TEST)
    cosines = [
        reference.cosine(h, MEANS[c])
        for h, c in zip(TEST.penultimate, TEST.prediction, strict=True)
    ]
    expected = np.array(cosines)[:, None] * np.asarray(TEST.logits)
    np.testing.assert_allclose(out.logits, expected, rtol=2e-5, atol=1e-6)


def test_smoothing_reads_the_unmodified_feature_and_prediction():
    component = transforms.prototype_smoothing()
    fitted = jood.fit(component, [TRAIN])
    changed = TEST.with_penultimate(TEST.penultimate[:, ::-1])
    factor = compiled.apply(component, fitted, TEST).logits / TEST.logits
    close(
        compiled.apply(component, fitted, changed).logits,
        factor * changed.logits,
        rtol=1e-5,
    )


def test_smoothing_leaves_a_class_without_examples_as_it_is():
    component = transforms.prototype_smoothing()
    some = jood.Activations.of(
        TRAIN.penultimate, KERNEL, BIAS, labels=np.minimum(LABELS, K - 2)
    )
    match = r"prototype_smoothing needs at least 1 .*1 of 4 classes.*\(class 3\)"
    with pytest.warns(UserWarning, match=match):
        fitted = jood.fit(component, [some])
    out = compiled.apply(component, fitted, TEST)
    unknown = np.asarray(TEST.prediction) == K - 1
    assert 0 < unknown.sum() < len(unknown)
    np.testing.assert_array_equal(out.logits[unknown], TEST.logits[unknown])
    assert (np.asarray(out.logits)[~unknown] != TEST.logits[~unknown]).any()


def test_the_cosine_by_itself_is_figure_5_s_score():
    expected = [
        reference.cosine(h, MEANS[c])
        for h, c in zip(TEST.penultimate, TEST.prediction, strict=True)
    ]
    np.testing.assert_allclose(scores("prototype_cosine()"), expected, rtol=2e-5)
    clipped = np.minimum(TEST.penultimate, 1.0)
    means = reference.prototypes(np.minimum(TRAIN.penultimate, 1.0), LABELS, K)
    expected = [
        reference.cosine(h, means[c])
        for h, c in zip(clipped, TEST.prediction, strict=True)
    ]
    found = scores("react(clip=1.0)|prototype_cosine()")
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_the_cosine_of_a_class_without_examples_is_zero():
    some = jood.Activations.of(
        TRAIN.penultimate, KERNEL, BIAS, labels=np.minimum(LABELS, K - 2)
    )
    with pytest.warns(UserWarning, match=r"prototype_cosine\(\) .*score 0"):
        found = scores("prototype_cosine()", train=some)
    unknown = np.asarray(TEST.prediction) == K - 1
    np.testing.assert_array_equal(found[unknown], 0.0)
    assert (found[~unknown] > 0).all()


TEXTS = ["prototype_smoothing()|energy()", "line()|energy()", "prototype_cosine()"]


@pytest.mark.parametrize("text", TEXTS)
def test_methods_per_class_say_that_they_need_labels(text):
    unlabelled = jood.Activations.of(TRAIN.penultimate, KERNEL, BIAS)
    with pytest.raises(ValueError, match=r"needs labels.*\(images, labels\)"):
        scores(text, train=unlabelled)


@pytest.mark.parametrize("q", [0.1, 0.7, 0.9])
def test_dice_keeps_the_reference_s_weights(q):
    component = transforms.dice(q)
    fitted = jood.fit(component, [TRAIN])
    expected = reference.dice_mask(TRAIN.penultimate, KERNEL, q)
    np.testing.assert_array_equal(fitted[0], expected)
    assert expected.mean() == pytest.approx(1 - q, abs=0.02)
    out = compiled.apply(component, fitted, TEST)
    close(out.kernel, np.where(expected, KERNEL, 0.0))
    logits = np.asarray(TEST.penultimate) @ np.where(expected, KERNEL, 0.0) + BIAS
    close(out.logits, logits.astype(np.float32), rtol=1e-5, atol=1e-5)


def test_dice_after_react_is_fitted_on_clipped_features():
    component = jood.parse("react(clip=1.0)|dice(q=0.5)")
    fitted = jood.fit(component, [TRAIN])
    expected = reference.dice_mask(np.minimum(TRAIN.penultimate, 1.0), KERNEL, 0.5)
    np.testing.assert_array_equal(fitted[-1], expected)


def test_dice_with_a_clip_takes_contributions_of_unclipped_features():
    component = transforms.dice(q=0.5, clip=1.0)
    fitted = jood.fit(component, [TRAIN])
    expected = reference.dice_mask(TRAIN.penultimate, KERNEL, 0.5)
    np.testing.assert_array_equal(fitted[0], expected)
    out = compiled.apply(component, fitted, TEST)
    clipped = np.minimum(TEST.penultimate, 1.0)
    logits = clipped @ np.where(expected, KERNEL, 0.0) + BIAS
    close(out.logits, logits.astype(np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("q_a", "q_w", "clip"), [(0.1, 0.1, 0.8), (0.9, 0.9, 1.0), (0.1, 0.9, 1.0)]
)
def test_line_is_the_reference(q_a, q_w, clip):
    component = transforms.line(q_a, q_w, clip)
    out = compiled.apply(component, jood.fit(component, [TRAIN]), TEST)
    args = (KERNEL, BIAS, MEANS, q_a, q_w, clip)
    expected = reference.line(TEST.penultimate, *args)
    np.testing.assert_allclose(out.logits, expected, rtol=2e-5, atol=2e-5)


def test_line_masks_nothing_for_a_class_without_examples():
    component = transforms.line(clip=0.8)
    some = jood.Activations.of(
        TRAIN.penultimate, KERNEL, BIAS, labels=np.minimum(LABELS, K - 2)
    )
    with pytest.warns(UserWarning, match=r"line needs.*class 3.*not masked"):
        fitted = jood.fit(component, [some])
    out = compiled.apply(component, fitted, TEST)
    clipped = np.minimum(TEST.penultimate, 0.8)
    plain = clipped @ KERNEL + BIAS
    unknown = plain.argmax(-1) == K - 1
    assert unknown.any()
    np.testing.assert_allclose(out.logits[unknown], plain[unknown], rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("feature_mask(q=60)", "q must be a fraction"),
        ("dice(q=1.0)", "q must be a fraction"),
        ("dice(clip=0)", "clip must be a finite number above 0"),
        ("line(q_a=0.0)", "q_a must be a fraction"),
        ("line(q_w=90)", "q_w must be a fraction"),
        ("line(clip=float)", "literals"),
        ("temperature(T=2.0)|dice()|energy()", "effect of temperature.*vanish"),
        ("prototype_smoothing()|react()|energy()", "effect of prototype_.*vanish"),
        ("dice()|line()|energy()", "effect of dice.*vanish"),
        ("energy()|prototype_smoothing()", "already returns a score"),
    ],
)
def test_what_makes_no_sense_is_refused(text, match):
    with pytest.raises(ValueError, match=match):
        jood.parse(text)


@pytest.mark.parametrize(
    ("benchmark", "backbone", "q", "clip"),
    [
        ("cifar10", "densenet100_cifar", 0.6, "clip=1.6"),
        ("cifar100", "densenet100_cifar", 0.6, "clip=1.6"),
        ("cifar10", "resnet18_cifar", 0.6, "clip=1.0"),
        ("cifar100", "", 0.6, "clip=1.0"),
        ("imagenet", "resnet50", 0.3, "clip=0.8"),
        ("imagenet", "", 0.3, "clip=0.8"),
        ("imagenet", "mobilenet_v2", 0.3, "clip=0.2"),
        ("imagenet", "vit_b16", 0.3, "q=0.9"),  # none is published
    ],
)
def test_himplos_presets_have_the_papers_values(benchmark, backbone, q, clip):
    spec_text = jood.parse("himplos", benchmark, backbone).spec
    expected = f"feature_mask(q={q})|react({clip})|prototype_smoothing()|energy(T=1.0)"
    assert spec_text == expected


@pytest.mark.parametrize(
    ("benchmark", "values"),
    [("cifar10", (0.9, 0.9, 1.0)), ("cifar100", (0.1, 0.9, 1.0))],
)
def test_line_presets_have_the_papers_values(benchmark, values):
    q_a, q_w, clip = values
    line = f"line(q_a={q_a}, q_w={q_w}, clip={clip})"
    expected = f"{line}|prototype_smoothing()|energy(T=1.0)"
    assert jood.parse("line_ls", benchmark).spec == expected


@pytest.mark.parametrize("benchmark", preset_values.BENCHMARKS)
def test_the_table_of_everything_is_readable_and_has_the_default_rows(benchmark):
    everything = jood.presets.everything(benchmark)
    assert set(jood.presets.table(benchmark)) <= set(everything)
    parsed = [detector_text.parse(text) for text in everything.values()]
    assert {part.slot for part in parsed} == {"score"}
    used = " ".join(part.spec for part in parsed)
    missing = {n for n in detector_text.factories() if f"{n}(" not in used}
    assert missing == set()


@pytest.mark.slow
def test_himplos_runs_on_the_network_with_threshold_activation_before_it():
    text = (
        "ta(k=0.2)|feature_mask(q=0.3)|react(clip=0.8)|prototype_smoothing()|energy()"
    )
    detector = jood.Detector(text, testing.ToyNet(), testing.toy_variables())
    images, labels = testing.toy_images(64, seed=0)
    detector = detector.fit([(images, labels)])
    inside = detector(testing.toy_images(32, seed=1)[0])
    outside = detector(testing.toy_images(32, seed=2, ood=True)[0])
    assert jood.metrics.auroc(inside, outside) > 0.9
