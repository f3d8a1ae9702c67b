"""The state that a training step changes, and how a run begins."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
import optax

from jood._utils import compiling
from jood.training.forward import NETWORK_COLLECTIONS
from jood.training.forward import look
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import added as added_by


class TrainState(struct.PyTreeNode):
    """Everything that a run needs to resume, except its place in the data.

    Attributes:
      step: Number of steps done, int32 [].
      trained: The collections that the optimiser changes, float32.
      model_state: The other collections: 'batch_stats', and an objective's own state.
      opt_state: The optimiser's state.
      rng: Data of the key that, with the step, decides what is drawn, uint32 [2].
      start: The variables before the first step, for an objective with a `reference`,
        else {}. Steps pass them on; `start_network` keeps them on disk.
    """

    step: jax.Array
    trained: dict[str, Any]
    model_state: dict[str, Any]
    opt_state: optax.OptState
    rng: jax.Array
    start: dict[str, Any] = struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """Returns what `model.apply` and `jood.observe` take."""
        return {**self.trained, **self.model_state}

    def as_saved(self) -> dict[str, Any]:
        """Returns the tree that a checkpoint holds; `from_saved` is the inverse."""
        own = ("step", "trained", "opt_state", "rng")
        return {**{name: getattr(self, name) for name in own}, **self.model_state}

    def from_saved(self, tree: Mapping[str, Any]) -> "TrainState":
        """Returns a state like this one, with the values of a checkpoint's tree."""
        model_state = {name: tree[name] for name in self.model_state}
        rest = {name: tree[name] for name in tree.keys() - model_state.keys()}
        return self.replace(model_state=model_state, **rest)

    def is_finite(self) -> bool:
        """Whether the network and the optimiser hold no NaN and no infinity."""
        return bool(_all_finite((self.variables, self.opt_state)))


@jax.jit
def _all_finite(arrays: Any) -> jax.Array:
    leaves = jax.tree.leaves(jax.tree.map(lambda x: jnp.isfinite(x).all(), arrays))
    return jnp.stack(leaves).all()


def with_new_head(
    model: nn.Module,
    variables: Mapping[str, Any],
    image_shape: tuple[int, ...],  # (H, W, C)
    seed: int,
) -> dict[str, Any]:
    """Returns a trained network's variables with a new, random classifier of `model`.

    What an objective added is dropped: it was trained on the old classes.
    """
    images = jnp.zeros([1, *image_shape])
    initial = compiling.run_once(model.init, jax.random.key(seed), images)
    head = initial["params"]["head"]
    kept = {k: variables[k] for k in NETWORK_COLLECTIONS if k in variables}
    return {**kept, "params": {**variables["params"], "head": head}}


def create_state(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, ...],  # (H, W, C)
    seed: int,
    variables: Mapping[str, Any] | None = None,
) -> TrainState:
    """Initialises a run from one seed: with a trained network's variables, or random.

    Collections that the objective adds and these variables lack are begun anew.
    """
    images = jnp.zeros([1, *image_shape])
    key = jax.random.key(seed)
    if variables is None:
        variables = compiling.run_once(model.init, key, images)
    variables = jax.tree.map(jnp.asarray, dict(variables))
    width, classes = jax.eval_shape(
        lambda v, x: look(model, v, x, jnp.zeros(1, jnp.int32), train=False)[0].acts,
        variables,
        images,
    ).kernel.shape
    added = added_by(objective, jax.random.fold_in(key, 1), width, classes)
    reserved = {*NETWORK_COLLECTIONS, *TrainState.__dataclass_fields__}
    if reserved & added.keys() or not set(objective.state) <= added.keys():
        raise ValueError(
            f"{objective.spec} adds {list(added)} and keeps {list(objective.state)} "
            "from the optimiser. What it keeps must be among what it adds, and no name "
            f"may be one of {', '.join(sorted(reserved))}."
        )
    added = {name: variables.get(name, new) for name, new in added.items()}
    model_state = {name: added.pop(name) for name in objective.state}
    trained = {"params": variables["params"], **added}
    state = TrainState(
        step=jnp.zeros([], jnp.int32),
        trained=trained,
        model_state={"batch_stats": variables.get("batch_stats", {}), **model_state},
        opt_state=optimizer.init(trained),
        rng=jax.random.key_data(jax.random.fold_in(key, 2)),
    )
    if objective.reference is None:
        return state
    # Copies: a step reuses the memory of what it changes.
    return state.replace(start=jax.tree.map(jnp.copy, state.variables))


def shapes(
    model: nn.Module,
    objective: Objective,
    image_shape: tuple[int, ...],  # (H, W, C)
) -> dict[str, Any]:
    """Returns the variables that a run begins with, as shapes: nothing is computed."""

    def variables_at_start() -> dict[str, Any]:
        state = create_state(model, objective, optax.identity(), image_shape, 0)
        return state.variables

    return jax.eval_shape(variables_at_start)
