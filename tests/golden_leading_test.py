"""The scores that authors' and libraries' code gave for the field's leading methods.

As golden_test.py, for the second golden set; see helpers/golden_leading.py for what is
compared with what. Sizes and hyper-parameters come from the files.
"""

import functools
import importlib
import re
import warnings

from flax import linen as nn
from helpers import golden_inputs
from helpers import golden_leading
from helpers import golden_network
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core import fitting
from jood.methods.scores import weiper
from jood.methods.scores.actsub import insignificance

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_users_compile")]


@functools.cache
def our_scores(folder, case, text):
    """Our scores, float64, of a case's test rows, fitted on its training rows."""
    return scored(folder, case, jood.parse(text))


def scored(folder, case, component):
    train, test = golden_inputs.records(folder, case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few examples and negative features
        fitted = jood.fit(component, [train])
        scores = jax.jit(component.apply)(fitted, test)
    return np.asarray(scores).astype(np.float64)


def check(array, got, kept):
    """Returns what is wrong with our scores of a golden array, or ''."""
    key = f"{array.name}__{array.peer}"
    limit = golden_leading.tolerance(key)
    error = (np.abs(got - array.golden) / array.golden.std())[kept]
    wrong = int((~(error <= limit)).sum())
    if wrong <= golden_leading.allowed_outside(key) * len(got):
        return ""
    return (
        f"{array.case} {key}: {np.nanmax(error):.1e} std (allowed {limit:.0e}) in "
        f"{wrong} samples"
    )


@pytest.mark.parametrize("pattern", golden_leading.METHODS)
def test_scores_of_peers(golden_dir, pattern):
    found = list(golden_leading.arrays(golden_dir, pattern))
    if not found:
        pytest.skip(f"{golden_dir} holds no scores of a method {pattern}")
    wrong = []
    for array in found:
        ours = our_scores(golden_dir, array.case, array.text)
        got = golden_leading.scale(array.name, array.peer, ours)
        kept = golden_leading.compared(golden_dir, array.case, array)
        wrong.append(check(array, got, kept))
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_every_golden_array_is_compared_or_left_out_for_a_reason(golden_dir):
    for case in golden_inputs.cases(golden_dir):
        keys = golden_leading.stored(golden_dir, case)
        assert [key for key in keys if not golden_leading.known(key)] == []


def test_what_is_compared_elsewhere_is_in_this_file():
    for name in golden_leading.ELSEWHERE.values():
        assert name in globals(), name


def each(golden_dir, key):
    """Yields (case, array) of every case that holds a key."""
    for case in golden_inputs.cases(golden_dir):
        array = golden_leading.stored(golden_dir, case).get(key)
        if array is not None:
            yield case, array


def close(got, golden, limit=1e-4):
    np.testing.assert_array_less(np.abs(got - golden).max() / golden.std(), limit)


def test_the_fitted_temperature(golden_dir):
    for case, golden in each(golden_dir, "tempscale_opt_T__own"):
        train, _ = golden_inputs.records(golden_dir, case)
        fitted = jood.fit(jood.transforms.fitted_temperature(), [train])
        np.testing.assert_allclose(fitted[1], golden, rtol=1e-5)


def test_the_mean_curve_of_ras(golden_dir):
    for case, golden in each(golden_dir, "ras_mean_curve__ras"):
        train, _ = golden_inputs.records(golden_dir, case)
        (fitted,) = jood.fit(jood.transforms.ras(), [train])
        np.testing.assert_allclose(fitted, golden, rtol=1e-4, atol=1e-6)


def test_weighted_energy_with_the_stored_weights(golden_dir):
    for case, weights in each(golden_dir, "webo_weights__pytorch_ood"):
        component = jood.scores.weighted_energy(tuple(weights.tolist()))
        assert jood.parse(component.spec).spec == component.spec
        golden = golden_leading.stored(golden_dir, case)["webo__pytorch_ood"]
        close(-scored(golden_dir, case, component), golden)


def of_features(folder, case):
    """The features-only network, whose image is the feature: model and variables."""
    train, _ = golden_inputs.records(folder, case)
    return _Head(train.kernel.shape[1]), {
        "params": {"head": {"kernel": train.kernel, "bias": train.bias}}
    }


class _Head(nn.Module):
    """Images [B, 1, 1, D] -> logits; the feature is the image."""

    classes: int

    @nn.compact
    def __call__(self, images):
        return nn.Dense(self.classes, name="head")(images.mean((1, 2)))


def on_the_images(folder, case, component):
    """Our scores of a component that runs the network again, to fit and to score."""
    train, test = golden_inputs.records(folder, case)
    if case == "cnn":
        model, variables = golden_network.load(folder)
        taps, images = golden_network.TAPS, golden_network.test_images(folder)
        examples = golden_network.normalised(folder, "train_images_u8")
    else:
        model, variables = of_features(folder, case)
        taps = jood.Taps()
        examples, images = (
            np.asarray(r.penultimate)[:, None, None] for r in (train, test)
        )

    def observe(_, batch):
        acts = jood.observe(model, variables, batch, taps=taps, needs_network=True)
        return acts, np.ones(len(batch), np.float32)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batches = np.array_split(examples, max(len(examples) // 500, 1))
        fitted = fitting.fit(component, batches, observer=observe)
    score = jax.jit(lambda x: component.apply(fitted, observe((), x)[0]))
    return np.asarray(score(images), np.float64)


def with_the_network(folder, component, rows=slice(None), std=None, fitted=()):
    """Our scores of a component that runs the golden network, on test images."""
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
            std=std,
        )
        return component.apply(fitted, acts)

    images = golden_network.test_images(folder)[rows]
    return np.asarray(score(images), np.float64)


def matching(golden_dir, pattern):
    """Yields (match, golden array) of the case with a network."""
    golden_network.load(golden_dir)  # skips without one
    for key, golden in golden_leading.stored(golden_dir, "cnn").items():
        if found := re.fullmatch(pattern, key):
            yield found, golden.astype(np.float64)


def test_doctor_s_step(golden_dir):
    pattern = r"doctor_alpha_T1_eps([\d.]+)__detectors"
    for found, golden in matching(golden_dir, pattern):
        component = jood.scores.doctor_alpha(eps=float(found[1]))
        got = with_the_network(golden_dir, component)
        close(golden_leading.scale("doctor_alpha", "detectors", got), golden)


def test_iodin(golden_dir):
    std = golden_inputs.load(golden_dir / "cnn_images.npz")["std"].ravel()
    wrong = []
    for found, golden in matching(golden_dir, r"iodin_T([\d.]+)_eps([\d.]+)__openood"):
        component = jood.scores.iodin(T=float(found[1]), eps=float(found[2]))
        got = with_the_network(golden_dir, component, std=std)
        name, _, peer = found[0].partition("__")
        array = golden_leading.Array("cnn", name, peer, "", golden)
        wrong.append(check(array, got, np.ones(len(got), bool)))
    assert wrong
    assert not any(wrong), "\n".join(wrong)


_ADASCALE = (
    r"adascale_(?P<kind>[al])_p(?P<low>\d+)-(?P<high>\d+)_k(?P<k1>\d+)_(?P<k2>\d+)"
    r"_l(?P<lam>[\d.]+)_o(?P<o>[\d.]+)__openood"
)


def test_adascale(golden_dir):
    wrong = []
    for case in golden_inputs.cases(golden_dir):
        for key, golden in golden_leading.stored(golden_dir, case).items():
            if not (found := re.fullmatch(_ADASCALE, key)):
                continue
            percent = {n: int(found[n]) / 100 for n in ("low", "high", "k1", "k2")}
            factory = getattr(jood.transforms, f"adascale_{found['kind']}")
            part = factory(**percent, lam=float(found["lam"]), o=float(found["o"]))
            component = jood.chain(part, jood.scores.energy())
            got = on_the_images(golden_dir, case, component)
            name, _, peer = key.partition("__")
            array = golden_leading.Array(case, name, peer, "", golden.astype(float))
            wrong.append(check(array, got, np.ones(len(got), bool)))
            print(key, wrong[-1])
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_the_bins_of_optfs(golden_dir):
    for case, theta in each(golden_dir, "optfs_theta__optfs"):
        stored = golden_leading.stored(golden_dir, case)
        train, _ = golden_inputs.records(golden_dir, case)
        _, edges, fitted = jood.fit(jood.transforms.optfs(), [train])
        np.testing.assert_allclose(edges["left"], stored["optfs_left__optfs"], 1e-5)
        np.testing.assert_allclose(fitted, theta, rtol=1e-4, atol=1e-4 * theta.std())


def test_optfs_as_the_logit_of_the_predicted_class(golden_dir):
    for case, golden in each(golden_dir, "optfs_vanilla__optfs"):
        train, test = golden_inputs.records(golden_dir, case)
        component = jood.transforms.optfs()
        shaped = component.apply(jood.fit(component, [train]), test).penultimate
        weights = np.asarray(test.kernel)[:, test.prediction].T
        close((np.asarray(shaped, np.float64) * weights).sum(-1), golden)


def test_the_insignificant_part_of_actsub(golden_dir):
    for case in golden_inputs.cases(golden_dir):
        for key, golden in golden_leading.stored(golden_dir, case).items():
            if found := re.fullmatch(r"actsub_insig_k(\d+)__actsub", key):
                train, test = golden_inputs.records(golden_dir, case)
                component = jood.scores.actsub(k=int(found[1]))
                _, basis, bank = jood.fit(component, [train])
                got = insignificance(basis, bank, test, 10)
                close(np.asarray(got), golden)


_WEIPER = (
    r"weiper_kld_r(?P<r>\d+)_d(?P<delta>[\d.]+)_l(?P<lam1>[\d.]+)_l(?P<lam2>[\d.]+)"
    r"_s(?P<s1>\d+)_s(?P<s2>\d+)__weiper"
)


def test_weiper(golden_dir, monkeypatch):
    wrong = []
    for case in golden_inputs.cases(golden_dir):
        stored = golden_leading.stored(golden_dir, case)
        train, _ = golden_inputs.records(golden_dir, case)
        for key, golden in stored.items():
            if not (found := re.fullmatch(_WEIPER, key)):
                continue
            texts = found.groupdict().items()
            values = {k: float(v) if "." in v else int(v) for k, v in texts}
            shape = (values["r"], *train.kernel.shape[::-1])
            drawn = np.random.RandomState(0).standard_normal(shape).astype("f")
            first = stored["weiper_noise_check__weiper"][1]
            np.testing.assert_allclose(drawn[0, 0, 0], first, rtol=1e-6)
            theirs = functools.partial(_stored_noise, jnp.asarray(drawn))
            monkeypatch.setattr(weiper, "noise", theirs)
            component = weiper.weiper_kld(**values)
            got = scored(golden_dir, case, component)
            name, _, peer = key.partition("__")
            array = golden_leading.Array(case, name, peer, "", golden.astype(float))
            wrong.append(check(array, got, np.ones(len(got), bool)))
            ranges, usual = jood.fit(component, [train])
            ends = stored[f"{name}_minmax__weiper"]
            np.testing.assert_allclose(ranges.ravel(), ends, rtol=1e-5)
            for ours, part in zip(usual, ("", "_weiper"), strict=True):
                density = stored[f"{name}_train_density{part}__weiper"]
                np.testing.assert_allclose(ours, density, rtol=1e-3, atol=1e-5)
    assert not any(wrong), "\n".join(filter(None, wrong))


def _stored_noise(table, seed, index, shape):
    return table[index].T


def test_the_weibull_distributions_of_openmax(golden_dir):
    for case in golden_inputs.cases(golden_dir):
        for key, golden in golden_leading.stored(golden_dir, case).items():
            if found := re.fullmatch(r"openmax_a\d+_t(\d+)_weibull__openood", key):
                train, _ = golden_inputs.records(golden_dir, case)
                component = jood.scores.openmax(tail=int(found[1]))
                _, fitted = jood.fit(component, [train])
                np.testing.assert_allclose(fitted, golden[:, [0, 1, 4]], rtol=1e-3)


def test_fisher_and_brown(golden_dir):
    component = jood.parse("combine(energy(), msp(), penultimate_norm(), rule='brown')")
    for case, golden in each(golden_dir, "fisher_brown__oodeel"):
        stored = golden_leading.stored(golden_dir, case)
        train, test = golden_inputs.records(golden_dir, case)
        fitted = jood.fit(component, [train])
        c, k = stored["fisher_c_k_mu_s2__oodeel"][:2]
        np.testing.assert_allclose(fitted[-1], [c, k], rtol=1e-4)
        close(1 - np.asarray(component.apply(fitted, test), np.float64), golden)
        tau = -np.asarray(component.ranking.apply(fitted, test), np.float64)
        close(tau, stored["fisher_tau__oodeel"])


def _extremes(folder):
    """What enters each ReLU of the golden network: -min and max, of its logits too."""

    def run(x):
        maps, logits = _layers(folder, x)
        columns = []
        for before in maps[1::3]:
            columns += [-before.min((1, 2, 3)), before.max((1, 2, 3))]
        return jnp.stack([*columns, logits.max(-1), -logits.min(-1)], axis=-1)

    return [np.concatenate(parts) for parts in _on_all_images(folder, run)]


def _maps(folder):
    """The maps of each convolution and ReLU by number, for train and test images."""

    def run(x):
        maps, _ = _layers(folder, x)
        kept = [x for i, x in enumerate(maps) if i % 3 != 1]
        return {str(i): x for i, x in enumerate(kept)}

    return [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in _on_all_images(folder, run)
    ]


def _on_all_images(folder, run):
    """What a function gives for parts of the train images, and of the test images."""
    images = (
        golden_network.normalised(folder, "train_images_u8"),
        golden_network.test_images(folder),
    )
    run = jax.jit(run)
    return [[jax.device_get(run(p)) for p in np.array_split(x, 4)] for x in images]


def _layers(folder, x):
    """Maps of the golden network (convolution, normalised, ReLU, ...) and logits."""
    weights = golden_inputs.load(folder / "cnn_weights.npz")
    names = [k.removesuffix(".weight") for k in weights if k.endswith("conv.weight")]
    maps = []
    for name in ("conv1", *sorted(names)):
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        stride = 1 if name == "conv1" else 2
        bn = "bn1" if name == "conv1" else name.replace("conv", "bn")
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        scale, shift, mean, variance = (
            weights[f"{bn}.{key}"].reshape(1, 1, 1, -1)
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        maps.append(x)
        x = (x - mean) / np.sqrt(variance + 1e-5) * scale + shift
        maps.append(x)
        x = jax.nn.relu(x)
        maps.append(x)
    logits = x.mean((1, 2)) @ weights["fc.weight"].T + weights["fc.bias"][None]
    return maps, logits


def test_combood(golden_dir, monkeypatch):
    # The folder's attribute of that name is the method.
    combood = importlib.import_module("jood.methods.scores.combood")
    for case, golden in each(golden_dir, "combood_sqlog__combood"):
        stored = golden_leading.stored(golden_dir, case)
        train, test = golden_inputs.records(golden_dir, case)
        component = jood.scores.combood(k=50)
        if "combood_extreme_features__combood" in stored:
            # The authors' other values: passed as a map, read from there.
            extremes = [
                record.replace(stages={"v": x})
                for record, x in zip((train, test), _extremes(golden_dir), strict=True)
            ]
            train, test = extremes
            given = stored["combood_extreme_features__combood"]
            np.testing.assert_allclose(test.stages["v"], given, rtol=1e-4, atol=1e-4)
            monkeypatch.setattr(combood, "values", lambda acts: acts.stages["v"])
        fitted = jood.fit(component, [train])
        close(np.asarray(component.apply(fitted, test), np.float64), golden)
        m = np.sqrt(np.asarray(combood.centre_distance(fitted, combood.values(test))))
        close(-m, stored["combood_mahala__combood"])
        if "combood_yeojohnson_lambdas__combood" in stored:
            lambdas = stored["combood_yeojohnson_lambdas__combood"]
            np.testing.assert_allclose(fitted[2], lambdas, rtol=1e-3, atol=1e-3)
        monkeypatch.undo()


def test_nac_of_three_stages(golden_dir):
    """The authors' layers of CIFAR-10, each with its own values; S is their mean."""
    layers = ("C5", 50, 50, 100.0), ("C4", 500, 100, 1000.0), ("C3", 50, 5, 0.001)
    parts = [
        jood.scores.nac(M=M, O=O, alpha=alpha, stage=stage)
        for stage, M, O, alpha in layers  # noqa: E741
    ]
    component = jood.fuse(*parts, weights=(1 / 3, 1 / 3, 1 / 3))
    for _, golden in matching(golden_dir, "nac_maps432__nac"):
        got = on_the_images(golden_dir, "cnn", component)
        array = golden_leading.Array("cnn", "nac_maps432", "nac", "", golden)
        assert not check(array, got, np.ones(len(got), bool))


def test_gram_deviation(golden_dir, monkeypatch):
    """OpenOOD's: maps of all convolutions and ReLUs, labels, a stored tenth."""
    module = importlib.import_module("jood.methods.scores.gram_deviation")
    monkeypatch.setattr(module, "held_out", lambda acts: acts.heads["held out"])
    for found, golden in matching(golden_dir, r"gram_p(\d+)__openood"):
        stored = golden_leading.stored(golden_dir, "cnn")
        held = stored[f"gram_p{found[1]}_val_mask__openood"]
        records = golden_inputs.records(golden_dir, "cnn")
        maps = _maps(golden_dir)
        component = jood.scores.gram_deviation(P=int(found[1]), classes="label")
        train = []
        for rows in np.array_split(np.arange(len(held)), 4):
            part = jax.tree.map(lambda x, rows=rows: x[rows], (maps[0], held))
            record = jood.Activations.of(
                records[0].penultimate[rows],
                records[0].kernel,
                records[0].bias,
                labels=records[0].labels[rows],
                stages=part[0],
            )
            train.append(record.replace(heads={"held out": jnp.asarray(part[1])}))
        fitted = jood.fit(component, train)
        order = [int(name) for name in sorted(maps[0])]
        norms = stored[f"gram_p{found[1]}_layer_norm__openood"][order]
        np.testing.assert_allclose(fitted[0]["usual"], norms, rtol=1e-3)
        test = records[1].replace(stages=maps[1])
        got = np.asarray(component.apply(fitted, test), np.float64)
        name = f"gram_p{found[1]}"
        array = golden_leading.Array("cnn", name, "openood", "", golden)
        assert not check(array, got, np.ones(len(got), bool))
