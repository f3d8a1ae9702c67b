"""KNN, in memory and on disk, and NNGuide, which share their bank."""

import os

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import distance as reference

import jood
from jood.core.fitting import fit
from jood.methods import nearest_neighbors

knn, nnguide = jood.scores.knn, jood.scores.nnguide


def rows(count, width, seed=0, scale=1.0):
    random = np.random.default_rng(seed).normal(size=(count, width))
    return (scale * random).astype("f")


def problem(train=300, width=12):
    kernel = np.random.default_rng(2).normal(size=(width, 4)).astype("f")
    bias = np.array([0.5, -0.5, 1.0, 0.0], "f")
    return rows(train, width), rows(20, width, seed=1, scale=2.0), kernel, bias


def scores(component, train, test, kernel, bias, size=64):
    parts = [
        jood.Activations.of(train[i : i + size], kernel, bias)
        for i in range(0, len(train), size)
    ]
    acts = jood.Activations.of(test, kernel, bias)
    return np.asarray(jax.jit(component.apply)(fit(component, parts), acts))


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 17, 300])
def test_knn_matches_reference(k):
    train, test, kernel, bias = problem()
    out = scores(knn(k=k), train, test, kernel, bias)
    chex.assert_shape(out, (20,))
    np.testing.assert_allclose(out, reference.knn(train, test, k), rtol=1e-5)


def test_knn_worked_out_by_hand():
    train = np.array([[3.0, 0.0], [0.0, 0.1], [-5.0, 0.0]])  # directions 0, 90, 180
    test = np.array([[2.0, 0.0], [1.0, 1.0]])
    expected = {1: [0.0, -np.sqrt(2 - np.sqrt(2))], 3: [-2.0, -np.sqrt(2 + np.sqrt(2))]}
    for k, value in expected.items():
        out = scores(knn(k=k), train, test, np.eye(2), np.zeros(2))
        np.testing.assert_allclose(out, value, atol=1e-6)


def test_knn_of_a_training_feature_is_exactly_zero():
    train, _, kernel, bias = problem()
    out = scores(knn(k=1), train, train, kernel, bias)
    assert np.abs(out).max() < 1e-6


@pytest.mark.parametrize("k", [1, 10, 60])
def test_nnguide_matches_reference(k):
    train, test, kernel, bias = problem()
    out = scores(nnguide(k=k), train, test, kernel, bias)
    expected = reference.nnguide(train, test, kernel, bias, k)
    np.testing.assert_allclose(out, expected, rtol=2e-5)


def test_nnguide_worked_out_by_hand():
    # One class: the energy is the logit 2 h_0. The bank is (2, 0) and (0, 0).
    train = np.array([[1.0, 0.0], [0.0, 5.0]])
    kernel, bias = np.array([[2.0], [0.0]]), np.zeros(1)
    test = np.array([[3.0, 4.0]])
    for k, expected in ((1, 6 * 1.2), (2, 6 * 0.6)):
        out = scores(nnguide(k=k), train, test, kernel, bias)
        np.testing.assert_allclose(out, [expected], rtol=1e-6)


@pytest.mark.parametrize("factory", [knn, nnguide])
def test_scores_with_react_before(factory):
    train, test, kernel, bias = problem()
    chained = jood.chain(jood.transforms.react(clip=0.5), factory(k=3))
    out = scores(chained, train, test, kernel, bias)
    clipped = scores(
        factory(k=3), np.minimum(train, 0.5), np.minimum(test, 0.5), kernel, bias
    )
    np.testing.assert_allclose(out, clipped, rtol=1e-5)


@pytest.mark.parametrize("factory", [knn, nnguide])
def test_zero_features_score_finitely(factory):
    train, _, kernel, bias = problem()
    train[:4] = 0
    out = scores(factory(k=2), train, np.zeros((2, 12), "f"), kernel, bias)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("factory", [knn, nnguide])
def test_more_neighbours_than_examples_are_refused_at_fit(factory):
    train, test, kernel, bias = problem(train=9)
    with pytest.raises(ValueError, match=r"k = 10 neighbours.*has 9 row"):
        scores(factory(k=10), train, test, kernel, bias)
    with pytest.raises(ValueError, match=r"at least k.*k=3 and capacity=2"):
        factory(k=3, capacity=2)


@pytest.mark.parametrize("factory", [knn, nnguide])
@pytest.mark.parametrize("name", ["k", "capacity"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "5", None])
def test_bad_counts_are_refused(factory, name, value):
    with pytest.raises(ValueError, match=f"{name} must be an integer >= 1, got"):
        factory(**{name: value})


@pytest.mark.parametrize(
    ("k", "capacity", "rank"), [(20, 30, 2), (30, 150, 15), (1, 30, 1), (5, 300, 5)]
)
def test_k_shrinks_with_the_share_of_the_bank_that_is_kept(k, capacity, rank):
    train, test, kernel, bias = problem()  # 300 rows
    component = knn(k=k, capacity=capacity)
    (kept,) = fit(component, [jood.Activations.of(train, kernel, bias)])
    assert kept["rows"].shape == (capacity, 12)
    assert kept["k"] == rank
    out = scores(component, train, test, kernel, bias)
    expected = reference.knn(kept["rows"], test, rank)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("k", "kept", "count", "rank"),
    [
        (1000, 50_000, 1_281_167, 39),
        (1000, 12_812, 1_281_167, 10),  # 1 % of ImageNet, as in the paper
        (50, 50_000, 50_000, 50),
        (1, 10, 1000, 1),
    ],
)
def test_ks_of_the_papers(k, kept, count, rank):
    assert nearest_neighbors.proportional(k, kept, count) == rank


@pytest.mark.slow
def test_padding_and_parts_do_not_count_and_the_cut_is_logged(caplog):
    train, _, kernel, bias = problem()
    parts = [
        (jood.Activations.of(part, kernel, bias), np.arange(150) < 100)
        for part in (train[:150], train[150:])
    ]
    component = knn(k=40, capacity=50)
    with caplog.at_level("INFO", logger="jood"):
        (kept,) = fit(component, parts)
    assert kept["k"] == 10  # of 200 rows 50 are kept
    assert "50 of 200 training features are kept, so k = 40 becomes 10" in caplog.text
    statistic = component.passes[0](())
    states = [
        statistic.update(statistic.init(acts), acts, jnp.asarray(mask, float))
        for acts, mask in parts
    ]
    merged = statistic.finalize(jax.device_get(statistic.merge(*states)))
    np.testing.assert_allclose(merged["rows"], kept["rows"], rtol=1e-5)
    assert merged["k"] == 10


def test_a_bank_that_was_saved_as_an_array_keeps_its_k():
    train, test, kernel, bias = problem()
    acts = jood.Activations.of(test, kernel, bias)
    expected = reference.knn(train[:40], test, 20)
    rows = train[:40] / np.linalg.norm(train[:40], axis=1, keepdims=True)
    out = jax.jit(knn(k=20, capacity=40).apply)((rows,), acts)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


# The bank on disk.


def saved(folder, array, name="features.npy"):
    np.save(folder / name, array)
    return str(folder / name)


@pytest.mark.parametrize("k", [1, 17, 300])
@pytest.mark.parametrize("block", [None, 7])
def test_bank_on_disk_scores_as_the_one_in_memory(tmp_path, monkeypatch, k, block):
    train, test, kernel, bias = problem()
    if block:
        monkeypatch.setattr(nearest_neighbors, "_PRODUCTS", block * 20)  # 20 queries
    component = knn(k=k, bank=saved(tmp_path, train))
    assert component.passes == ()
    acts = jood.Activations.of(test, kernel, bias)
    expected = scores(knn(k=k), train, test, kernel, bias)
    np.testing.assert_allclose(component.apply((), acts), expected, atol=2e-6)
    compiled = jax.jit(component.apply)((), acts)
    chex.assert_type(compiled, jnp.float32)
    np.testing.assert_allclose(compiled, expected, atol=2e-6)


def test_bank_on_disk_scores_large_batches(tmp_path):
    train = rows(600, 512)
    component = knn(k=5, bank=saved(tmp_path, train))
    acts = jood.Activations.of(train[:256], np.ones((512, 2), "f"))
    run = jax.jit(component.apply)
    for _ in range(3):
        out = run((), acts)
    expected = reference.knn(train, train[:2], 5)
    np.testing.assert_allclose(out[:2], expected, rtol=1e-5)


def test_bank_on_disk_is_named_in_the_text(tmp_path):
    path = saved(tmp_path, rows(60, 12))
    assert knn(k=3, bank=path).spec == f"knn(k=3, bank={path!r})"
    assert knn(k=3, bank=tmp_path / "features.npy").spec == knn(k=3, bank=path).spec


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((60, 12)), r"float64 \(60, 12\)"),
        (np.zeros(60, "f"), r"float32 \(60,\)"),
        (np.array([{}]), "Python objects"),
    ],
)
def test_bank_on_disk_must_hold_features(tmp_path, array, found):
    component = knn(bank=saved(tmp_path, array))
    acts = jood.Activations.of(rows(4, 12), np.ones((12, 2), "f"))
    with pytest.raises(ValueError, match=found) as caught:
        component.apply((), acts)
    assert "float32 [N, D]" in str(caught.value)


def test_bank_on_disk_errors(tmp_path):
    path = saved(tmp_path, rows(60, 12))
    with pytest.raises(ValueError, match=r"capacity or bank, not both.*capacity=10"):
        knn(bank=path, capacity=10)
    acts = jood.Activations.of(rows(4, 12), np.ones((12, 2), "f"))
    with pytest.raises(ValueError, match=r"k = 61 neighbours.*has 60 row"):
        knn(k=61, bank=path).apply((), acts)
    with pytest.raises(ValueError, match="bank must be the path"):
        knn(bank=3)
    acts = jood.Activations.of(rows(4, 8), np.ones((8, 2), "f"))
    with pytest.raises(ValueError, match="rows have 12 entries, but the features 8"):
        knn(k=3, bank=path).apply((), acts)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_text_opens_no_bank_and_a_pipe_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "bank.npy"
    {"missing": lambda _: None, "folder": os.mkdir, "pipe": os.mkfifo}[kind](path)
    component = jood.parse(f"knn(bank={str(path)!r})")  # would wait for a writer
    acts = jood.Activations.of(rows(4, 8), np.ones((8, 2), "f"))
    with pytest.raises(
        ValueError, match=r"cannot open the bank.*bank\.npy.*numpy.save"
    ):
        component.apply((), acts)
