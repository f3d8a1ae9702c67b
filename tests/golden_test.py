"""The scores that other people's code gave on the same inputs.

Two cases: 'cnn', a small network on digits (64 features, 10 classes), and 'featB',
features only (2048 features, 100 classes). Every peer that offers a method with our
convention is compared, to 1e-4 of the standard deviation of its scores.
"""

import functools
import re

import chex
from flax import linen as nn
import jax
import numpy as np
import pytest
import reference

import jood

TOLERANCE = 1e-4  # of the scores' standard deviation
OOD_POSITIVE = ("pytorch_ood", "oodeel")  # peers whose scores grow with OOD-ness

ASH_PEERS = "ash openood pytorch_ood"
CLIP = "<threshold>"

# golden key without the peer -> our component, the peers that have the key in both
# cases, and those that have it in one only.
METHODS = {
    "msp": (
        "msp()",
        "openood pytorch_ood vim detectors gradnorm",
        "cnn:odin featB:gen",
    ),
    "msp_T1000": ("temperature(T=1000.0)|msp()", "pytorch_ood", ""),
    "maxlogit": (
        "max_logit()",
        "openood pytorch_ood vim detectors oodeel",
        "featB:gen",
    ),
    "energy_T1": (
        "energy()",
        "openood pytorch_ood vim detectors oodeel gradnorm",
        "featB:gen",
    ),
    "energy_T2.5": ("energy(T=2.5)", "openood pytorch_ood", ""),
    "react_p85": (
        f"react(clip={CLIP})|energy()",
        "openood pytorch_ood oodeel",
        "cnn:detectors",
    ),
    "react_p90": (
        f"react(clip={CLIP})|energy()",
        "openood pytorch_ood oodeel",
        "cnn:react cnn:detectors",
    ),
    "react_p95": (f"react(clip={CLIP})|energy()", "openood pytorch_ood", ""),
    "react_p99": (f"react(clip={CLIP})|energy()", "vim", "featB:gen"),
    "react_clip1.25": ("react(clip=1.25)|energy()", "", "cnn:rankfeat"),
    "react_msp_p90": (f"react(clip={CLIP})|msp()", "", "cnn:react"),
    "react_ash_s_p99_p65_pooled": (
        f"react(clip={CLIP})|ash_s(q=0.65)|energy()",
        "ash",
        "",
    ),
    **{
        f"ash_{kind}_p{p}_pooled": (f"ash_{kind}(q=0.{p})|energy()", ASH_PEERS, "")
        for kind in "pbs"
        for p in (65, 90)
    },
}
PAIRS = [
    *[
        (case, f"{method}__{peer}")
        for method, (_, both, _) in METHODS.items()
        for case in ("cnn", "featB")
        for peer in both.split()
    ],
    *[
        (entry.split(":")[0], f"{method}__{entry.split(':')[1]}")
        for method, (_, _, one) in METHODS.items()
        for entry in one.split()
    ],
]
# Keys of these methods that are compared with nothing, and why.
OTHER = {
    "thresh__": "no score; see test_react_fits_the_peers_threshold",
    "_fmap__": "ASH on the map before pooling; jood's stands after it, as the authors'",
    "quantile_p": "oodeel keeps z > quantile(z), another number of entries",
    "react_odin": "needs the gradient of ODIN",
}

# Where the k-th largest entry ties with the next, the result depends on the sort:
# method -> mask in tie_masks.npz and the number of samples that it excludes.
TIES = {
    # k = 717, but most of these features have fewer non-zeros: which zeros are set?
    ("featB", "ash_b_p65_pooled"): ("featB|p65_pooled", 333),
    # more than k entries at the clip value
    ("cnn", "react_ash_s_p99_p65_pooled"): ("cnn|react_ash_p65", 9),
}


@functools.cache
def load(path):
    with np.load(path) as arrays:
        return dict(arrays)


@functools.cache
def records(folder, case):
    """The training and the test record of a case; ID rows first, then OOD rows."""
    if case == "cnn":
        tensors = load(folder / "cnn_tensors.npz")
        train, test = tensors["train_feat"], tensors["test_feat"]
        weight, bias = tensors["head_W"], tensors["head_b"]
        fmap = tensors["test_fmap"].transpose(0, 2, 3, 1)
        stages = {"C5": fmap}
    else:
        inputs = load(folder / "featB_inputs.npz")
        scale = inputs["dim_scale"]
        train = inputs["train_features"].astype("f") * scale
        test = np.concatenate([inputs["id_features"], inputs["ood_features"]])
        test, stages = test.astype("f") * scale, None
        weight, bias = inputs["head_W"], inputs["head_b"]
    return (
        jood.Activations.of(train, weight.T, bias),
        jood.Activations.of(test, weight.T, bias, stages=stages),
    )


def clip_value(folder, case, method):
    """The threshold that the peers used, stored beside their scores (not for p99)."""
    percentile = re.search(r"_p(\d+)", method)[1]
    if percentile == "99":
        train, _ = records(folder, case)
        return float(np.percentile(train.penultimate, 99))
    scores = load(folder / f"scores_{case}.npz")
    return scores[f"react_p{percentile}_thresh__openood"].item()


def assert_same_scores(got, golden, keep, what, tolerance=TOLERANCE):
    inside = len(golden) // 2
    chex.assert_shape(got, golden.shape)
    error = np.abs(np.asarray(got, np.float64) - golden)[keep] / np.std(golden)
    assert error.max() <= tolerance, f"{what}: {error.max():.1e} std"
    areas = [jood.metrics.auroc(s[:inside], s[inside:]) for s in (got, golden)]
    if keep.all():
        assert areas[0] == pytest.approx(areas[1], abs=1e-4)


@pytest.mark.parametrize(("case", "key"), PAIRS)
def test_scores_of_peers(golden_dir, case, key):
    method, peer = key.split("__")
    spec, *_ = METHODS[method]
    if CLIP in spec:
        spec = spec.replace(CLIP, repr(clip_value(golden_dir, case, method)))
    _, test = records(golden_dir, case)
    got = np.asarray(jood.parse(spec).apply((), test))
    golden = load(golden_dir / f"scores_{case}.npz")[key].astype(np.float64)
    golden = -golden if peer in OOD_POSITIVE else golden
    keep = np.ones(len(golden), bool)
    if (case, method) in TIES:
        name, count = TIES[case, method]
        keep = ~load(golden_dir / "tie_masks.npz")[name]
        assert (~keep).sum() == count
    assert_same_scores(got, golden, keep, key)


@pytest.mark.parametrize("case", ["cnn", "featB"])
def test_no_golden_score_of_these_methods_is_left_out(golden_dir, case):
    methods = ("msp", "maxlogit", "energy", "react", "ash")
    stored = {
        key
        for key in load(golden_dir / f"scores_{case}.npz")
        if key.split("__")[0].split("_")[0] in methods
        and not any(part in key for part in OTHER)
    }
    assert stored == {key for c, key in PAIRS if c == case}


@pytest.mark.parametrize("case", ["cnn", "featB"])
@pytest.mark.parametrize("percentile", [85, 90, 95])
def test_react_fits_the_peers_threshold(golden_dir, case, percentile):
    stored = load(golden_dir / f"scores_{case}.npz")
    train, test = records(golden_dir, case)
    component = jood.parse(f"react(q=0.{percentile})|energy()")
    fitted = jood.fit(component, [train])
    for key in stored:
        if key.startswith(f"react_p{percentile}_thresh__"):
            np.testing.assert_allclose(fitted[0], stored[key], rtol=2e-5, err_msg=key)
    got = np.asarray(component.apply(fitted, test))
    golden = stored[f"react_p{percentile}__openood"].astype(np.float64)
    keep = np.ones(len(golden), bool)
    assert_same_scores(got, golden, keep, f"react q=0.{percentile}")


@pytest.mark.parametrize("name", [n for n in jood.scores.__all__ if "feature_sim" in n])
def test_map_scores_on_the_stored_maps(golden_dir, name):
    _, test = records(golden_dir, "cnn")
    got = getattr(jood.scores, name)().apply((), test)
    expected = getattr(reference, name)(np.asarray(test.stages["C5"]))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


class _Layer(nn.Module):
    """Convolution, normalisation, ReLU; padding 1 on both sides, as in PyTorch."""

    features: int

    @nn.compact
    def __call__(self, x):
        pad = ((1, 1), (1, 1))
        x = nn.Conv(self.features, (3, 3), 2, pad, use_bias=False, name="conv")(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn")(x)
        return nn.relu(x)


class _TinyCNN(nn.Module):
    """The network of the case 'cnn', with PyTorch's names."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), padding=((1, 1), (1, 1)), use_bias=False, name="conv1")(
            x
        )
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-5, name="bn1")(x)
        x = nn.relu(x)
        for name, features in (("layer2", 32), ("layer3", 48), ("layer4", 64)):
            x = _Layer(features, name=name)(x)
        return nn.Dense(10, name="fc")(x.mean((1, 2)))


def test_the_golden_network_end_to_end(golden_dir):
    tensors = load(golden_dir / "cnn_tensors.npz")
    images = load(golden_dir / "cnn_images.npz")
    taps = {"C3": "layer2", "C4": "layer3", "C5": "layer4"}
    detector = jood.Detector(
        "bundle(msp=msp(), energy=energy(), fs=feature_sim())",
        _TinyCNN(),
        flax_variables(load(golden_dir / "cnn_weights.npz")),
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
    stored = load(golden_dir / "scores_cnn.npz")
    for name, key in (("msp", "msp__openood"), ("energy", "energy_T1__openood")):
        golden = stored[key].astype(np.float64)[::4]
        error = np.abs(scores[name] - golden).max() / golden.std()
        assert error <= TOLERANCE, f"{name}: {error:.1e} std"
    close(scores["fs"], reference.feature_sim(np.asarray(acts.stages["C5"])))


def flax_variables(weights):
    """PyTorch's state dict as Flax variables: OIHW -> HWIO, [out, in] -> [in, out]."""
    names = {"weight": ("params", "scale"), "bias": ("params", "bias")}
    names |= {
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    }
    variables = {"params": {}, "batch_stats": {}}
    for key, value in weights.items():
        *path, leaf = key.split(".")
        if leaf == "num_batches_tracked":
            continue
        collection, name = names[leaf]
        if value.ndim == 4:
            value, name = value.transpose(2, 3, 1, 0), "kernel"
        elif value.ndim == 2:
            value, name = value.T, "kernel"
        node = variables[collection]
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return variables
