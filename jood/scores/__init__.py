"""Components that return a score per image, float32 [B], higher = more ID.

A new one is a file here and a line below; the parser, the contract tests and the
command line find it through `__all__`.
"""

from jood.scores.entropy import entropy as entropy
from jood.scores.fdbd import fdbd as fdbd
from jood.scores.feature_map import feature_sim as feature_sim
from jood.scores.feature_map import feature_sim_channel as feature_sim_channel
from jood.scores.feature_map import feature_sim_median as feature_sim_median
from jood.scores.feature_map import feature_sim_std as feature_sim_std
from jood.scores.feature_norm import feature_norm as feature_norm
from jood.scores.feature_norm import feature_norm_selected as feature_norm_selected
from jood.scores.gen import gen as gen
from jood.scores.gmm import gmm as gmm
from jood.scores.gradnorm import gradnorm as gradnorm
from jood.scores.gram import gram as gram
from jood.scores.klm import klm as klm
from jood.scores.knn import knn as knn
from jood.scores.logit import energy as energy
from jood.scores.logit import max_logit as max_logit
from jood.scores.logit import msp as msp
from jood.scores.mahalanobis import mahalanobis as mahalanobis
from jood.scores.mahalanobis import relative_mahalanobis as relative_mahalanobis
from jood.scores.mahalanobis_ensemble import (
    mahalanobis_ensemble as mahalanobis_ensemble,
)
from jood.scores.nci import nci as nci
from jood.scores.nnguide import nnguide as nnguide
from jood.scores.odin import odin as odin
from jood.scores.penultimate_norm import penultimate_norm as penultimate_norm
from jood.scores.pixel_msp import pixel_msp as pixel_msp
from jood.scores.rankfeat import rankfeat as rankfeat
from jood.scores.she import she as she
from jood.scores.ssod import joint_posterior as joint_posterior
from jood.scores.ssod import ood_factor as ood_factor
from jood.scores.vim import residual as residual
from jood.scores.vim import vim as vim

__all__ = (
    "energy",
    "entropy",
    "fdbd",
    "feature_norm",
    "feature_norm_selected",
    "feature_sim",
    "feature_sim_channel",
    "feature_sim_median",
    "feature_sim_std",
    "gen",
    "gmm",
    "gradnorm",
    "gram",
    "joint_posterior",
    "klm",
    "knn",
    "mahalanobis",
    "mahalanobis_ensemble",
    "max_logit",
    "msp",
    "nci",
    "nnguide",
    "odin",
    "ood_factor",
    "penultimate_norm",
    "pixel_msp",
    "rankfeat",
    "relative_mahalanobis",
    "residual",
    "she",
    "vim",
)
