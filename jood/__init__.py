"""jood: out-of-distribution detection in JAX.

Shapes: B batch, H W C a map's height, width and channels, D penultimate width,
K classes, N examples. Every score is float32 [B] and higher means more
in-distribution. Quantile-like hyper-parameters are fractions in (0, 1).

    component = jood.parse('ta(k=0.2)|feature_sim()')
    detector = jood.Detector(component, model, variables)
    detector = detector.fit(train_batches)
    scores = detector(images)

`import jood` has no side effect; submodules with heavier dependencies (`jood.data`,
`jood.training`, `jood.report`, `jood.testing`) are imported by name.
"""

from jood import metrics as metrics
from jood import models as models
from jood import weights as weights
from jood._utils.fingerprinting import Fingerprinted as Fingerprinted
from jood.core import component as component
from jood.core import stats as stats
from jood.core.activations import Activations as Activations
from jood.core.activations import MissingStageError as MissingStageError
from jood.core.activations import StageEdit as StageEdit
from jood.core.assumptions import AssumptionWarning as AssumptionWarning
from jood.core.backbones.linen import Taps as Taps
from jood.core.backbones.linen import observe as observe
from jood.core.component import Component as Component
from jood.core.component import NotFittedError as NotFittedError
from jood.core.component import Statistic as Statistic
from jood.core.compose import bundle as bundle
from jood.core.compose import chain as chain
from jood.core.compose import fuse as fuse
from jood.core.fitting import fit as fit
from jood.core.p_values import combine as combine
from jood.core.preprocessing import Preprocessing as Preprocessing
from jood.deploy.scorer import Scorer as Scorer
from jood.detector import Answer as Answer
from jood.detector import Detector as Detector
from jood.evaluation.comparison import compare as compare
from jood.evaluation.selection import select as select
from jood.extensions import register as register
from jood.methods import presets as presets
from jood.methods import scores as scores
from jood.methods import transforms as transforms
from jood.methods.detector_text import parse as parse
from jood.version import VERSION

__version__ = VERSION

__all__ = (
    "Activations",
    "Answer",
    "AssumptionWarning",
    "Component",
    "Detector",
    "Fingerprinted",
    "MissingStageError",
    "NotFittedError",
    "Preprocessing",
    "Scorer",
    "StageEdit",
    "Statistic",
    "Taps",
    "bundle",
    "chain",
    "combine",
    "compare",
    "component",
    "fit",
    "fuse",
    "metrics",
    "models",
    "observe",
    "parse",
    "presets",
    "register",
    "scores",
    "select",
    "stats",
    "transforms",
    "weights",
)
