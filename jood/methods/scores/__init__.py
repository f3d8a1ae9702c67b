"""Components that return a score per image, float32 [B], higher = more ID.

A new one is a file here and a line below; the parser, the contract tests and the
command line find it through `__all__`.
"""

import inspect

from jood.methods.scores.actsub import actsub as actsub
from jood.methods.scores.actsub_gen import actsub_gen as actsub_gen
from jood.methods.scores.cadref import cadref as cadref
from jood.methods.scores.cadref import caref as caref
from jood.methods.scores.combood import combood as combood
from jood.methods.scores.csi import csi as csi
from jood.methods.scores.csi import csi_marginal as csi_marginal
from jood.methods.scores.doctor import doctor_alpha as doctor_alpha
from jood.methods.scores.doctor import doctor_beta as doctor_beta
from jood.methods.scores.entropy import entropy as entropy
from jood.methods.scores.fdbd import fdbd as fdbd
from jood.methods.scores.feature_map import feature_sim as feature_sim
from jood.methods.scores.feature_map import feature_sim_channel as feature_sim_channel
from jood.methods.scores.feature_map import feature_sim_median as feature_sim_median
from jood.methods.scores.feature_map import feature_sim_std as feature_sim_std
from jood.methods.scores.feature_norm import feature_norm as feature_norm
from jood.methods.scores.feature_norm import (
    feature_norm_selected as feature_norm_selected,
)
from jood.methods.scores.gen import gen as gen
from jood.methods.scores.gmm import gmm as gmm
from jood.methods.scores.godin import godin as godin
from jood.methods.scores.grad_uncertainty import grad_uncertainty as grad_uncertainty
from jood.methods.scores.gradnorm import gradnorm as gradnorm
from jood.methods.scores.gram import gram as gram
from jood.methods.scores.gram_deviation import gram_deviation as gram_deviation
from jood.methods.scores.iodin import iodin as iodin
from jood.methods.scores.klm import klm as klm
from jood.methods.scores.knn import knn as knn
from jood.methods.scores.logit import energy as energy
from jood.methods.scores.logit import max_logit as max_logit
from jood.methods.scores.logit import msp as msp
from jood.methods.scores.mahalanobis import mahalanobis as mahalanobis
from jood.methods.scores.mahalanobis import relative_mahalanobis as relative_mahalanobis
from jood.methods.scores.mahalanobis_ensemble import (
    mahalanobis_ensemble as mahalanobis_ensemble,
)
from jood.methods.scores.max_cosine import max_cosine as max_cosine
from jood.methods.scores.max_cosine import relative_cosine as relative_cosine
from jood.methods.scores.mcm import mcm as mcm
from jood.methods.scores.mos import mos as mos
from jood.methods.scores.nac import nac as nac
from jood.methods.scores.nci import nci as nci
from jood.methods.scores.neglabel import neglabel as neglabel
from jood.methods.scores.nnguide import nnguide as nnguide
from jood.methods.scores.odin import odin as odin
from jood.methods.scores.openmax import openmax as openmax
from jood.methods.scores.penultimate_norm import penultimate_norm as penultimate_norm
from jood.methods.scores.pixel_msp import pixel_msp as pixel_msp
from jood.methods.scores.prototype_cosine import prototype_cosine as prototype_cosine
from jood.methods.scores.rankfeat import rankfeat as rankfeat
from jood.methods.scores.relation import relation as relation
from jood.methods.scores.she import she as she
from jood.methods.scores.ssd import ssd as ssd
from jood.methods.scores.ssod import joint_posterior as joint_posterior
from jood.methods.scores.ssod import ood_factor as ood_factor
from jood.methods.scores.vim import residual as residual
from jood.methods.scores.vim import vim as vim
from jood.methods.scores.weighted_energy import weighted_energy as weighted_energy
from jood.methods.scores.weiper import weiper_kld as weiper_kld

__all__ = tuple(
    sorted(name for name, value in vars().items() if inspect.isfunction(value))
)
