"""Which array of the second golden set is which detector of ours.

As `golden_cases`, for the arrays of `scores_post_<case>.npz`, and for those of the
first set whose methods came with it. `OTHER` says why the rest is not compared.
"""

import functools
import re
from typing import NamedTuple

import numpy as np

from helpers import golden_inputs

# Groups named q... are percentages that our texts take as fractions.
METHODS = {
    r"maxcosine": "max_cosine()",
    r"rcos": "relative_cosine()",
    r"doctor_(?P<kind>alpha|beta)(_T1)?": "doctor_{kind}()",
    r"tempscale_opt_msp": "fitted_temperature()|msp()",
    r"mdspp": "normalise()|mahalanobis()",
    r"rmdspp": "normalise()|relative_mahalanobis()",
    r"ras": "ras()|energy()",
    r"lts_p(?P<q>\d+)": "lts(q={q})|energy()",
    r"lts_msp_p(?P<q>\d+)": "lts(q={q})|msp()",
    r"optfs_energy": "optfs()|energy()",
    r"cadref_(?P<logit>energy|msp|gen)": "cadref(logit='{logit}')",
    r"cadref_maxlogit": "cadref(logit='max_logit')",
    r"caref": "caref()",
    r"actsub_scale(?P<q>\d+)_lam(?P<lam>[\d.]+)_k(?P<k>\d+)": (
        "actsub(k={k}, q={q}, lam={lam})"
    ),
    r"actsub_ash_s(?P<q>\d+)_lam(?P<lam>[\d.]+)_k(?P<k>\d+)": (
        "actsub(k={k}, shape='ash_s', q={q}, lam={lam})"
    ),
    r"actsub_dec_scale(?P<q>\d+)_k(?P<k>\d+)": "actsub(k={k}, q={q}, lam=0.0)",
    r"actsub_dec_ash_s(?P<q>\d+)_k(?P<k>\d+)": (
        "actsub(k={k}, shape='ash_s', q={q}, lam=0.0)"
    ),
    r"actsub_gen_g(?P<gamma>[\d.]+)_M(?P<M>\d+)_lam(?P<lam>[\d.]+)_k(?P<k>\d+)": (
        "actsub_gen(k={k}, gamma={gamma}, M={M}, lam={lam})"
    ),
    r"relation_pow(?P<power>[\d.]+).*": "relation(power={power})",
    r"nac_feat_M(?P<M>\d+)_O(?P<O>\d+)_a(?P<alpha>[\d.]+)": (
        "nac(M={M}, O={O}, alpha={alpha})"
    ),
    r"graduncertainty_fc_weight_bias": "grad_uncertainty()",
    r"graduncertainty_fc_weight": "grad_uncertainty(parameters='weight')",
    r"openmax_a(?P<alpha>\d+)_t(?P<tail>\d+)": "openmax(alpha={alpha}, tail={tail})",
}
# Arrays of the first set whose methods belong to the second.
FIRST_SET = ("relation", "iodin")


class Array(NamedTuple):
    """A golden array of scores and our text for it."""

    case: str
    name: str
    peer: str
    text: str
    golden: np.ndarray  # float64 [B]


# Keys that are compared with nothing: part of the key -> why.
OTHER = {
    "dice_react": "compared with the first set",
    "line_pw": "compared with the first set",
    "doctor_alpha_T1000": "float32 resolution, 2e-2 std",
    "tempscale_train_T": "a peer's fit, which does not converge",
    "tempscale_opt_T": "no score; see test_the_fitted_temperature",
    "tempscale_opt_nll": "no score",
    "ras_mean_curve": "no score; see test_the_mean_curve_of_ras",
    "ras_tie_mask": "a mask",
    "webo_weights": "the weights of webo",
    "pnml": "not a method of jood",
    "__adascale": "the authors' code fits with k1 and k2 swapped",
    "_perturbed_first": "no score",
    "_perturbed_feat__": "given to test_adascale_with_the_stored_shift",
    "_train_perturbed_feat": "given to test_adascale_with_the_stored_shift",
    "_percentile__": "no score; each gives a number of entries",
    "fisher_c_k_mu_s2": "no score; see test_fisher_and_brown",
    "fisher_inputs_test": "the inputs of fisher_brown",
    "combood_knn": "knn() squared, compared with the first set",
    "combood_yeojohnson": "no score; see test_combood",
    "combood_extreme": "the values of combood_mahala",
    "_val_mask__": "given to test_gram_deviation",
    "_layer_norm__": "no score; see test_gram_deviation",
    "agg_mean": "not a method of jood",
    "nac_feat_M50_O50_a100__pytorch_ood": "other bins, and a sum over layers",
    "nac_feat_M500_O5_a10__pytorch_ood": "the same",
    "graduncertainty_allparams": "gradients of the whole network; ours are the head's",
    "_train_density": "no score; see test_weiper",
    "weiper_noise_check": "checks the noise that test_weiper draws",
    "_minmax__weiper": "no score; see test_weiper",
    "_weibull__": "no score; see test_the_weibull_distributions_of_openmax",
    "_w0.5__pytorch_ood": "other means, distance and distribution",
    "_w1.0__pytorch_ood": "the same",
    "actsub_c_idx": "above the rank of the head, where the split is arbitrary",
    "_meanlogit__": "no score",
    "optfs_theta": "no score; see test_the_bins_of_optfs",
    "optfs_left": "no score; see test_the_bins_of_optfs",
    "optfs_width": "no score; see test_the_bins_of_optfs",
    "agg_std": "not a method of jood",
}
# Patterns of keys that other tests compare, by the name of the test.
ELSEWHERE = {
    r"webo": "test_weighted_energy_with_the_stored_weights",
    r"doctor_alpha_T1_eps[\d.]+": "test_doctor_s_step",
    r"adascale_[al]_p.*": "test_adascale",
    r"iodin_.*": "test_iodin",
    r"weiper_kld_.*": "test_weiper",
    r"fisher_(brown|tau)": "test_fisher_and_brown",
    r"combood_(sqlog|mahala)": "test_combood",
    r"optfs_vanilla": "test_optfs_as_the_logit_of_the_predicted_class",
    r"actsub_insig_k\d+": "test_the_insignificant_part_of_actsub",
    r"gram_p\d+": "test_gram_deviation",
    r"nac_maps432": "test_nac_of_three_stages",
}

TOLERANCES = {  # of the golden scores' standard deviation, where it is not 1e-4
    r"lts_msp_.*": 1.5e-3,  # saturated, and float32 on both sides
    r"mdspp__openmibood": 2e-4,
    r"cadref_gen__.*": 1e-3,  # float32 1 - p near p = 1
    # As ODIN's (section 5 of the first README): signs of gradients near 0, and the
    # resolution of scores at T = 1000.
    r"iodin_.*": 2e-4,
}


def tolerance(key):
    """How far from a golden array we may be, in its standard deviations."""
    matching = (limit for p, limit in TOLERANCES.items() if re.fullmatch(p, key))
    return next(matching, 1e-4)


OUTSIDE = {  # shares of samples that may be further away, as README_2.md lists
    r"nac_.*": 0.05,  # a state within rounding of a bin's edge
    r"actsub_.*ash_s90_.*": 0.005,  # an entry beside the last that is kept
    r"actsub_gen_.*": 0.02,  # float32 1 - p near p = 1, as gen's
    # Roots of sums that cancel, of maps before a ReLU: the same in float64.
    r"gram_p.*": 0.01,
}


def allowed_outside(key):
    """The share of samples that may be further away."""
    matching = (share for p, share in OUTSIDE.items() if re.fullmatch(p, key))
    return next(matching, 0.0)


@functools.cache
def stored(folder, case):
    """All golden arrays that belong here, by key, as the peers returned them."""
    first = golden_inputs.load(folder / f"scores_{case}.npz")
    path = folder / f"scores_post_{case}.npz"
    second = golden_inputs.load(path) if path.is_file() else {}
    return {k: v for k, v in first.items() if k.startswith(FIRST_SET)} | second


def text_of(name, pattern):
    """Our text of a method's name by a pattern; None if it does not match."""
    found = re.fullmatch(pattern, name)
    if not found:
        return None
    values = {key: value for key, value in found.groupdict().items() if value}
    for key in values:
        if key == "q" or key.startswith("q_"):
            values[key] = repr(int(values[key]) / 100)
    return METHODS[pattern].format(**values)


def arrays(folder, pattern):
    """Yields the golden arrays that a pattern of `METHODS` covers."""
    for case in golden_inputs.cases(folder):
        for key, golden in stored(folder, case).items():
            name, _, peer = key.partition("__")
            text = text_of(name, pattern)
            if text and not left_out(key):
                yield Array(case, name, peer, text, golden.astype(np.float64))


def left_out(key):
    """The reason why a golden array is compared with nothing; None if it is."""
    return next((why for part, why in OTHER.items() if part in key), None)


def known(key):
    """Whether a key is compared here or elsewhere, or left out for a reason."""
    name = key.partition("__")[0]
    patterns = (*METHODS, *ELSEWHERE)
    return left_out(key) or any(re.fullmatch(p, name) for p in patterns)


def compared(folder, case, array):
    """The rows of an array that do not depend on the sort, bool [B]."""
    if array.name == "ras":
        return ~stored(folder, case)["ras_tie_mask__own"]
    if array.name.startswith("graduncertainty"):
        # PyTorch loses classes with p (1 - p) < 1e-12, which ours counts.
        _, test = golden_inputs.records(folder, case)
        f = np.asarray(test.logits, np.float64)
        p = np.exp(f - f.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return (p * (1 - p)).min(-1) > 1e-11
    return np.ones(len(array.golden), bool)


def scale(name, peer, score):
    """Our score [B], float64, in a peer's sign and form."""
    if name.startswith("doctor_alpha") and peer == "detectors":
        return score / (1 - score)  # -(1 - g)
    return -score if peer in ("pytorch_ood", "oodeel", "doctor") else score
