"""T2FNorm's test-time form; slot feature: `t2f_scale(tau=0.1)|msp()`."""

from jood._utils import arguments
from jood.core import component
from jood.core.component import Component


@component.row("T2FNorm", "t2f_scale(tau=0.1)|msp()")
def t2f_scale(tau: float = 0.1) -> Component:
    """Divides the feature by T2FNorm's temperature: f = (h / τ) W + b.

    A network that T2FNorm trained has only seen features h / ‖h‖₂ τ; without the norm
    short features stay short. It scales the feature, not the logits: the bias stays.
    The published code leaves τ out for networks of exactly 1000 classes: that is
    `msp()`.

    Args:
      tau: τ > 0, that of `jood.training.objectives.t2fnorm`; may be traced.

    Returns:
      A component of slot 'feature'; nothing is fitted.

    Raises:
      ValueError: tau is not a finite number above 0.

    References:
      Regmi, Panthi, Dotel, Gyawali, Stoyanov, Bhattarai, T2FNorm, CVPR Workshops 2024;
      its released code for the score.
    """
    arguments.check_positive("tau", tau)
    spec = component.call_spec("t2f_scale", tau=tau)
    return component.stateless(
        spec, "feature", lambda acts: acts.with_penultimate(acts.penultimate / tau)
    )
