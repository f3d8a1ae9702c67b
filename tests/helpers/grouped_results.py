"""Scores on OOD sets in groups and on covariate-shifted ID sets."""

import types

import numpy as np

from jood.evaluation import benchmark_run

GROUPS = {"near": ("ninco", "ssb"), "far": ("dtd", "inat", "open_o")}
SETS = ("ninco", "ssb", "dtd", "inat", "open_o")


def described(scored=SETS, shifted=("v2", "c"), **fields):
    """A benchmark of which these sets are here."""
    usual = {"near": GROUPS["near"], "paper": SETS, "groups": GROUPS, "incomplete": {}}
    usual["absent"] = {name: "looked for x" for name in SETS if name not in scored}
    usual["shifted"] = dict.fromkeys(shifted)
    usual["absent_shifted"] = {
        n: "looked for y" for n in ("v2", "c") if n not in shifted
    }
    return types.SimpleNamespace(**{**usual, **fields})


def evaluated(scored=SETS, shifted=("v2", "c"), seed=0):
    rng = np.random.default_rng(seed)

    def scores(mean, size):
        return {"MSP": np.float32(rng.normal(size=size) + mean)}

    return benchmark_run.Evaluation(
        accuracy=0.9,
        id_scores=scores(2, 50),
        ood_scores={name: scores(-i / 4, 40) for i, name in enumerate(scored)},
        shifted={name: scores(1, 30) for name in shifted},
        spectrum=0.6 if shifted else float("nan"),
    )
