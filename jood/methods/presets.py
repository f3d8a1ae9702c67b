"""Named detectors with the papers' values, as texts that `jood.parse` reads.

A preset is a template; what differs between benchmarks and networks (TA's k, a clip,
the weights of a fusion) is filled in from `jood.methods.preset_values`.
"""

import string
from typing import NamedTuple

from jood._utils import unknown_name
from jood.methods import factories
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
    "fs_ta_ash": "ta(k={k})|fuse(feature_sim(), ash_b(q=0.65)|energy(), weights={ash})",
    "fs_ta_odin": ("ta(k={k})|fuse(feature_sim(), odin(eps={eps}), weights={odin})"),
    # λ = 0.4 is of a GradNorm that is a mean over the D features: see `gradnorm`.
    "fs_ta_gradnorm": (
        "ta(k={k})|fuse(feature_sim(), gradnorm(norm='mean'), weights={gradnorm})"
    ),
    # HIMPLoS, Tables I and IV.
    "himplos": "{himplos}|energy()",
    "himplos_msp": "{himplos}|msp()",
    "himplos_odin": "{himplos}|odin(eps={eps})",
    "line_energy": "line({line})|energy()",
    "line_ls": "line({line})|prototype_smoothing()|energy()",
    # What they compare with.
    "react_energy": "react({react})|energy()",
    "dice_energy": "dice(q={dice})|energy()",
    "dice_react": "dice(q=0.1, clip=1.0)|energy()",
    "bats_energy": "bats(lam={bats})|energy()",
    "ash_energy": "ash_b(q=0.65)|energy()",
    "scale_energy": "scale(q=0.85)|energy()",
    "knn_paper": "knn(k={knn})",
    # Leaders of OpenOOD's tables. Those on normalised features also lead on
    # transformers, where shaping methods fail.
    "mds_plus_plus": "normalise()|mahalanobis()",
    "rmds_plus_plus": "normalise()|relative_mahalanobis()",
    "adascale_a_energy": "adascale_a()|energy()",
    "adascale_l_energy": "adascale_l()|energy()",
    "lts_energy": "lts(q=0.95)|energy()",
    "ras_energy": "ras()|energy()",
    "optfs_energy": "optfs()|energy()",
    "actsub_paper": "actsub({actsub})",
}

# Rows of compositions; a method names its own row beside its factory.
_COMPOSED: dict[str, str] = {
    "MSP+TA": "ta(k={k})|msp()",
    "MSP+TA+FS": PRESETS["fs_ta_msp"],
    "Energy+TA": "ta(k={k})|energy()",
    "Energy+TA+FS": PRESETS["fs_ta_energy"],
    "ReAct+TA": "ta(k={k})|react({react})|energy()",
    "ReAct+TA+FS": PRESETS["fs_ta_react"],
    "ASH-B+TA": "ta(k={k})|ash_b(q=0.65)|energy()",
    "ASH-B+TA+FS": PRESETS["fs_ta_ash"],
    "LINE+LS": PRESETS["line_ls"],
    "HIMPLoS": PRESETS["himplos"],
    # HIMPLoS, Table III (what each part adds) and Table IV (on other scores).
    "FM+LS": "feature_mask(q={mask})|prototype_smoothing()|energy()",
    "MSP+HIMPLoS": PRESETS["himplos_msp"],
    "ODIN+HIMPLoS": PRESETS["himplos_odin"],
    "ODIN+ReAct": "react({react})|odin(eps={eps})",
    "ODIN+TA+FS": PRESETS["fs_ta_odin"],
    "GradNorm+TA+FS": PRESETS["fs_ta_gradnorm"],
    "DICE+ReAct": PRESETS["dice_react"],
}

# Feature Sim's Table 2 (a score, with TA, with TA and FS), ASH's forms and Table 15;
# HIMPLoS and its nearest relatives; three that need no logits.
TABLE = (
    "MSP", "MSP+TA", "MSP+TA+FS", "MaxLogit", "Energy", "Energy+TA", "Energy+TA+FS",
    "ReAct", "ReAct+TA", "ReAct+TA+FS", "ASH-P", "ASH-S", "ASH-B", "ASH-B+TA",
    "ASH-B+TA+FS", "FS", "FS+TA", "FS+TA (median)", "FS+TA (std)", "FS+TA (channel)",
    "DICE", "LINE", "LINE+LS", "HIMPLoS", "KNN", "ViM",
)  # fmt: skip


class Filled(NamedTuple):
    """A template with its values filled in.

    Attributes:
      text: the text of a detector.
      spans: start and end of each value that was filled in, in bytes of UTF-8 as
        `ast` counts them, and the value's origin.
    """

    text: str
    spans: tuple[tuple[int, int, str], ...]


def preset(
    name: str, benchmark: str = DEFAULT, backbone: str = "", paper: str = ""
) -> str:
    """Returns the text of a preset with the values of a benchmark and a network.

    Args:
      name: one of `PRESETS`.
      benchmark: one of `preset_values.BENCHMARKS`.
      backbone: the network's name, such as 'resnet18_cifar'; values for it are used
        where the papers give any, else those of the benchmark's usual network.
      paper: paper whose table it is for, one of `paper_values.PAPERS`; its values of
        the methods that it compares with win. '' takes each method's own paper.

    Raises:
      ValueError: there is no preset, benchmark or paper of that name; near ones are
        listed.

    Example:
      >>> preset("knn_paper", "cifar10")
      'knn(k=50)'
      >>> preset("knn_paper", "cifar10", paper="feature_sim")
      'knn(k=1000)'
    """
    if name not in PRESETS:
        raise unknown_name.unknown("preset", name, PRESETS)
    return fill(PRESETS[name], benchmark, backbone, paper).text


def table(
    benchmark: str = DEFAULT, backbone: str = "", paper: str = ""
) -> dict[str, str]:
    """Returns the texts of the default table's rows by name."""
    rows = everything(benchmark, backbone, paper)
    return {name: rows[name] for name in TABLE}


def everything(
    benchmark: str = DEFAULT, backbone: str = "", paper: str = ""
) -> dict[str, str]:
    """Returns the texts of all methods' rows by name, the default table's first."""
    rows = templates().items()
    return {name: fill(text, benchmark, backbone, paper).text for name, text in rows}


def templates() -> dict[str, str]:
    """Returns the templates of all methods' rows by name, the default table's first."""
    rows = dict(_COMPOSED)
    for name, factory in factories.every().items():
        rows.update(factories.rows(name, factory))
    order = (*TABLE, *(name for name in rows if name not in TABLE))
    return {name: rows[name] for name in order}


def fill(
    template: str, benchmark: str = DEFAULT, backbone: str = "", paper: str = ""
) -> Filled:
    """Returns a template with the values of a benchmark, a network and a paper."""
    values = preset_values.resolve(benchmark, backbone, paper)
    text, spans = "", []
    pieces = string.Formatter().parse(template.replace("{himplos}", HIMPLOS))
    for literal, name, *_ in pieces:
        text += literal
        if name is not None:
            start = len(text.encode())
            text += values[name].text
            spans.append((start, len(text.encode()), values[name].source))
    return Filled(text, tuple(spans))
