"""CSI as a step calls it, against the authors' losses and gradients."""

from helpers import compiled
from helpers import golden_training as golden
from helpers.whole_losses import check
import jax
import jax.numpy as jnp
import numpy as np

from jood.core.activations import Activations
from jood.training import objectives
from jood.training.forward import TrainingPass


def csi_pass(labels, features, simclr, W_shift, b_shift, W_joint=None, b_joint=None):
    """The pass whose projections are given beside its features."""
    both = jnp.concatenate([simclr, features], axis=1)
    width, whole = simclr.shape[1], both.shape[1]

    def behind(W):
        return jnp.concatenate([jnp.zeros((width, len(W))), W.T])

    head = {
        "projector": golden.identity_layers(width, whole),
        "shift": {"kernel": behind(W_shift), "bias": b_shift},
    }
    added = {"csi_head": head}
    if W_joint is not None:
        added["csi_head_joint"] = {"kernel": behind(W_joint), "bias": b_joint}
    return added, both, behind


def test_csi_without_labels(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "csi"):
        if not group.startswith("unsup"):
            continue
        objective = objectives.csi(
            temperature=given["temperature"], lam=given.get("sim_lambda", 1.0)
        )
        inputs = ("simclr", "penultimate", "W_shift", "b_shift")

        def make(simclr, penultimate, W_shift, b_shift, given=given):
            added, both, _ = csi_pass(
                given["labels"], penultimate, simclr, W_shift, b_shift
            )
            classes = int(np.asarray(given["labels"]).max()) + 1
            acts = Activations.of(both, jnp.zeros((both.shape[1], classes)))
            return TrainingPass(acts, given["labels"], None, added=added)

        def parts_of(*inner, objective=objective, make=make):
            return objective.loss(make(*inner), jax.random.key(0))[1]

        parts = compiled.run(parts_of, *(given[name] for name in inputs))
        golden.close(parts["contrastive_loss"].total, given["loss_sim"], group, 2e-5)
        if "loss" in given:
            check(objective, given, group, inputs, make, ["classifier_loss"])


def test_csi_with_labels(golden_training_dir):
    found = dict(golden.groups(golden_training_dir, "csi"))
    heads = found["heads"]
    for group, given in found.items():
        if not group.startswith("sup"):
            continue
        objective = objectives.csi("labelled", temperature=given["temperature"])

        def make(simclr, given=given):
            added, both, behind = csi_pass(
                given["labels"],
                given["penultimate"],
                simclr,
                *(heads[n] for n in ("W_rot", "b_rot", "W_joint", "b_joint")),
            )
            kernel, bias = behind(heads["W_linear"]), heads["b_linear"]
            acts = Activations.of(both, kernel, bias)
            return TrainingPass(acts, given["labels"], None, added=added)

        beside = ["head_loss", "classifier_loss"]
        outputs = check(objective, given, group, ["simclr"], make, beside)
        parts = jax.jit(objective.loss)(outputs, jax.random.key(0))[1]
        both = heads["loss_rot"] + heads["loss_joint"]
        golden.close(parts["head_loss"].total, both, f"heads of {group}", 2e-5)
        golden.close(parts["classifier_loss"].total, heads["loss_ce"], group, 2e-5)
