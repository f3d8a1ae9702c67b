"""jood: out-of-distribution detection in JAX.

Shapes: B batch, H W C a map's height, width and channels, D penultimate width,
K classes, N examples. Every score is float32 [B] and higher means more
in-distribution. Quantile-like hyper-parameters are fractions in (0, 1).

    component = jood.parse('ta(k=0.2)|feature_sim()')
    detector = jood.Detector(component, model, variables)
    detector = detector.fit(train_batches)
    scores = detector(images)

`import jood` has no side effect and takes milliseconds: the names that it offers, and
JAX with them, are imported on first use.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from jood.version import VERSION

if TYPE_CHECKING:
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
    from jood.core.backbones.function import Backbone as Backbone
    from jood.core.backbones.observing import observe as observe
    from jood.core.backbones.protocol import Taps as Taps
    from jood.core.backbones.torch_configs import (
        torch_preprocessing as torch_preprocessing,
    )
    from jood.core.backbones.torch_support import torch_backbone as torch_backbone
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
    from jood.detector.false_discoveries import discoveries as discoveries
    from jood.detector.false_discoveries import q_values as q_values
    from jood.evaluation.comparison import compare as compare
    from jood.evaluation.selection import select as select
    from jood.extensions import register as register
    from jood.methods import presets as presets
    from jood.methods import scores as scores
    from jood.methods import transforms as transforms
    from jood.methods.detector_text import parse as parse

__version__ = VERSION

# The module that a name is, or that defines it.
_HOMES = {
    "Activations": "core.activations",
    "Answer": "detector",
    "AssumptionWarning": "core.assumptions",
    "Backbone": "core.backbones.function",
    "Component": "core.component",
    "Detector": "detector",
    "Fingerprinted": "_utils.fingerprinting",
    "MissingStageError": "core.activations",
    "NotFittedError": "core.component",
    "Preprocessing": "core.preprocessing",
    "Scorer": "deploy.scorer",
    "StageEdit": "core.activations",
    "Statistic": "core.component",
    "Taps": "core.backbones.protocol",
    "bundle": "core.compose",
    "chain": "core.compose",
    "combine": "core.p_values",
    "compare": "evaluation.comparison",
    "component": "core.component",
    "discoveries": "detector.false_discoveries",
    "fit": "core.fitting",
    "fuse": "core.compose",
    "metrics": "metrics",
    "models": "models",
    "observe": "core.backbones.observing",
    "parse": "methods.detector_text",
    "presets": "methods.presets",
    "q_values": "detector.false_discoveries",
    "register": "extensions",
    "scores": "methods.scores",
    "select": "evaluation.selection",
    "stats": "core.stats",
    "torch_backbone": "core.backbones.torch_support",
    "torch_preprocessing": "core.backbones.torch_configs",
    "transforms": "methods.transforms",
    "weights": "weights",
}
__all__ = tuple(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name, or a folder of the package, on first use."""
    if name in _HOMES:
        home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        is_home = _HOMES[name].rpartition(".")[2] == name
        globals()[name] = value = home if is_home else getattr(home, name)
        return value
    if importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """Returns the names that are loaded, and those that are imported on first use."""
    return sorted({*globals(), *__all__})
