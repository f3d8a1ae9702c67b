"""Named detectors with the papers' values, as texts that `jood.parse` reads.

A preset is a template; what differs between benchmarks and networks (TA's k, the
masking fraction, a clip, the weights of a fusion) is filled in from
`jood.methods.preset_values`. `table` gives the rows of the default table, `everything`
those of all methods.
"""

from jood._utils import unknown_name
from jood.methods import preset_values

DEFAULT = "imagenet"

HIMPLOS = "feature_mask(q={mask})|react({clip})|prototype_smoothing()"
PRESETS: dict[str, str] = {
    # Feature Map Matters in OOD Detection, Table 2 and Sec. 6: both terms see the TA
    # pass.
    "fs_ta": "ta(k={k})|feature_sim()",
    "fs_ta_msp": "ta(k={k})|fuse(feature_sim(), msp(), weights={msp})",
    "fs_ta_energy": "ta(k={k})|fuse(feature_sim(), energy(), weights={energy})",
    "fs_ta_react": (
        "ta(k={k})|fuse(feature_sim(), react({react})|energy(), weights={fs_react})"
    ),
    "fs_ta_ash": (
        "ta(k={k})|fuse(feature_sim(), ash_b(q=0.65)|energy(), weights={ash})"
    ),
    "fs_ta_odin": "ta(k={k})|fuse(feature_sim(), odin(), weights={odin})",
    "fs_ta_gradnorm": "ta(k={k})|fuse(feature_sim(), gradnorm(), weights={gradnorm})",
    # HIMPLoS, Tables I and IV.
    "himplos": "{himplos}|energy()",
    "himplos_msp": "{himplos}|msp()",
    "himplos_odin": "{himplos}|odin()",
    "line_energy": "line({line})|energy()",
    "line_ls": "line({line})|prototype_smoothing()|energy()",
    # What they compare with.
    "react_energy": "react({react})|energy()",
    "dice_energy": "dice(q={dice})|energy()",
    "dice_react": "react(clip=1.0)|dice(q=0.1)|energy()",
    "bats_energy": "bats(lam={bats})|energy()",
    "ash_energy": "ash_b(q=0.65)|energy()",
    "scale_energy": "scale(q=0.85)|energy()",
    "knn_paper": "knn(k={knn})",
}

# The rows of Feature Sim's Table 2 (a score, with TA, with TA and FS), ASH's forms and
# Table 15; HIMPLoS and its nearest relatives; three that need no logits.
_TABLE: dict[str, str] = {
    "MSP": "msp()",
    "MSP+TA": "ta(k={k})|msp()",
    "MSP+TA+FS": PRESETS["fs_ta_msp"],
    "MaxLogit": "max_logit()",
    "Energy": "energy()",
    "Energy+TA": "ta(k={k})|energy()",
    "Energy+TA+FS": PRESETS["fs_ta_energy"],
    "ReAct": PRESETS["react_energy"],
    "ReAct+TA": "ta(k={k})|react({react})|energy()",
    "ReAct+TA+FS": PRESETS["fs_ta_react"],
    "ASH-P": "ash_p(q=0.6)|energy()",
    "ASH-S": "ash_s(q=0.9)|energy()",
    "ASH-B": PRESETS["ash_energy"],
    "ASH-B+TA": "ta(k={k})|ash_b(q=0.65)|energy()",
    "ASH-B+TA+FS": PRESETS["fs_ta_ash"],
    "FS": "feature_sim()",
    "FS+TA": PRESETS["fs_ta"],
    "FS+TA (median)": "ta(k={k})|feature_sim_median()",
    "FS+TA (std)": "ta(k={k})|feature_sim_std()",
    "FS+TA (channel)": "ta(k={k})|feature_sim_channel()",
    "DICE": PRESETS["dice_energy"],
    "LINE": PRESETS["line_energy"],
    "LINE+LS": PRESETS["line_ls"],
    "HIMPLoS": PRESETS["himplos"],
    "KNN": PRESETS["knn_paper"],
    "ViM": "vim()",
}

# HIMPLoS, Table III (what each part adds) and Table IV (on other scores).
_HIMPLOS: dict[str, str] = {
    "ReAct+FM": "feature_mask(q={mask})|react({clip})|energy()",
    "ReAct+LS": "react({clip})|prototype_smoothing()|energy()",
    "FM+LS": "feature_mask(q={mask})|prototype_smoothing()|energy()",
    "MSP+HIMPLoS": PRESETS["himplos_msp"],
    "ODIN+HIMPLoS": PRESETS["himplos_odin"],
}

_OTHERS: dict[str, str] = {
    "ODIN": "odin()",
    "ODIN+ReAct": "react({react})|odin()",
    "ODIN+TA+FS": PRESETS["fs_ta_odin"],
    "GradNorm": "gradnorm()",
    "GradNorm+TA+FS": PRESETS["fs_ta_gradnorm"],
    "Mahalanobis": "mahalanobis()",
    "Mahalanobis (layers)": "mahalanobis_ensemble()",
    "Relative Mahalanobis": "relative_mahalanobis()",
    "DICE+ReAct": PRESETS["dice_react"],
    "BATS": PRESETS["bats_energy"],
    "SCALE": PRESETS["scale_energy"],
    "VRA": "vra()|energy()",
    "KLM": "klm()",
    "GEN": "gen()",
    "Entropy": "entropy()",
    "NNGuide": "nnguide()",
    "SHE": "she()",
    "fDBD": "fdbd()",
    "NCI": "nci()",
    "Residual": "residual()",
    "RankFeat": "rankfeat()",
    "FeatureNorm": "feature_norm()",
    "FeatureNorm (NormRatio)": "feature_norm_selected()",
    "FS+TA (GMM)": "ta(k={k})|gmm()",
    "FS+TA (Gram std)": "ta(k={k})|gram(statistic='std')",
    "FS+TA (Gram MAD)": "ta(k={k})|gram(statistic='mad')",
    "FS+TA (Gram mean)": "ta(k={k})|gram(statistic='mean')",
    "Pixel MSP": "pixel_msp()",
    "Feature L2 norm": "penultimate_norm()",
    "SSOD (OOD factor)": "ood_factor()",
    "SSOD (posterior)": "joint_posterior()",
}
SHOWN = ("MSP", "Energy", "ReAct", "HIMPLoS", "FS+TA", "Energy+TA+FS")  # in pictures


def preset(name: str, benchmark: str = DEFAULT, backbone: str = "") -> str:
    """Returns the text of a preset with the values of a benchmark and a network.

    Args:
      name: one of `PRESETS`.
      benchmark: one of `preset_values.BENCHMARKS`.
      backbone: the network's name, such as 'resnet18_cifar'; values for it are used
        where the papers give any, else those of the benchmark's usual network.

    Raises:
      ValueError: there is no preset or benchmark of that name; near ones are listed.
    """
    if name not in PRESETS:
        raise unknown_name.unknown("preset", name, PRESETS)
    return _fill(PRESETS[name], benchmark, backbone)


def table(benchmark: str = DEFAULT, backbone: str = "") -> dict[str, str]:
    """Returns the texts of the default table's rows by name."""
    return {name: _fill(text, benchmark, backbone) for name, text in _TABLE.items()}


def everything(benchmark: str = DEFAULT, backbone: str = "") -> dict[str, str]:
    """Returns the texts of all methods' rows by name."""
    rows = {**_TABLE, **_HIMPLOS, **_OTHERS}
    return {name: _fill(text, benchmark, backbone) for name, text in rows.items()}


def _fill(text: str, benchmark: str, backbone: str) -> str:
    found = preset_values.values(benchmark, backbone)
    return text.replace("{himplos}", HIMPLOS).format(**found)
