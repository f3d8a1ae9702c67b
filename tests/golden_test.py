"""The scores that other people's code gave on the same inputs.

Each case of the golden folder is a network with its images ('cnn') or features alone
('featB'). Every peer that offers a method with our convention is compared, to 1e-4 of
the standard deviation of its scores; see golden_cases.py for what is compared with
what. Sizes and hyper-parameters come from the files. What needs the network itself
(ODIN, RankFeat, FeatureNorm) is compared in the tests of those methods.
"""

import functools
import hashlib
import pathlib
import re

import chex
from helpers import golden_cases
from helpers import golden_inputs
from helpers import golden_network
import jax
import numpy as np
import pytest
from reference import papers as reference

import jood

TOLERANCE = 1e-4  # of the scores' standard deviation


@pytest.fixture(scope="module", autouse=True)
def _each_matrix_is_decomposed_once():
    """The same covariance of 2048 features stands behind five methods."""
    plain, known = np.linalg.eigh, {}

    def eigh(matrix):
        key = hashlib.sha256(np.ascontiguousarray(matrix)).digest()
        if key not in known:
            known[key] = plain(matrix)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.linalg, "eigh", eigh)
        yield


def clip_value(folder, case, percentile):
    """The threshold that the peers used, where it is stored beside their scores."""
    scores = golden_inputs.scores(folder, case)
    stored = scores.get(f"react_p{percentile}_thresh__openood")
    if stored is not None:
        return stored.item()
    train, _ = golden_inputs.records(folder, case)
    return float(np.percentile(train.penultimate, int(percentile)))


@functools.cache
def our_scores(folder, case, method):
    """Our scores, float64, of a case's test rows, fitted on what the peers were."""
    text, clip, first = method
    if clip is not None:
        text = text.format(clip=repr(clip_value(folder, case, clip)))
    train, test = golden_inputs.records(folder, case, first)
    component = jood.parse(text)
    fitted = jood.fit(component, [train])
    return np.asarray(jax.jit(component.apply)(fitted, test)).astype(np.float64)


def error_of(got, golden, keep=slice(None)):
    """Largest difference in units of the golden scores' standard deviation."""
    chex.assert_shape(got, golden.shape)
    return (np.abs(got - golden) / np.std(golden))[keep].max()


def keys_of(folder, pattern):
    """Yields (case, name, peer, method) of each golden array that a pattern covers."""
    for case in golden_inputs.cases(folder):
        for key in golden_inputs.scores(folder, case):
            name, peer = key.split("__")
            method = golden_cases.method(name, pattern)
            if method and not golden_cases.left_out(case, key):
                yield case, name, peer, method


@pytest.mark.filterwarnings(
    "ignore:klm"
)  # few examples: most classes are never predicted
@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(p, marks=[pytest.mark.slow] if p in golden_cases.LONG else [])
        for p in golden_cases.METHODS
    ],
)
def test_scores_of_peers(golden_dir, pattern):
    wrong, compared = [], 0
    for case, name, peer, method in keys_of(golden_dir, pattern):
        key = f"{name}__{peer}"
        golden = golden_inputs.scores(golden_dir, case)[key].astype(np.float64)
        train, _ = golden_inputs.records(golden_dir, case)
        examples, classes = len(train.penultimate), train.kernel.shape[1]
        ours = our_scores(golden_dir, case, method)
        got = golden_cases.scale(name, peer, ours, classes, examples)
        masks = golden_inputs.load(golden_dir / "tie_masks.npz")
        tied = masks.get(golden_cases.tie_mask(case, name), np.zeros(len(golden), bool))
        assert not tied.all(), key
        error, limit = error_of(got, golden, ~tied), golden_cases.tolerance(key)
        if not error <= limit:
            wrong.append(f"{case} {key}: {error:.1e} std (allowed {limit:.0e})")
        half = len(golden) // 2
        areas = [jood.metrics.auroc(s[:half], s[half:]) for s in (got, golden)]
        if not tied.any() and abs(areas[0] - areas[1]) > 2e-4:
            wrong.append(f"{case} {key}: AUROC {areas[0]:.4f}, not {areas[1]:.4f}")
        compared += 1
    if not compared:  # that none of a folder's is forgotten is another test's
        pytest.skip(f"{golden_dir} holds no scores of a method {pattern}")
    assert not wrong, "\n".join(wrong)


def test_every_golden_score_is_compared_or_left_out_for_a_reason(golden_dir):
    def known(case, key):
        name, _ = key.split("__")
        return (
            golden_cases.left_out(case, key)
            or any(golden_cases.method(name, p) for p in golden_cases.METHODS)
            or any(re.fullmatch(p, key) for p in golden_cases.WITH_NETWORK)
        )

    cases = golden_inputs.cases(golden_dir)
    assert cases, f"{golden_dir} has no scores_<case>.npz with inputs beside it"
    for case in cases:
        stored = golden_inputs.scores(golden_dir, case)
        assert [key for key in stored if not known(case, key)] == []


def test_what_needs_the_network_is_compared_where_the_table_says():
    folder = pathlib.Path(__file__).parent / "methods" / "scores"
    for pattern, name in golden_cases.WITH_NETWORK.items():
        text = (folder / name).read_text()
        assert "golden_cases.keys_of_network" in text, (pattern, name)


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_compile")
def test_react_fits_the_peers_threshold(golden_dir):
    compared = 0
    for case in golden_inputs.cases(golden_dir):
        stored = golden_inputs.scores(golden_dir, case)
        train, test = golden_inputs.records(golden_dir, case)
        keys = [k for k in stored if re.fullmatch(r"react_p\d+_thresh__.*", k)]
        for percent in {re.search(r"_p(\d+)_", key)[1] for key in keys}:
            component = jood.parse(f"react(q=0.{percent})|energy()")
            fitted = jood.fit(component, [train])
            for key in keys:
                if key.startswith(f"react_p{percent}_"):
                    np.testing.assert_allclose(
                        fitted[0], stored[key], rtol=2e-5, err_msg=f"{case} {key}"
                    )
            got = np.asarray(jax.jit(component.apply)(fitted, test))
            golden = stored[f"react_p{percent}__openood"].astype(np.float64)
            assert error_of(got, golden) <= TOLERANCE
            compared += 1
    assert compared


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_compile")
@pytest.mark.parametrize("name", [n for n in jood.scores.__all__ if "feature_sim" in n])
def test_map_scores_on_the_stored_maps(golden_dir, name):
    golden_network.load(golden_dir)  # skips without one
    _, test = golden_inputs.records(golden_dir, "cnn")
    got = jax.jit(getattr(jood.scores, name)().apply)((), test)
    expected = getattr(reference, name)(np.asarray(test.stages["C5"]))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_dice_keeps_the_peers_weights(golden_dir):
    compared = 0
    for case in golden_inputs.cases(golden_dir):
        train, _ = golden_inputs.records(golden_dir, case)
        contribution = np.asarray(train.penultimate, np.float64).mean(0)[:, None]
        contribution = contribution * np.asarray(train.kernel)
        masks = {}
        for key, threshold in golden_inputs.scores(golden_dir, case).items():
            if found := re.fullmatch(r"dice_p(\d+)_thresh__.*", key):
                percent = int(found[1])
                if percent not in masks:
                    dice = jood.transforms.dice(q=percent / 100)
                    (masks[percent],) = jood.fit(dice, [train])
                other = contribution > threshold
                assert (masks[percent] != other).sum() <= 1, f"{case} {key}"
                compared += 1
    assert compared


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_compile")
def test_vim_s_alpha(golden_dir):
    compared = 0
    for case in golden_inputs.cases(golden_dir):
        train, _ = golden_inputs.records(golden_dir, case)
        fitted = {}
        for key, alpha in golden_inputs.scores(golden_dir, case).items():
            if found := re.fullmatch(r"vim_d(\d+)_alpha__.*", key):
                dim = int(found[1])
                if dim not in fitted:
                    fitted[dim] = jood.fit(jood.scores.vim(dim=dim), [train])[1]
                np.testing.assert_allclose(
                    fitted[dim], alpha.item(), rtol=1e-5, err_msg=f"{case} {key}"
                )
                compared += 1
    assert compared


def test_line_s_contributions(golden_dir):
    compared = 0
    for case in golden_inputs.cases(golden_dir):
        golden = golden_inputs.scores(golden_dir, case).get("line_shap_mean__line")
        if golden is None:
            continue
        train, _ = golden_inputs.records(golden_dir, case)
        (fitted,) = jood.fit(jood.transforms.line(), [train])
        expected = np.abs(golden.reshape(fitted["taylor"].shape))
        np.testing.assert_allclose(
            fitted["taylor"], expected, atol=1e-5 * expected.max(), rtol=1e-5
        )
        compared += 1
    if not compared:
        pytest.skip(f"{golden_dir} holds no contributions of LINe")


def test_the_golden_network_end_to_end(golden_dir):
    model, variables = golden_network.load(golden_dir)
    tensors = golden_inputs.load(golden_dir / "cnn_tensors.npz")
    images = golden_inputs.load(golden_dir / "cnn_images.npz")
    detector = jood.Detector(
        "bundle(msp=msp(), energy=energy(), fs=feature_sim())",
        model,
        variables,
        preprocessing=jood.Preprocessing(images["mean"], images["std"]),
        stages=golden_network.STAGES,
        head="fc",
    )
    pixels = np.concatenate([images["id_images_u8"], images["ood_images_u8"]])
    pixels = pixels.transpose(0, 2, 3, 1)[::4]
    acts = jax.jit(
        lambda x: jood.observe(
            model, variables, detector.preprocessing(x), taps=golden_network.TAPS
        )
    )(pixels)
    last = tensors["test_fmap"].transpose(0, 2, 3, 1)[::4]
    for stage, scale in (("C3", 4), ("C4", 2), ("C5", 1)):
        layer = model.widths[golden_network.STAGES[stage]]
        size = [side * scale for side in last.shape[1:3]]
        chex.assert_shape(acts.stages[stage], (len(pixels), *size, layer))
    close = functools.partial(np.testing.assert_allclose, atol=2e-5, rtol=1e-4)
    close(acts.stages["C5"], last)
    close(acts.penultimate, tensors["test_feat"][::4])
    close(acts.logits, tensors["test_logits"][::4])
    scores = detector(pixels)
    stored = golden_inputs.scores(golden_dir, "cnn")
    for name, key in (("msp", "msp__openood"), ("energy", "energy_T1__openood")):
        golden = stored[key].astype(np.float64)[::4]
        error = np.abs(scores[name] - golden).max() / golden.std()
        assert error <= TOLERANCE, f"{name}: {error:.1e} std"
    close(scores["fs"], reference.feature_sim(np.asarray(acts.stages["C5"])))
