"""Components that return a score per image, float32 [B], higher = more ID.

A new one is a file here and a line below; the parser, the contract tests and the
command line find it through `__all__`.
"""

from jood.scores.feature_map import feature_sim as feature_sim
from jood.scores.feature_map import feature_sim_channel as feature_sim_channel
from jood.scores.feature_map import feature_sim_median as feature_sim_median
from jood.scores.feature_map import feature_sim_std as feature_sim_std
from jood.scores.logit import energy as energy
from jood.scores.logit import max_logit as max_logit
from jood.scores.logit import msp as msp

__all__ = (
    "energy",
    "feature_sim",
    "feature_sim_channel",
    "feature_sim_median",
    "feature_sim_std",
    "max_logit",
    "msp",
)
