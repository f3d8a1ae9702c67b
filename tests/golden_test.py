"""The scores that other people's code gave on the same inputs.

Two cases: 'cnn', a small network on digits (64 features, 10 classes), and 'featB',
features only (2048 features, 100 classes). Every peer that offers a method with our
convention is compared, to 1e-4 of the standard deviation of its scores; see
golden_cases.py for what is compared with what. What needs the network itself (ODIN,
RankFeat, FeatureNorm) is compared in the tests of those methods.
"""

import functools
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
CASES = {"cnn": 10, "featB": 100}  # and their classes


def clip_value(folder, case, method):
    """The threshold that the peers used, stored beside their scores (not for p99)."""
    percentile = re.search(r"_(?:p|clip)(\d+)", method)[1]
    if percentile == "99":
        train, _ = golden_inputs.records(folder, case)
        return float(np.percentile(train.penultimate, 99))
    scores = golden_inputs.load(folder / f"scores_{case}.npz")
    return scores[f"react_p{percentile}_thresh__openood"].item()


def our_scores(folder, case, method):
    """Our scores, float64, of a case's test rows, fitted on what the peers were."""
    text, _ = golden_cases.METHODS[method]
    if golden_cases.CLIP in text:
        text = text.replace(golden_cases.CLIP, repr(clip_value(folder, case, method)))
    train, test = golden_inputs.records(
        folder, case, 40 if method == "klm_fit40" else None
    )
    component = jood.parse(text)
    fitted = jood.fit(component, [train])
    return np.asarray(jax.jit(component.apply)(fitted, test)).astype(np.float64)


def error_of(got, golden, keep=slice(None)):
    """Largest difference in units of the golden scores' standard deviation."""
    chex.assert_shape(got, golden.shape)
    return (np.abs(got - golden) / np.std(golden))[keep].max()


@pytest.mark.filterwarnings(
    "ignore:klm"
)  # 40 examples: most classes are never predicted
@pytest.mark.parametrize("method", golden_cases.METHODS)
def test_scores_of_peers(golden_dir, method):
    wrong, compared = [], set()
    for case, classes in CASES.items():
        stored = golden_inputs.load(golden_dir / f"scores_{case}.npz")
        peers = golden_cases.METHODS[method][1].split()
        keys = {peer: f"{method}__{peer}" for peer in peers}
        keys = {
            peer: key
            for peer, key in keys.items()
            if key in stored and not golden_cases.left_out(case, key)
        }
        if not keys:
            continue
        ours = our_scores(golden_dir, case, method)
        examples = len(golden_inputs.records(golden_dir, case)[0].penultimate)
        for peer, key in keys.items():
            golden = stored[key].astype(np.float64)
            got = golden_cases.scale(method, peer, ours, classes, examples)
            keep = np.ones(len(golden), bool)
            if (case, method) in golden_cases.TIES:
                name, count = golden_cases.TIES[case, method]
                keep = ~golden_inputs.load(golden_dir / "tie_masks.npz")[name]
                assert (~keep).sum() == count
            limits = golden_cases.TOLERANCE
            limit = limits.get(key, limits.get(method, TOLERANCE))
            error = error_of(got, golden, keep)
            compared.add(peer)
            if not error <= limit:
                wrong.append(f"{case} {key}: {error:.1e} std (allowed {limit:.0e})")
            half = len(golden) // 2
            areas = [jood.metrics.auroc(s[:half], s[half:]) for s in (got, golden)]
            if keep.all():
                assert areas[0] == pytest.approx(areas[1], abs=2e-4), key
    listed = set(golden_cases.METHODS[method][1].split())
    assert compared == listed, f"no golden array of {method} by {listed - compared}"
    assert not wrong, wrong


def test_what_needs_the_network_is_compared_where_the_table_says():
    folder = pathlib.Path(__file__).parent / "methods" / "scores"
    files = ("odin_test.py", "map_scores_test.py", "mahalanobis_test.py")
    text = "".join((folder / name).read_text() for name in files)
    missing = [key for key in golden_cases.WITH_NETWORK if key not in text]
    assert missing == []


@pytest.mark.parametrize("case", CASES)
def test_no_golden_score_is_left_out_without_a_reason(golden_dir, case):
    def known(key):
        method, peer = key.split("__")
        tables = (golden_cases.METHODS, golden_cases.WITH_NETWORK)
        compared = [p for t in tables for p in t.get(method, ("", ""))[1].split()]
        return peer in compared or golden_cases.left_out(case, key)

    stored = golden_inputs.load(golden_dir / f"scores_{case}.npz")
    assert [key for key in stored if not known(key)] == []


@pytest.mark.parametrize("case", ["cnn", "featB"])
@pytest.mark.parametrize("percentile", [85, 90, 95])
def test_react_fits_the_peers_threshold(golden_dir, case, percentile):
    stored = golden_inputs.load(golden_dir / f"scores_{case}.npz")
    train, test = golden_inputs.records(golden_dir, case)
    component = jood.parse(f"react(q=0.{percentile})|energy()")
    fitted = jood.fit(component, [train])
    for key in stored:
        if key.startswith(f"react_p{percentile}_thresh__"):
            np.testing.assert_allclose(fitted[0], stored[key], rtol=2e-5, err_msg=key)
    got = np.asarray(component.apply(fitted, test))
    golden = stored[f"react_p{percentile}__openood"].astype(np.float64)
    assert error_of(got, golden) <= TOLERANCE


@pytest.mark.parametrize("name", [n for n in jood.scores.__all__ if "feature_sim" in n])
def test_map_scores_on_the_stored_maps(golden_dir, name):
    _, test = golden_inputs.records(golden_dir, "cnn")
    got = getattr(jood.scores, name)().apply((), test)
    expected = getattr(reference, name)(np.asarray(test.stages["C5"]))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("percent", [10, 70, 90])
def test_dice_keeps_the_peers_weights(golden_dir, case, percent):
    stored = golden_inputs.load(golden_dir / f"scores_{case}.npz")
    train, _ = golden_inputs.records(golden_dir, case)
    (mask,) = jood.fit(jood.transforms.dice(q=percent / 100), [train])
    contribution = np.asarray(train.penultimate, np.float64).mean(0)[:, None]
    contribution = contribution * np.asarray(train.kernel)
    for peer in ("dice", "openood", "pytorch_ood"):
        threshold = stored[f"dice_p{percent}_thresh__{peer}"]
        assert (mask != (contribution > threshold)).sum() <= 1, peer


@pytest.mark.parametrize("case", CASES)
def test_line_s_contributions(golden_dir, case):
    train, _ = golden_inputs.records(golden_dir, case)
    (fitted,) = jood.fit(jood.transforms.line(), [train])
    golden = golden_inputs.load(golden_dir / f"scores_{case}.npz")[
        "line_shap_mean__line"
    ]
    expected = np.abs(golden.reshape(fitted["taylor"].shape))
    np.testing.assert_allclose(
        fitted["taylor"], expected, atol=1e-5 * expected.max(), rtol=1e-5
    )


def test_the_golden_network_end_to_end(golden_dir):
    tensors = golden_inputs.load(golden_dir / "cnn_tensors.npz")
    images = golden_inputs.load(golden_dir / "cnn_images.npz")
    taps = {"C3": "layer2", "C4": "layer3", "C5": "layer4"}
    detector = jood.Detector(
        "bundle(msp=msp(), energy=energy(), fs=feature_sim())",
        golden_network.TinyCNN(),
        golden_network.flax_variables(
            golden_inputs.load(golden_dir / "cnn_weights.npz")
        ),
        preprocessing=jood.Preprocessing(images["mean"], images["std"]),
        stages=taps,
        head="fc",
    )
    pixels = np.concatenate([images["id_images_u8"], images["ood_images_u8"]])
    pixels = pixels.transpose(0, 2, 3, 1)[::4]
    acts = jax.jit(
        lambda x: jood.observe(
            detector.model,
            detector.variables,
            detector.preprocessing(x),
            taps=jood.Taps(stages=taps, head="fc"),
        )
    )(pixels)
    chex.assert_shape(acts.stages["C3"], (150, 16, 16, 32))
    chex.assert_shape(acts.stages["C4"], (150, 8, 8, 48))
    close = functools.partial(np.testing.assert_allclose, atol=2e-5, rtol=1e-4)
    close(acts.stages["C5"], tensors["test_fmap"].transpose(0, 2, 3, 1)[::4])
    close(acts.penultimate, tensors["test_feat"][::4])
    close(acts.logits, tensors["test_logits"][::4])
    scores = detector(pixels)
    stored = golden_inputs.load(golden_dir / "scores_cnn.npz")
    for name, key in (("msp", "msp__openood"), ("energy", "energy_T1__openood")):
        golden = stored[key].astype(np.float64)[::4]
        error = np.abs(scores[name] - golden).max() / golden.std()
        assert error <= TOLERANCE, f"{name}: {error:.1e} std"
    close(scores["fs"], reference.feature_sim(np.asarray(acts.stages["C5"])))
