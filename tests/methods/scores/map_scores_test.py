"""Gram, FeatureNorm, RankFeat and pixel MSP: references, golden scores, edge cases."""

import functools

import chex
from flax import linen as nn
from helpers import compiled
from helpers import golden_cases
from helpers import golden_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps
from scipy import special

import jood
from jood import testing
from jood.core.stats import reservoir
from jood.methods.scores import feature_map
from jood.methods.scores import feature_sim
from jood.methods.scores.feature_norm import feature_norm
from jood.methods.scores.feature_norm import feature_norm_selected
from jood.methods.scores.feature_norm import jigsaw
from jood.methods.scores.feature_norm import norm
from jood.methods.scores.feature_norm import norm_ratios
from jood.methods.scores.gram import gram
from jood.methods.scores.gram import gram_statistic
from jood.methods.scores.pixel_msp import mean_confidence
from jood.methods.scores.pixel_msp import pixel_msp
from jood.methods.scores.rankfeat import rankfeat
from jood.methods.scores.rankfeat import remove_first_component
from jood.methods.transforms import react
from jood.methods.transforms import ta


def _maps(shape=(4, 5, 6, 7), seed=0):
    z = np.random.default_rng(seed).normal(0.3, 1, shape)
    z[0, 0, 0] = 0  # a location without any activation
    return z.astype(np.float32)


@functools.cache
def _golden_scores(folder, component):
    model, variables = golden_network.load(folder)

    @jax.jit
    def score(images):
        acts = jood.observe(
            model,
            variables,
            images,
            edits=component.edits,
            needs_network=component.needs_network,
            taps=golden_network.TAPS,
        )
        return component.apply((), acts)

    return np.asarray(score(golden_network.test_images(folder)), np.float64)


C4_ALONE, C5_ALONE, BOTH = rankfeat(("C4",)), rankfeat(("C5",)), rankfeat()


@pytest.mark.parametrize(
    ("pattern", "component", "tolerance"),
    [
        ("featurenorm_block4__.*", feature_norm(), 1e-4),
        ("featurenorm_block3__.*", feature_norm("C4"), 1e-4),
        ("rankfeat_fused34__.*", BOTH, 1e-4),
        # the peer's power iteration starts at random and stops after 20 steps
        ("rankfeat_fused34_poweriter__.*", BOTH, 2e-4),
        ("rankfeat_block4__.*", C5_ALONE, 1e-4),
        ("rankfeat_block3__.*", C4_ALONE, 1e-4),
    ],
)
def test_scores_of_peers(golden_dir, pattern, component, tolerance):
    for key, golden in golden_cases.keys_of_network(golden_dir, pattern).items():
        sign = -1 if key.endswith("__pytorch_ood") else 1
        got = sign * _golden_scores(golden_dir, component)
        error = np.abs(got - golden).max() / golden.std()
        assert error <= tolerance, f"{key}: {error:.1e} std"


# Gram


@pytest.mark.parametrize("statistic", ["mean", "std", "mad"])
@pytest.mark.parametrize("block", [1, 4 * 30 * 7, 1 << 24])
def test_gram_equals_the_reference_in_any_block_size(monkeypatch, statistic, block):
    monkeypatch.setattr(feature_map, "_BLOCK", block)
    got = jax.jit(gram_statistic, static_argnums=1)(_maps(), statistic)
    chex.assert_shape(got, (4,))
    expected = reference_maps.gram(_maps(), statistic)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_gram_of_two_orthogonal_locations():
    z = jnp.array([[[[3.0, 0.0], [0.0, 0.5]]]])  # cosines 1, 0, 0, 1
    for statistic in ("mean", "std", "mad"):
        np.testing.assert_allclose(gram_statistic(z, statistic), 0.5, rtol=1e-6)


def test_gram_reads_tokens_and_its_stage_and_only_the_direction():
    component = gram(statistic="std", stage="C4")
    assert component.spec == "gram(statistic='std', stage='C4')"
    acts = testing.toy_activations(component, testing.toy_images(3, 0)[0])
    expected = jax.jit(gram_statistic, static_argnums=1)(acts.stages["C4"], "std")
    np.testing.assert_array_equal(compiled.apply(component, (), acts), expected)
    tokens = _maps().reshape(4, 30, 7)
    program = jax.jit(gram_statistic, static_argnums=1)
    np.testing.assert_allclose(
        program(5 * tokens, "mad"), program(_maps(), "mad"), rtol=1e-5
    )


def test_the_mean_of_gram_is_below_chance_and_the_others_above():
    """Table 16."""
    inside, outside = testing.toy_images(64, 1)[0], testing.toy_images(64, 2, True)[0]
    for statistic, good in (("mean", False), ("std", True), ("mad", True)):
        program = jax.jit(functools.partial(gram_statistic, statistic=statistic))
        area = jood.metrics.auroc(program(inside), program(outside))
        assert (area > 0.5) == good, statistic


@pytest.mark.parametrize("statistic", ["median", "", None, 1])
def test_gram_refuses_another_statistic(statistic):
    with pytest.raises(ValueError, match="expected statistic 'mad', 'std' or 'mean'"):
        gram(statistic=statistic)


# FeatureNorm


def test_feature_norm_equals_the_reference():
    np.testing.assert_allclose(
        norm(_maps()), reference_maps.feature_norm(_maps()), rtol=1e-5
    )
    literal = jnp.array([[[[3.0, -1.0], [4.0, -1.0]]]])
    np.testing.assert_allclose(norm(literal), 2.5)  # (5 + 0) / 2


@pytest.mark.parametrize(("size", "grid"), [((4, 4), 2), ((4, 4), 4), ((7, 10), 3)])
def test_a_jigsaw_moves_whole_pieces(size, grid):
    h, w = size[0] // grid, size[1] // grid
    images = np.arange(2 * size[0] * size[1] * 3, dtype=np.float32)
    images = images.reshape(2, *size, 3)
    out = np.asarray(jax.jit(jigsaw, static_argnums=1)(images, grid))
    chex.assert_shape(out, images.shape)
    for before, after in zip(images, out, strict=True):

        def pieces(image):
            return [
                image[i * h : (i + 1) * h, j * w : (j + 1) * w].tobytes()
                for i in range(grid)
                for j in range(grid)
            ]

        assert pieces(before) != pieces(after)
        assert sorted(pieces(before)) == sorted(pieces(after))
        # what the grid does not divide stays
        np.testing.assert_array_equal(after[grid * h :], before[grid * h :])
        np.testing.assert_array_equal(after[:, grid * w :], before[:, grid * w :])


def test_a_jigsaw_depends_on_the_image_alone():
    images = np.random.default_rng(0).normal(size=(6, 9, 9, 3)).astype("f")
    program = jax.jit(jigsaw)
    whole = np.asarray(program(images))
    np.testing.assert_array_equal(program(images[::-1]), whole[::-1])
    np.testing.assert_array_equal(program(images[2:3]), whole[2:3])
    hashes = compiled.run(reservoir.row_hash, images.reshape(6, -1))
    assert len(set(np.asarray(hashes).tolist())) == 6


def test_a_jigsaw_of_a_tiny_image_is_refused():
    with pytest.raises(ValueError, match=r"3 x 3 pieces needs images.*got 2 x 9"):
        jigsaw(jnp.zeros((1, 2, 9, 3)))


class _Stage(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(x)
        if self.width == 1:
            return x
        return nn.avg_pool(x, (self.width,) * 2, padding="SAME")


class _Blurred(nn.Module):
    """C2 copies, C3 blurs, C4 copies a wider blur: puzzles weaken what is blurred."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, images):
        x = images
        for i, width in enumerate(self.widths):
            _Stage(width, name=f"C{i + 2}")(x)  # each reads the image itself
        return nn.Dense(2, name="head")(x.mean((1, 2)))


HEAD = {
    "params": {"head": {"kernel": np.eye(3, 2, dtype="f"), "bias": np.zeros(2, "f")}}
}


def _blobs(count, seed=0):
    images = np.zeros((count, 12, 12, 3), np.float32)
    images[:, 2:10, 2:10] = np.random.default_rng(seed).uniform(1, 2, (count, 1, 1, 3))
    return images


@pytest.mark.parametrize(
    ("widths", "best"), [((1, 5, 1), "C3"), ((5, 1, 3), "C2"), ((1, 1, 1), "C4")]
)
def test_the_stage_with_the_largest_norm_ratio_is_read(widths, best):
    detector = jood.Detector(feature_norm_selected(), _Blurred(widths), HEAD)
    detector = detector.fit([_blobs(10), _blobs(6, seed=1)])
    names = ["C2", "C3", "C4"]
    expected = np.eye(3, dtype=np.float32)[names.index(best)]
    np.testing.assert_array_equal(detector.fitted[0], expected)
    chex.assert_type(detector.fitted[0], jnp.float32)
    plain = jood.Detector(feature_norm(best), _Blurred(widths), HEAD)
    np.testing.assert_allclose(detector(_blobs(4, 2)), plain(_blobs(4, 2)), rtol=1e-6)


def test_norm_ratios_are_means_of_ratios_of_images():
    component = feature_norm_selected()
    images = _blobs(5)
    mean = component.passes[0](())

    @jax.jit
    def program(images, mask):
        model = _Blurred((1, 5))
        acts = jood.observe(model, HEAD, images, needs_network=True)
        puzzle = jood.observe(model, HEAD, jigsaw(images))
        state = mean.update(mean.init(acts), acts, mask)
        return acts.stages, puzzle.stages, norm_ratios(acts), state

    plain, puzzle, ratios, state = jax.device_get(
        program(images, np.array([1, 1, 0, 0, 0], "f"))
    )
    for column, stage in enumerate(("C2", "C3")):
        expected = reference_maps.feature_norm(plain[stage])
        expected /= reference_maps.feature_norm(puzzle[stage])
        np.testing.assert_allclose(ratios[:, column], expected, rtol=1e-4)
    np.testing.assert_allclose(state["mean"], ratios[:2].mean(0), rtol=1e-5)


def test_feature_norm_selected_needs_the_network_and_its_stages():
    component = feature_norm_selected()
    acts = jood.Activations.of(np.ones((4, 3), "f"), np.ones((3, 2), "f"))
    with pytest.raises(ValueError, match=r"runs the network again.*none behind"):
        jood.fit(component, [acts])
    with pytest.raises(ValueError, match=r"reads every stage.*hold features only"):
        component.apply((np.eye(3, dtype="f")[0],), acts)


# RankFeat


@pytest.mark.parametrize("shape", [(3, 4, 4, 20), (3, 6, 5, 8), (2, 1, 1, 5)])
def test_the_first_component_is_removed(shape):
    maps = np.maximum(_maps(shape), 0)
    got = compiled.run(remove_first_component, maps)
    expected = reference_maps.remove_first_component(maps)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_close_singular_values_are_told_apart():
    """The paper's random start needs many steps; here σ2 / σ1 = 0.97."""
    rng = np.random.default_rng(3)
    u, _ = np.linalg.qr(rng.normal(size=(36, 6)))
    v, _ = np.linalg.qr(rng.normal(size=(50, 6)))
    x = (u * [10, 9.7, 5, 3, 2, 1]) @ v.T
    x = x.reshape(1, 6, 6, 50).astype(np.float32)
    expected = reference_maps.remove_first_component(x)
    got = compiled.run(remove_first_component, x)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_constant_map_loses_everything_and_stays_finite():
    program = jax.jit(remove_first_component)
    for value in (0.0, 1e-25, 1.0, 1e15):
        out = program(np.full((2, 3, 3, 4), value, np.float32))
        np.testing.assert_allclose(out, np.zeros((2, 3, 3, 4)), atol=1e-5 * value)


def test_rankfeat_is_the_energy_of_the_mean_logits():
    component = rankfeat(T=2.0)
    assert component.spec == "rankfeat(stages=('C4', 'C5'), T=2.0)"
    images = jnp.asarray(testing.toy_images(5, 0)[0])
    acts = testing.toy_activations(component, images)
    logits = []
    for stage in ("C4", "C5"):
        # The toy's layers act on each entry alone, so C5 follows from C4 by hand.
        rest = reference_maps.remove_first_component(acts.stages[stage])
        if stage == "C4":
            gain = np.asarray(acts.stages["C5"]) / np.asarray(acts.stages["C4"])
            rest = np.maximum(rest, 0) * gain
        logits.append(rest.mean((1, 2)) @ np.asarray(acts.kernel))  # the bias is 0
    mean = (logits[0] + logits[1]) / 2
    expected = 2 * np.log(np.exp(mean / 2).sum(-1))
    got = compiled.apply(component, (), acts)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_rankfeat_follows_threshold_activation_but_nothing_later():
    images = testing.toy_images(5, 0)[0]
    chained = jood.chain(ta(k=0.5), rankfeat(("C5",)))

    @jax.jit
    def both(images):
        acts = testing.toy_activations(chained, images)
        edited = acts.edit(ta(k=0.5).spec)
        rest = remove_first_component(edited.stages["C5"]).mean((1, 2))
        by_hand = jax.nn.logsumexp(edited.with_penultimate(rest).logits, axis=-1)
        return chained.apply((), acts), by_hand

    got, expected = both(images)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"react.*stands before.*rankfeat"):
        jood.chain(react(clip=1.0), rankfeat())


@pytest.mark.parametrize("stages", [(), "C5", ["C5"], ("C5", "C5"), (4,), None])
def test_rankfeat_refuses_bad_stages(stages):
    with pytest.raises(ValueError, match="stage"):
        rankfeat(stages=stages)


def test_rankfeat_refuses_a_bad_temperature():
    with pytest.raises(ValueError, match="T must be"):
        rankfeat(T=0.0)


# Pixel MSP


@pytest.mark.parametrize("block", [1, 4 * 7 * 3, 1 << 24])
def test_pixel_msp_equals_the_reference_in_any_block_size(monkeypatch, block):
    monkeypatch.setattr(feature_map, "_BLOCK", block)
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(7, 3)).astype("f"), rng.normal(size=3).astype("f")
    got = compiled.run(lambda *xs: mean_confidence(*xs), _maps(), kernel, bias)
    expected = reference_maps.pixel_msp(_maps(), kernel, bias)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_pixel_msp_needs_the_head_s_channels():
    maps = np.ones((2, 3, 3, 5), "f")
    acts = jood.Activations.of(
        np.ones((2, 4), "f"), np.ones((4, 3), "f"), stages={"C5": maps}
    )
    with pytest.raises(ValueError, match=r"takes 4 channels.*'C5', whose map has 5"):
        pixel_msp().apply((), acts)


@pytest.mark.parametrize("make", [gram, feature_norm, pixel_msp])
def test_a_stage_that_is_no_name_is_refused(make):
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        make(stage=5)


class _Segmenter(nn.Module):
    """A backbone and a 1x1 convolution: logits of every location, [B, H, W, K]."""

    @nn.compact
    def __call__(self, images):
        x = _Block(8, name="C4")(images)
        x = _Block(6, name="C5")(x)
        return nn.Conv(3, (1, 1), name="head")(x)


class _Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(self.features, (3, 3), (2, 2), name="conv")(x))


def test_a_segmentation_network_end_to_end(tmp_path):
    model = _Segmenter()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    preprocessing = jood.Preprocessing((0.5,) * 3, (0.25,) * 3)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    component = jood.bundle(
        msp=pixel_msp(),
        ta=jood.chain(ta(k=0.1), pixel_msp()),
        fs=feature_sim(),
    )
    detector = jood.Detector(component, model, variables, preprocessing=preprocessing)
    detector = detector.calibrate([images], tpr=0.75)
    output = detector.run(images)
    logits = jax.jit(lambda x: model.apply(variables, preprocessing(x)))(images)
    logits = np.asarray(logits)
    expected = special.softmax(logits, -1).max(-1).mean((1, 2))
    np.testing.assert_allclose(output.scores["msp"], expected, rtol=1e-5)
    assert not np.allclose(output.scores["ta"], expected, rtol=1e-4)
    # The network has no one answer; the record's is that of the mean logits.
    np.testing.assert_array_equal(
        output.prediction, np.argmax(logits.mean((1, 2)), axis=-1)
    )
    detector.save(tmp_path / "segmenter")
    loaded = jood.Detector.load(tmp_path / "segmenter", model, component)
    np.testing.assert_array_equal(loaded(images)["msp"], output.scores["msp"])
