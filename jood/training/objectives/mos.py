"""MOS: a softmax within each group of similar classes, with one more class, "others".

Every image is of "others" in all groups but its own, so that an OOD image may be of
"others" in all. The classes' logits are those of the network's classifier, the others'
those of a head beside it.
"""

import collections
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jood._utils import arguments
from jood.core import component
from jood.core.activations import linear
from jood.methods.scores.mos import GROUPS
from jood.methods.scores.mos import HEAD
from jood.methods.scores.mos import group_log_softmax
from jood.training.forward import TrainingPass
from jood.training.objectives.objective import Augmented
from jood.training.objectives.objective import Objective
from jood.training.objectives.objective import Part


def group_loss(
    logits: jax.Array, others: jax.Array, group: jax.Array, labels: jax.Array
) -> jax.Array:
    """Σ_g CE within group g, float32 [B]: the class in its own, "others" elsewhere.

    Args:
      logits: Logits of the classes, float32 [B, K].
      others: Logits of each group's "others", float32 [B, G].
      group: Group of each class, int32 [K].
      labels: y, int32 [B].
    """
    classes, rest = group_log_softmax(logits, others, group)
    true = jnp.take_along_axis(classes, labels[:, None], axis=-1)[:, 0]
    own = jax.nn.one_hot(group[labels], others.shape[-1], dtype=bool)  # [B, G]
    return -true - jnp.where(own, 0.0, rest).sum(-1)


def answers(logits: jax.Array, others: jax.Array, group: jax.Array) -> jax.Array:
    """The class that is the most probable in its own group, int32 [B]; Args as above.

    "Others" is never predicted.
    """
    return group_log_softmax(logits, others, group)[0].argmax(-1)


def read_groups(groups: int | str, classes: int) -> np.ndarray:
    """Returns the group of each class, int32 [K].

    Args:
      groups: Number of runs of neighbouring labels; or the path of a .json file: a list
        of K numbers, or {name of a group: [its labels]}.
      classes: K.

    Raises:
      OSError: The file cannot be read.
      ValueError: There are more groups than classes; the file is not of that form, or a
        class has no group or two.
    """
    if isinstance(groups, str):
        return _of_file(groups, classes)
    if groups > classes:
        raise ValueError(
            f"mos needs at most as many groups as classes, got groups={groups} for "
            f"{classes} classes. Give fewer: mos(groups={max(classes // 2, 1)})."
        )
    return np.arange(classes, dtype=np.int32) * groups // classes


def _of_file(path: str, classes: int) -> np.ndarray:
    """The groups of `read_groups` from a file."""
    form = "a JSON list of the classes' group numbers, or {name of a group: [labels]}"
    try:
        given = json.loads(pathlib.Path(path).expanduser().read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must hold {form}, but is not JSON: {error}."
        ) from None
    by_name = isinstance(given, dict) and all(
        isinstance(x, list) for x in given.values()
    )
    pairs: list[tuple[Any, Any]]
    if by_name:
        pairs = [(label, g) for g, own in enumerate(given.values()) for label in own]
    else:
        pairs = list(enumerate(given)) if isinstance(given, list) else [(None, None)]
    if odd := [x for pair in pairs for x in pair if type(x) is not int]:
        raise ValueError(f"{path} must hold {form}, of whole numbers, got {odd[0]!r}.")
    labels, own = collections.Counter(label for label, _ in pairs), set(range(classes))
    problems = {
        "without a group": own - labels.keys(),
        "in two groups": {label for label, count in labels.items() if count > 1},
        "of no class": labels.keys() - own,
    }
    if any(problems.values()):
        listed = (f"{what}: {sorted(x)[:8]}" for what, x in problems.items() if x)
        raise ValueError(
            f"{path} must give each of the {classes} classes, 0 to {classes - 1}, one "
            f"group; got labels {'; '.join(listed)}."
        )
    groups = np.array([g for _, g in sorted(pairs)], np.int32)
    if sorted(set(groups.tolist())) != list(range(groups.max() + 1)):
        raise ValueError(
            f"{path} must number its groups from 0 without a gap, got "
            f"{sorted(set(groups.tolist()))}."
        )
    return groups


def mos(groups: int | str = 8, mixup: float = 0.1) -> Objective:
    """L = Σ_g CE within group g, of images mixed with others of the batch.

    For fine-tuning a network that was trained on more classes; scored with `mos()`.
    The log's accuracy is that of the most probable class in its own group.

    Args:
      groups: Number of groups of neighbouring labels, or the path of a .json file with
        the groups, best by meaning; see `read_groups`. The paper's are 8.
      mixup: α >= 0: the share λ of an image in a mixture is drawn from Beta(α, α); 0
        mixes none. The authors' is 0.1.

    References:
      Huang, Li, MOS (Towards Scaling Out-of-distribution Detection for Large Semantic
      Space), CVPR 2021, Eq. 2-4; its released code for mixup.
    """
    if not isinstance(groups, str):
        arguments.check_count("groups", groups)
    arguments.check_at_least("mixup", mixup, 0)
    mixup = float(mixup)

    def init(_: jax.Array, width: int, classes: int) -> dict[str, Any]:
        group = read_groups(groups, classes)
        count = int(group.max()) + 1
        head = {"kernel": jnp.zeros([width, count]), "bias": jnp.zeros(count)}
        return {HEAD: head, GROUPS: {"group": jnp.asarray(group)}}

    def images(augmented: Augmented, batch: Any, key: jax.Array) -> tuple[Any, Any]:
        first, second, third = jax.random.split(key, 3)
        x = augmented(first)
        if mixup == 0:
            return x, {"share": jnp.float32(1), "labels": batch.label}
        share = jax.random.beta(second, mixup, mixup)
        order = jax.random.permutation(third, len(x))
        mixed = share * x + (1 - share) * x[order]
        return mixed.astype(x.dtype), {"share": share, "labels": batch.label[order]}

    def loss(outputs: TrainingPass, _: jax.Array) -> tuple[jax.Array, dict[str, Part]]:
        head, group = outputs.added[HEAD], outputs.added[GROUPS]["group"]
        others = linear(outputs.acts.penultimate, head["kernel"], head["bias"])
        parts = outputs.acts.logits, others, group
        share, second = outputs.drawn["share"], outputs.drawn["labels"]
        first = group_loss(*parts, outputs.labels).mean()
        total = share * first + (1 - share) * group_loss(*parts, second).mean()
        correct = jnp.sum(answers(*parts) == outputs.labels, dtype=jnp.float32)
        return total, {"accuracy": Part(correct, jnp.float32(len(outputs.labels)))}

    return Objective(
        component.call_spec("mos", groups=groups, mixup=mixup),
        loss,
        init=init,
        state=(GROUPS,),
        images=images,
        validation={"mos": "mos()"},
        rows={"MOS": "mos()"},
    )
