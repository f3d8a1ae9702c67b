"""Temperature scaling of the logits; slot logit: `temperature(T=2.0)|msp()`."""

from jood._utils import arguments
from jood.core import component
from jood.core.component import Component


@component.row("MSP (T = 1000)", "temperature(T=1000.0)|msp()")
def temperature(T: float = 1.0) -> Component:
    """Divides the logits by T: f / T.

    Args:
      T: temperature above 0; may be traced.

    Returns:
      A component of slot 'logit'; nothing is fitted.

    Raises:
      ValueError: T is not a finite number above 0.

    References:
      Guo et al., On Calibration of Modern Neural Networks, ICML 2017; Liang, Li,
      Srikant, ODIN, ICLR 2018, Eq. 1.
    """
    arguments.check_positive("T", T)
    spec = component.call_spec("temperature", T=T)
    return component.stateless(
        spec, "logit", lambda acts: acts.with_logits(acts.logits / T)
    )
