"""Objectives as a step calls them, not only their parts, against the authors' code.

Projectors are layers that change nothing where a file gives what they would give, and
recorded draws take the place of random ones. The classifier's loss beside a contrastive
one is subtracted: the files have none.
"""

from helpers import compiled
from helpers import golden_training as golden
from helpers.whole_losses import check
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import Activations
from jood.training import objectives
from jood.training.batches import TrainingBatch
from jood.training.forward import TrainingPass
from jood.training.objectives import class_queues


def of_head(given, **more):
    """The pass over features through a linear classifier."""

    def make(features, W, b):
        return TrainingPass(
            Activations.of(features, W.T, b), given["labels"], None, **more
        )

    return make


HEAD = ("features", "W", "b")
pytestmark = pytest.mark.slow  # the parts of each loss have fast tests of their own


def groups(folder, name):
    for group, given in golden.groups(folder, name):
        yield group, golden.on_device(given)


def test_logitnorm_and_t2fnorm(golden_training_dir):
    for name in ("logitnorm", "t2fnorm"):
        for group, given in groups(golden_training_dir, name):
            if "grad_W" in given:
                objective = getattr(objectives, name)(tau=given["tau"])
                check(objective, given, f"{name} {group}", HEAD, of_head(given))


def test_godin(golden_training_dir):
    for group, given in groups(golden_training_dir, "godin"):

        def make(features, h_W, given=given, **inner):
            values = {**given, **inner}
            bias = values.get("h_b", jnp.zeros(len(h_W)))
            head = {
                "kernel": values["g_W"].T,
                "bias": values["g_b"],
                "scale": values["bn_gamma"],
                "offset": values["bn_beta"],
            }
            before = {n: given[f"bn_running_{n}"] for n in ("mean", "var")}
            added = {"godin_head": head, "godin_head_stats": before}
            acts = Activations.of(features, h_W.T, bias)
            return TrainingPass(acts, given["labels"], None, added=added)

        inner = {"h_b": given["h_b_inner"], **given}
        names = {n.removeprefix("grad_") for n in given if n.startswith("grad_")}
        objective = objectives.godin(group)
        outputs = check(objective, inner, group, names - {"g_b"}, make)
        after = jax.jit(objective.update)(outputs)["godin_head_stats"]
        for name, value in after.items():
            golden.close(value, given[f"bn_running_{name}_after"], f"{name} of {group}")


def test_vos(golden_training_dir, monkeypatch):
    monkeypatch.setattr(jax.random, "split", lambda key, count=2: jnp.arange(count))
    for group, given in groups(golden_training_dir, "vos"):
        draws = given["draw_eps"]
        monkeypatch.setattr(
            jax.random, "normal", lambda number, shape, draws=draws: draws[number]
        )
        queues = golden.full_queues(given["queue"])
        objective = objectives.vos(
            lam=given["loss_weight"],
            start=0,
            queue=given["queue"].shape[1],
            draws=given["sample_from"],
            select=given["select"],
        )

        def make(
            features, W, b, energy_W, lr_weight, lr_bias, given=given, queues=queues
        ):
            layer = {"weight": energy_W[0], "kernel": lr_weight.T, "bias": lr_bias}
            added = {"vos": layer, "class_queues": queues}
            return of_head(given, added=added)(features, W, b)

        inputs = (*HEAD, "energy_W", "lr_weight", "lr_bias")
        outputs = check(objective, given, group, inputs, make)
        if "queue_after" in given:
            after = jax.jit(objective.update)(outputs)["class_queues"]
            after = compiled.run(class_queues.in_order, after)
            golden.close(after, given["queue_after"], f"queue of {group}")


def test_npos(golden_training_dir, monkeypatch):
    monkeypatch.setattr(jax.random, "split", lambda key, count=2: jnp.arange(count))
    for group, given in groups(golden_training_dir, "npos"):
        for name, draws in {
            "normal": lambda *_, given=given: given["draw_eps"],
            "choice": lambda number, *_, given=given, **__: given["draw_pick"][number],
        }.items():
            monkeypatch.setattr(jax.random, name, draws)
        objective = objectives.npos(
            lam=given["loss_weight"],
            start=0,
            compact=given["w_comp"],
            disperse=given["w_disp"],
            temperature=given["temp"],
            momentum=given["proto_m"],
            width=given["prototypes_before"].shape[1],
            queue=given["queue"].shape[1],
            k=given["K"],
            select=given["select"],
            picks=given["pick_nums"],
            draws=given["sample_from"],
            points=given["ID_points_num"],
            scale=given["cov_mat"],
        )

        def make(penultimate, given=given, **inner):
            values = {**given, **inner}
            h = penultimate.reshape(-1, penultimate.shape[-1])
            added = {
                "projector": golden.layers("head", values),
                "npos": golden.layers("mlp", values),
                "prototypes": {"direction": given["prototypes_before"]},
                "class_queues": golden.full_queues(given["queue"]),
            }
            classes = len(given["queue"])
            acts = Activations.of(h, jnp.zeros((h.shape[1], classes)))
            return TrainingPass(acts, given["labels"], None, added=added)

        names = {n.removeprefix("grad_") for n in given if n.startswith("grad_")}
        inputs = names - {"normed_features"}
        beside = ("classifier_loss",)
        outputs = check(objective, given, group, inputs, make, beside)
        after = jax.jit(objective.update)(outputs)
        golden.close(after["prototypes"]["direction"], given["prototypes_after"], group)


def of_views(given, z, **added):
    """The pass over two views whose projections are z."""
    projector = golden.identity_layers(z.shape[1])
    added = {"projector": projector, **added}
    labels = given["labels"]
    acts = Activations.of(z, jnp.zeros((z.shape[1], int(np.asarray(labels).max()) + 1)))
    return TrainingPass(acts, labels, None, added=added)


def test_cider(golden_training_dir):
    for group, given in groups(golden_training_dir, "cider"):
        if "loss" not in given:
            continue
        objective = objectives.cider(given["w"], given["temp"], given["proto_m"])
        before = {"direction": given["prototypes_before"]}

        def make(z, given=given, before=before):
            return of_views(given, z, prototypes=before)

        outputs = check(objective, given, group, ["z"], make, ["classifier_loss"])
        after = jax.jit(objective.update)(outputs)["prototypes"]["direction"]
        golden.close(after, given["prototypes_after"], f"prototypes of {group}")


def test_supcon(golden_training_dir):
    for group, given in groups(golden_training_dir, "supcon"):
        kinds = {0: "class", 1: "image"}
        usual = given.get("base_temperature") == pytest.approx(0.07)
        if not usual or given.get("mode") not in kinds or given["contrast_mode_one"]:
            continue
        objective = objectives.supcon(
            given["temperature"], positives=kinds[given["mode"]]
        )

        def make(z, given=given):
            return of_views(given, jnp.concatenate(jnp.unstack(z, axis=1)))

        check(objective, given, group, ["z"], make, ["classifier_loss"])


def test_mos(golden_training_dir):
    for group, given in groups(golden_training_dir, "mos"):
        sizes = np.asarray(given["classes_per_group"])
        others = np.asarray(given["group_slices"])[:, 0]
        classes = np.setdiff1d(np.arange(len(given["b"])), others)
        start = jnp.asarray(np.cumsum(sizes) - sizes)
        labels = start[given["group"]] + given["class_in_group"]
        own = {"group": jnp.asarray(np.repeat(np.arange(len(sizes)), sizes))}
        for share, name in ((1.0, "loss"), (given["mixup_lambda"], "loss_mixup")):
            second = labels[given["draw_perm"]]
            drawn = {"share": jnp.float32(share), "labels": second}

            def make(
                features, W, b, labels=labels, drawn=drawn, own=own,
                classes=classes, others=others,
            ):  # fmt: skip
                head = {"kernel": W[others].T, "bias": b[others]}
                added = {"mos_head": head, "mos_head_groups": own}
                acts = Activations.of(features, W[classes].T, b[classes])
                return TrainingPass(acts, labels, None, added=added, drawn=drawn)

            whole = {**given, "loss": given[name]}
            if name != "loss":  # the file has no gradient to the features of it
                whole = {k: v for k, v in whole.items() if not k.startswith("grad_")}
            check(objectives.mos(), whole, f"{name} of {group}", HEAD, make)


def test_mixoe(golden_training_dir, monkeypatch):
    for group, given in groups(golden_training_dir, "mixoe"):
        images, outliers = (
            jnp.moveaxis(given[name], 1, -1) for name in ("images", "outliers")
        )
        share, centre = jnp.float32(given["draw_lambda"]), given.get("draw_centre")
        monkeypatch.setattr(jax.random, "beta", lambda *_, share=share: share)
        monkeypatch.setattr(jax.random, "randint", lambda *_, centre=centre: centre)
        mix = "cutmix" if given["mix_op_is_cutmix"] else "mixup"
        objective = objectives.mixoe(lam=given["lambda_oe"], mix=mix)
        batch = TrainingBatch(images, given["labels"], None, outliers)
        rows, drawn = objective.images(
            lambda key, raw=images: raw, batch, jax.random.key(0)
        )

        def make(W, b, rows=rows, drawn=drawn, given=given):
            flat = jnp.moveaxis(rows, -1, 1).reshape(len(rows), -1)
            acts = Activations.of(flat, W.T, b)
            return TrainingPass(acts, given["labels"], None, drawn=drawn)

        check(objective, given, group, ["W", "b"], make)
