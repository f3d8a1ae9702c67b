"""Named detectors with the papers' values, as texts that `jood.parse` reads.

A preset is a template; what differs between benchmarks (TA's k, say) is filled in
from `VALUES`. A benchmark without an entry of its own takes ImageNet's, the papers'
main one.
"""

import difflib

DEFAULT = "imagenet"

# Feature Map Matters in OOD Detection: k from Sec. 6 and App. A.1, λ from App. A.1.
# λ for ASH is not given: 'scale' is the rule that App. A.1 states in words.
PRESETS: dict[str, str] = {
    "fs_ta": "ta(k={k})|feature_sim()",
    "fs_ta_msp": "ta(k={k})|fuse(feature_sim(), msp(), weights=(1, 0.1))",
    "fs_ta_energy": "ta(k={k})|fuse(feature_sim(), energy(), weights=(1, 0.016))",
    "fs_ta_react": (
        "ta(k={k})|fuse(feature_sim(), react(q=0.9)|energy(), weights=(1, 0.028))"
    ),
    "fs_ta_ash": (
        "ta(k={k})|fuse(feature_sim(), ash_b(q=0.65)|energy(), weights='scale')"
    ),
}

VALUES: dict[str, dict[str, float]] = {
    "imagenet": {"k": 0.2},
    # The text gives "CIFAR100" twice, 0.2 and 0.15; the first is read as CIFAR-10.
    "cifar10": {"k": 0.2},
    "cifar100": {"k": 0.15},
    "coco_detection": {"k": 0.2},
    "ade20k_segmentation": {"k": 0.15},
}


def preset(name: str, benchmark: str = DEFAULT) -> str:
    """Returns the text of a preset with a benchmark's values.

    Raises:
      ValueError: there is no preset of that name; the nearest ones are listed.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.3)
        raise ValueError(
            f"unknown preset {name!r}; near: {', '.join(near) or 'none'}; "
            f"all: {', '.join(PRESETS)}."
        )
    return PRESETS[name].format(**VALUES.get(benchmark, VALUES[DEFAULT]))
