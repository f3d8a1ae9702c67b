"""Which golden array is which detector of ours, and what stands between the two.

An array's key is `<method>__<peer>`. `METHODS` maps patterns of methods to our texts,
whose hyper-parameters stand in the method's name; every peer that offers the method is
compared. `scale` maps our score to the peer's sign, factor or power; `tolerance` and
`tie_mask` hold the exceptions that section 5 of the golden README lists; `OTHER` says
why the rest is not compared.
"""

import re
from typing import NamedTuple

import numpy as np
import pytest

from helpers import golden_inputs

# Groups named q... are percentages that our texts take as fractions; `clip` is the
# percentile whose value the peers fitted as threshold; `first` is how many training
# examples are used; all others are hyper-parameters as they stand.
METHODS = {
    r"msp": "msp()",
    r"msp_T(?P<T>[\d.]+)": "temperature(T={T})|msp()",
    r"maxlogit": "max_logit()",
    r"energy_T(?P<T>[\d.]+)": "energy(T={T})",
    r"entropy": "entropy()",
    r"gen_react_p(?P<clip>\d+)": "react(clip={clip})|gen()",
    r"gen_g(?P<gamma>[\d.]+)_M(?P<M>\d+)": "gen(gamma={gamma}, M={M})",
    r"gradnorm": "gradnorm()",
    r"klm": "klm()",
    r"klm_fit(?P<first>\d+)": "klm()",
    r"react_p(?P<clip>\d+)": "react(clip={clip})|energy()",
    r"react_clip(?P<value>[\d.]+)": "react(clip={value})|energy()",
    r"react_msp_p(?P<clip>\d+)": "react(clip={clip})|msp()",
    r"react_ash_s_p(?P<clip>\d+)_p(?P<q>\d+)_pooled": (
        "react(clip={clip})|ash_s(q={q})|energy()"
    ),
    r"ash_(?P<kind>[pbs])_p(?P<q>\d+)_pooled": "ash_{kind}(q={q})|energy()",
    r"scale_p(?P<q>\d+)_pooled": "scale(q={q})|energy()",
    r"bats_energy_lam(?P<lam>[\d.]+)": "bats(lam={lam})|energy()",
    r"bats_gradnorm_lam(?P<lam>[\d.]+)": "bats(lam={lam})|gradnorm()",
    r"dice_p(?P<q>\d+)": "dice(q={q})|energy()",
    # DICE+ReAct's two readings: contributions of unclipped and of clipped features.
    r"dice_react_p(?P<q>\d+)_clip(?P<value>[\d.]+)_maskunclipped": (
        "dice(q={q}, clip={value})|energy()"
    ),
    r"dice_react_p(?P<q>\d+)_clipp(?P<clip>\d+)_maskunclipped": (
        "dice(q={q}, clip={clip})|energy()"
    ),
    r"dice_react_p(?P<q>\d+)_clip(?P<value>[\d.]+)_maskclipped": (
        "react(clip={value})|dice(q={q})|energy()"
    ),
    r"dice_react_p(?P<q>\d+)_clipp(?P<clip>\d+)_maskclipped": (
        "react(clip={clip})|dice(q={q})|energy()"
    ),
    r"line_pw(?P<q_w>\d+)_pa(?P<q_a>\d+)_clip(?P<clip>\d+)": (
        "line(q_a={q_a}, q_w={q_w}, clip={clip})|energy()"
    ),
    r"line_pw(?P<q_w>\d+)_pa(?P<q_a>\d+)_noclip": (
        "line(q_a={q_a}, q_w={q_w}, clip=1e10)|energy()"
    ),
    r"mds|mds_half": "mahalanobis()",
    r"rmds": "relative_mahalanobis()",
    r"knn_k(?P<k>\d+)|knn_cosine_k(?P<k_cosine>\d+)": "knn(k={k})",
    r"nnguide_k(?P<k>\d+)_a1.0": "nnguide(k={k})",
    r"vim_d(?P<dim>\d+)": "vim(dim={dim})",
    r"residual_d(?P<dim>\d+)": "residual(dim={dim})",
    r"she_inner_product": "she()",
    r"she_(?P<metric>euclidean|cosine)": "she(metric='{metric}')",
    r"fdbd_distTrue": "fdbd()",
    r"nci_a(?P<alpha>[\d.]+)": "nci(alpha={alpha})",
    r"vra_lo(?P<q_low>\d+)_hi(?P<q_high>\d+)": (
        "vra(low={q_low}, high={q_high})|energy()"
    ),
}
# Eigendecompositions and sorts of every size that the files hold: a minute together.
_LONG = ("vim_d", "residual_d", "mds", "rmds", "knn_k", "nnguide_k", "line_pw", "ash_")
LONG = {text for text in METHODS if text.startswith(_LONG)}


class Method(NamedTuple):
    """A golden method as ours: a text in which `clip` may still be open."""

    text: str
    clip: str | None = None  # percentile of the threshold to put in for {clip}
    first: int | None = None  # of the training examples; None takes all


def method(name, pattern):
    """Returns what a method's name says by a pattern; None if it does not match."""
    found = re.fullmatch(pattern, name)
    if not found:
        return None
    values = {key: value for key, value in found.groupdict().items() if value}
    if "k_cosine" in values:
        values["k"] = values.pop("k_cosine")
    for key in values:
        if key == "q" or key.startswith("q_"):
            values[key] = repr(int(values[key]) / 100)
    clip, first = values.pop("clip", None), values.pop("first", None)
    text = METHODS[pattern].format(clip="{clip}", **values)
    return Method(text, clip, None if first is None else int(first))


# Keys that are compared with nothing: part of the name -> why.
OTHER = {
    "_fmap__": "on the map before pooling; ours stands after it, as the authors'",
    "quantile_p": "oodeel keeps z > quantile(z), another number of entries",
    "_thresh__": "no score; see the tests of fitted thresholds",
    "_alpha__": "no score; see test_vim_s_alpha",
    "dice_topkweight": "another method: raw weights, no statistics",
    "klm_predclass": "another method: the prototype of the predicted class only",
    "fdbd_distFalse": "divides by the norm of z instead",
    "gen_g0.1_M5__pytorch_ood": "p clamped at 1e-7, which moves it by 1.2 std",
    "gen_g0.1_M10__pytorch_ood": "the same",
    "gen_g0.1_M100__pytorch_ood": "the same",
    "gen_g0.1_MNone": "the same",
    "gen_x_residual": "a product of two scores, not in any paper here",
    "gradnorm_allparams": "gradients of all parameters; the paper's are the head's",
    "he_beta": "SHE's other score, which keeps every training feature",
    "relation": "not a method of the four papers",
    "iodin": "not a method of the four papers",
    "tempscale": "fits a temperature; neither peer converges",
    "kl_uniform": "not a method of the four papers",
    "knn_k50_raw": "without normalisation",
    "knn_k50_fpr95_auroc": "a metric",
    "mds_chol": "not a Mahalanobis distance",
    "mds_normstd": "normalised and standardised features",
    "mds__oodeel@feat": "float32 pinv drops directions: 64 of featB's",
    "rmds__oodeel@feat": "the same",
    "nnguide_k10_a0.5": "OpenOOD's subset of whole batches",
    "she_maxclass": "oodeel's own maximum over classes",
    "vim_meancentred": "m instead of u",
    "odin_nll": "the gradient of the raw logit alone",
    "line_shap_mean": "no score; see test_line_s_contributions",
    "bats_feature_mean_std": "no score",
    "featurenorm_block4_preact": "before the ReLU; ours applies it",
    "vra_lo10_hi90__openood@cnn": "OpenOOD raises small entries to the low quantile; "
    "the paper sets them to 0",
    "vra_lo10_hi90__pytorch_ood": "quantiles per feature, another method",
}

# Patterns of keys that need the network itself, and the tests that compare them.
WITH_NETWORK = {
    r"(react_|bats_)?odin_(?!nll).*": "odin_test.py",
    r"mds_half_layer3__.*|mds_odin_.*": "mahalanobis_ensemble_test.py",
    r"featurenorm_block\d__.*": "feature_norm_test.py",
    r"rankfeat_.*": "rankfeat_test.py",
}


def keys_of_network(folder, pattern):
    """The golden arrays of the case 'cnn' that match a pattern, by key, in float64."""
    if "cnn" not in golden_inputs.cases(folder):
        pytest.skip(f"{folder} holds features only, no network")
    stored = golden_inputs.scores(folder, "cnn")
    keys = [k for k in stored if re.fullmatch(pattern, k) and not left_out("cnn", k)]
    assert keys, f"no golden array matches {pattern}"
    return {key: stored[key].astype(np.float64) for key in keys}


TOLERANCES = {  # of the golden scores' standard deviation, where it is not 1e-4
    r"gen_g0.5_M\d+__pytorch_ood": 5e-3,  # p clamped at 1e-7
    r"gen_g0.1_M\d__.*": 2e-3,  # float32 1 - p near p = 1 in the peers
    r"gen_g0.1_M\d\d+__.*": 1e-3,
    r"entropy__pytorch_ood": 2e-4,  # p clipped at 1e-7
    r"rmds__.*": 2e-4,
    r"vim_d\d{1,3}__pytorch_ood": 5e-4,  # float32 eigh
    r"vim_d\d{4}__pytorch_ood": 4e-3,
}


def tolerance(key):
    """How far from a golden array we may be, in its standard deviations."""
    matching = (limit for p, limit in TOLERANCES.items() if re.fullmatch(p, key))
    return next(matching, 1e-4)


def tie_mask(case, name):
    """The mask of samples whose result depends on the sort; None for most methods.

    There the k-th largest entry ties with the next: more than k entries are at the
    clip value, or most features have fewer than k non-zeros.
    """
    if found := re.fullmatch(r"react_ash_s_p\d+_(p\d+)_pooled", name):
        return f"{case}|react_ash_{found[1]}"
    if found := re.fullmatch(r"ash_b_(p\d+_pooled)", name):
        return f"{case}|{found[1]}"
    return None


def scale(method, peer, score, classes, examples):
    """Our score [B] in a peer's sign, factor and power."""
    detector = method.split("_")[0]
    if detector == "gradnorm" or method.startswith("bats_gradnorm"):
        return -score if peer == "pytorch_ood" else classes * score
    if method == "knn_cosine_k50":
        return 1 - score**2 / 2
    if detector == "knn":
        return {"oodeel": score**2, "pytorch_ood": -score}.get(peer, -(score**2))
    if detector == "mds" and peer in ("maha", "oodeel", "pytorch_ood"):
        return {
            "maha": score / 2,
            "oodeel": -score / 2,
            "pytorch_ood": -score / (2 * examples),
        }[peer]
    if detector == "rmds" and peer in ("oodeel", "pytorch_ood"):
        return -score / {"oodeel": 2, "pytorch_ood": examples}[peer]
    if detector == "fdbd" and peer == "pytorch_ood":
        return -score / (classes - 1)
    if method == "gen_g0.5_M10" and peer == "pytorch_ood":
        return -score / 10  # the mean over M terms
    return -score if peer in ("pytorch_ood", "oodeel", "she") else score


def left_out(case, key):
    """The reason why a golden array is compared with nothing; None if it is."""
    for part, why in OTHER.items():
        name, _, only = part.partition("@")
        if name in key and case.startswith(only) and not re.match(r"react_p\d+__", key):
            return why
    return None
