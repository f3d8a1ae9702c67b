"""NAC-UE: are the states of this image's neurons states that training images had?

A neuron's state joins how active it is with how much the loss against the uniform
softmax would change with it. Training images cover some states often, others never.
The neurons are those of the penultimate layer, or the channels of a stage's map.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core import stage_gradients
from jood.core import stats
from jood.core.activations import Activations
from jood.core.component import Component
from jood.methods.scores.feature_map import flat

_BASE = 1000.0  # of the logarithm that spaces the bins, as in the authors' code


@component.row("NAC-UE")
def nac(
    M: int = 50,
    O: int = 50,  # noqa: E741  # the paper's name
    alpha: float = 100.0,
    stage: str | None = None,
) -> Component:
    """Neuron activation coverage: S = mean over neurons d of Φ_d(σ(α h_d g_d)).

    σ is the sigmoid and g = ∂/∂h of -(1/K) Σ_k log p_k, = W (p - 1/K).
    Φ_d(s) = min(n / O, 1) with n the number of training images whose state of neuron d
    lies in the same bin as s. The bins are narrow near 0 and 1 and wide at 1/2.

    For a stage, h_d and g_d are the sums over locations of channel d of the map and of
    its gradient. The authors' score is the mean over several layers, a fusion:
    `fuse(nac(), nac(stage='C4', M=500, O=100, alpha=1000.0), weights=(0.5, 0.5))`.

    Args:
      M: approximate number of bins, at least 4; 50 for CIFAR-10's penultimate layer.
      O: number of training images that cover a bin fully, at least 1; 50 likewise.
      alpha: steepness α above 0 of the sigmoid; 100 likewise. For other layers, the
        authors take 1000 (third of four stages) and 0.001 (first and second).
      stage: stage whose channels are the neurons, such as 'C4'; None for the
        penultimate layer. A stage costs another run of the network behind it, and its
        gradient.

    Returns:
      A score component, in [0, 1]. It fits the coverage, float32 [M - 1, D], in one
      pass.

    Raises:
      ValueError: a value is out of its range; or stage is not a stage name.

    References:
      Liu, Tian, Li, Ma, Wang, NAC (Neuron Activation Coverage), ICLR 2024, the neuron
      activation state, the coverage function and NAC-UE.
    """
    arguments.check_count("M", M)
    arguments.check_count("O", O)
    arguments.check_positive("alpha", alpha)
    if M < 4:
        raise ValueError(f"M must be at least 4, for bins on both sides, got {M=}.")
    if stage is not None:
        component.check_stage(stage)
    edges = jnp.asarray(_edges(M))

    def bins(acts: Activations) -> jax.Array:
        """The bin of each neuron's state, int32 [B, D]."""
        h, g = _of_feature(acts) if stage is None else _of_stage(acts, stage)
        state = jax.nn.sigmoid(alpha * h * g)
        return jnp.searchsorted(edges, state, side="right") - 1

    def counts(acts: Activations, mask: jax.Array) -> jax.Array:
        index = bins(acts)
        here = jnp.broadcast_to((mask > 0)[:, None], index.shape)
        zeros = jnp.zeros((len(edges) - 1, index.shape[-1]), jnp.int32)
        columns = jnp.arange(index.shape[-1])[None]
        return zeros.at[index, columns].add(here.astype(jnp.int32))

    def apply(fitted: tuple[Any, ...], acts: Activations) -> jax.Array:
        coverage = jnp.asarray(fitted[0])  # [M - 1, D]
        columns = jnp.arange(coverage.shape[-1])[None]
        return coverage[bins(acts), columns].mean(-1)

    def finalize(state: Any) -> np.ndarray:
        return np.minimum(np.asarray(state, np.float64) / O, 1.0).astype(np.float32)

    statistic = stats.sums(counts)._replace(finalize=finalize)
    spec = component.call_spec("nac", M=M, O=O, alpha=alpha, stage=stage)
    network = stage is not None
    return component.build(
        spec, "score", apply, (lambda _: statistic,), needs_network=network
    )


def _loss(acts: Activations) -> jax.Array:
    """-(1/K) Σ_k log p_k, the loss against the uniform softmax; [B]."""
    return -jax.nn.log_softmax(acts.logits).mean(-1)


def _of_feature(acts: Activations) -> tuple[jax.Array, jax.Array]:
    """The feature and the gradient of `_loss` at it, both [B, D]."""
    pull = jax.nn.softmax(acts.logits) - 1 / acts.logits.shape[-1]
    return acts.penultimate, jnp.matmul(pull, acts.kernel.T, precision="highest")


def _of_stage(acts: Activations, stage: str) -> tuple[jax.Array, jax.Array]:
    """Sums over the locations of a map and of the gradient of `_loss`; [B, C]."""
    gradient = stage_gradients.gradient(acts, stage, _loss)
    return flat(acts.stage(stage)).sum(1), flat(gradient).sum(1)


def _edges(M: int) -> np.ndarray:
    """The bins' edges from 0 to above 1, float32 [M], symmetric about 1/2."""
    lower = np.log(np.linspace(1.0, np.sqrt(_BASE), M // 2)) / np.log(_BASE)
    lower[-1] = 0.5  # where the states of inactive neurons lie: an edge, exactly
    upper = 1 - lower[-2::-1]
    upper[-1] += 0.01  # a state of 1 belongs to the last bin
    return np.concatenate([lower, upper, [1.2]]).astype(np.float32)
