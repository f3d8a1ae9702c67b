"""FeatureNorm, its jigsaw puzzles and the stage that they select."""

import chex
from flax import linen as nn
from helpers import compiled
from helpers import golden_cases
from helpers import golden_network
from helpers.random_maps import random_maps
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import maps as reference_maps

import jood
from jood import models
from jood.core.stats import reservoir
from jood.methods.scores.feature_norm import feature_norm
from jood.methods.scores.feature_norm import feature_norm_selected
from jood.methods.scores.feature_norm import jigsaw
from jood.methods.scores.feature_norm import norm
from jood.methods.scores.feature_norm import norm_ratios


@pytest.mark.parametrize(
    ("pattern", "component", "tolerance"),
    [
        ("featurenorm_block4__.*", feature_norm(), 1e-4),
        ("featurenorm_block3__.*", feature_norm("C4"), 1e-4),
    ],
)
def test_scores_of_peers(golden_dir, pattern, component, tolerance):
    for key, golden in golden_cases.keys_of_network(golden_dir, pattern).items():
        sign = -1 if key.endswith("__pytorch_ood") else 1
        got = sign * golden_network.scores(golden_dir, component)
        error = np.abs(got - golden).max() / golden.std()
        assert error <= tolerance, f"{key}: {error:.1e} std"


def test_feature_norm_equals_the_reference():
    np.testing.assert_allclose(
        norm(random_maps()), reference_maps.feature_norm(random_maps()), rtol=1e-5
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


@pytest.mark.slow
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


class _OfBlocks(nn.Module):
    """A stage of twelve blocks that each read the image; one blurs it."""

    blurred: str

    @nn.compact
    def __call__(self, images):
        for number in range(12):
            name = f"ResidualBlock_{number}"
            _Stage(5 if name == self.blurred else 1, name=name)(images)
        return images


class _Blocks(nn.Module):
    blurred: str

    @nn.compact
    def __call__(self, images):
        x = _OfBlocks(self.blurred, name="C5")(images)
        return nn.Dense(2, name="head")(x.mean((1, 2)))


@pytest.mark.slow
def test_among_blocks_the_one_with_the_largest_norm_ratio_is_read():
    model = _Blocks("ResidualBlock_10")  # comes after 9, not after 1
    detector = jood.Detector(feature_norm_selected("blocks"), model, HEAD)
    detector = detector.fit([_blobs(10)])
    np.testing.assert_array_equal(detector.fitted[0], np.eye(12)[10])
    stages = {"X": "C5/ResidualBlock_10"}
    plain = jood.Detector(feature_norm("X"), model, HEAD, stages=stages)
    np.testing.assert_allclose(detector(_blobs(4, 2)), plain(_blobs(4, 2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [("resnet20", 9, "C5/block3"), ("resnet18", 8, "C5/block2"), ("wrn_28_10", 12, "")],
)
def test_the_blocks_of_a_network_are_those_of_its_paper(name, count, last):
    model = models.create(name, 3)
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def maps(variables, images):
        acts = jood.observe(model, variables, images, needs_network=True)
        return acts.behind().blocks(images), acts.stages

    blocks, stages = jax.eval_shape(maps, variables, images)
    assert len(blocks) == count
    assert list(blocks)[-1] == (last or "C5/block4")
    assert blocks["C5/block1"].shape[1:3] == stages["C5"].shape[1:3]


def test_a_network_without_blocks_or_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match=r"reads all blocks.*modules named like"):
        jood.Detector(feature_norm_selected("blocks"), _Blurred((1, 5)), HEAD).fit(
            [_blobs(4)]
        )
    with pytest.raises(ValueError, match="among must be 'stages' or 'blocks', got 'x'"):
        feature_norm_selected("x")


def test_feature_norm_selected_needs_the_network_and_its_stages():
    component = feature_norm_selected()
    acts = jood.Activations.of(np.ones((4, 3), "f"), np.ones((3, 2), "f"))
    with pytest.raises(ValueError, match=r"runs the network again.*none behind"):
        jood.fit(component, [acts])
    with pytest.raises(ValueError, match=r"reads all stages.*hold features only"):
        component.apply((np.eye(3, dtype="f")[0],), acts)


def test_a_stage_that_is_no_name_is_refused():
    with pytest.raises(ValueError, match="stage must be a stage's name"):
        feature_norm(stage=5)
