"""The L2 norm of the penultimate feature, small where LFF made its parts small."""

from jood.core import component
from jood.core import norms
from jood.core.component import Component


@component.row("Feature L2 norm")
def penultimate_norm() -> Component:
    """How strongly the network responds: S = ‖h‖₂, h the penultimate feature.

    The published detector of this kind takes a norm of the map (`feature_norm`).

    Returns:
      A score component, in units of the feature, >= 0.

    References:
      LFF (Local Background Features Matter in OOD Detection), Fig. 5: its distributions
    """
    return component.score(
        component.call_spec("penultimate_norm"),
        lambda acts: norms.l2(acts.penultimate),
        reads=("feature",),
    )
