"""LogitNorm: cross-entropy of logits of constant length.

Cross-entropy keeps growing the length of the logits of images that are classified
already, which makes the network certain of everything. Divided by their length, they
can only turn.
"""

import jax
import optax

from jood._utils import arguments
from jood.core import component
from jood.training.forward import TrainingPass
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part

EPSILON = 1e-7  # that the authors' code adds to the norm; the paper has none


def logit_norm_loss(logits: jax.Array, labels: jax.Array, tau: float) -> jax.Array:
    """CE(f / ((‖f‖₂ + 1e-7) τ), y), the mean over the batch, float32 [].

    Args:
      logits: f, float32 [B, K]. Where f = 0 the norm has gradient 0, as in PyTorch.
      labels: y, int32 [B].
      tau: τ > 0.
    """
    length = optax.safe_norm(logits, 0.0, axis=-1, keepdims=True)  # [B, 1]
    return softmax_cross_entropy(logits / ((length + EPSILON) * tau), labels)


def logitnorm(tau: float = 0.04) -> Objective:
    """L = CE(f / (‖f‖₂ τ), y); afterwards the network is scored on the plain logits.

    Args:
      tau: τ > 0, temperature. The authors' command for CIFAR-10 takes 0.01, OpenOOD
        0.04 for every data set.

    References:
      Wei, Xie, Cheng, Feng, An, Li, LogitNorm (Mitigating Neural Network
      Overconfidence with Logit Normalization), ICML 2022, the loss L_logit_norm; the
      released code for the 1e-7.
    """
    arguments.check_positive("tau", tau)
    tau = float(tau)

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        return logit_norm_loss(outputs.acts.logits, outputs.labels, tau), {}

    return Objective(component.call_spec("logitnorm", tau=tau), loss)
