"""CSI, its losses and scores, against its authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import linear
from jood.methods.scores.csi import axes
from jood.methods.scores.csi import marginal
from jood.methods.scores.csi import rotated
from jood.methods.scores.csi import similarity_and_shift
from jood.training import objectives
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.csi import class_loss
from jood.training.objectives.csi import pair_loss
from jood.training.objectives.csi import shift_labels
from jood.training.objectives.csi import unit


def settings(folder):
    return dict(golden.groups(folder, "csi"))


def test_the_unlabelled_loss_is_that_of_the_published_code(golden_training_dir):
    found = settings(golden_training_dir)
    for name, given in found.items():
        if "loss_sim" not in given:
            continue
        T, lam = given["temperature"], given.get("sim_lambda", 1.0)

        def contrast(simclr, T=T):
            return pair_loss(unit(simclr), T)

        def whole(simclr, penultimate, W_shift, b_shift, contrast=contrast, lam=lam):
            shifts = jnp.tile(shift_labels(len(simclr) // 2), 2)
            logits = linear(penultimate, W_shift.T, b_shift)
            return softmax_cross_entropy(logits, shifts) + lam * contrast(simclr)

        loss = compiled.run(contrast, given["simclr"])
        golden.close(loss, given["loss_sim"], name)
        if "loss" in given:
            names = ("simclr", "penultimate", "W_shift", "b_shift")
            golden.check(whole, {key: given[key] for key in names}, given, name)
            shifts = np.tile(shift_labels(len(given["simclr"]) // 2), 2)
            np.testing.assert_array_equal(shifts, given["shift_labels"])
        else:
            own = {**given, "loss": given["loss_sim"]}
            golden.check(contrast, {"simclr": given["simclr"]}, own, name)


def kinds(given, classes):
    """Class and rotation of the rows of one view."""
    labels = given["labels"]
    return jnp.tile(labels, 4) + classes * shift_labels(4 * len(labels))


def test_the_labelled_loss_is_that_of_the_published_code(golden_training_dir):
    found = settings(golden_training_dir)
    classes = len(found["heads"]["b_linear"])
    for name, given in found.items():
        if not name.startswith("sup"):
            continue
        if "rot_sim_labels" in given:
            expected = given["rot_sim_labels"]
            np.testing.assert_array_equal(kinds(given, classes), expected)

        def loss(simclr, given=given):
            both = jnp.tile(kinds(given, classes), 2)
            return class_loss(unit(simclr), both, given["temperature"])

        golden.check(loss, {"simclr": given["simclr"]}, given, name)


def test_the_heads_losses_are_those_of_the_published_code(golden_training_dir):
    given = settings(golden_training_dir)["heads"]
    size, classes = len(given["labels"]), len(given["b_linear"])
    features = given["penultimate"][: 4 * size]
    targets = {
        "linear": (features[:size], given["labels"], "loss_ce"),
        "rot": (features, shift_labels(4 * size), "loss_rot"),
        "joint": (features, kinds(given, classes), "loss_joint"),
    }
    for name, (x, labels, term) in targets.items():

        def loss(x=x, labels=labels, name=name, b=given[f"b_{name}"], **inner):
            return softmax_cross_entropy(linear(x, inner[f"W_{name}"].T, b), labels)

        own = {**given, "loss": given[term]}
        golden.check(loss, {f"W_{name}": given[f"W_{name}"]}, own, name)


def test_the_scores_are_those_of_the_published_code(golden_training_dir):
    found = settings(golden_training_dir)
    given = found["marginal"]
    golden.close(marginal(given["joint_logits"]), given["score"], "marginal")
    given = found["score"]
    views = given["views_per_shift"]

    def averaged(name):
        """Means over the views of a rotation: z [N, 4, P], its own logit [N, 4]."""
        z, shift = (np.asarray(given[f"{name}_{what}"]) for what in ("simclr", "shift"))
        z, shift = (x.reshape(len(x), 4, views, -1).mean(2) for x in (z, shift))
        return z, shift[:, np.arange(4), np.arange(4)]

    learned = axes(*averaged("train"))
    names = {"axis": "axis", "similarity": "weight_sim", "shift": "weight_shift"}
    for name, theirs in names.items():
        golden.close(learned[name], given[theirs], theirs)
    for name in ("id", "ood"):
        score = similarity_and_shift(*map(jnp.asarray, averaged(name)), learned)
        golden.close(score, given[f"score_{name}"], f"score of {name}")


def test_the_network_sees_two_views_of_four_rotations():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(size=(3, 4, 4, 2)), jnp.float32)
    rows, drawn = objectives.csi().images(lambda key: images, None, jax.random.key(0))
    assert drawn is None
    for view in range(2):
        for shift in range(4):
            part = rows[3 * (4 * view + shift) :][:3]
            np.testing.assert_array_equal(part, np.rot90(images, shift, (1, 2)))
    with pytest.raises(
        ValueError, match=r"square images, got \(4, 2\) pixels .*Resize"
    ):
        rotated(images[:, :, :2], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("csi(kind='x')", "kind must be 'unsupervised' or 'labelled', got 'x'"),
        ("csi(temperature=0)", "temperature must be"),
        ("csi(lam=-1)", "lam must be"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)
    assert "temperature=0.07" in objectives.csi("labelled").spec
