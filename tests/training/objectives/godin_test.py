"""G-ODIN, its loss and its scores, against public implementations."""

import re

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood import scores
from jood.core.activations import Activations
from jood.core.activations import Network
from jood.methods.scores.godin import denominator
from jood.methods.scores.godin import numerator
from jood.training import objectives
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.godin import batch_statistics
from jood.training.objectives.godin import running

STD = {"paper": (63 / 255, 62.1 / 255, 66.7 / 255), "openood": (0.247, 0.2435, 0.2616)}


def head(given):
    return {
        "kernel": given["g_W"].T,
        "bias": given["g_b"],
        "scale": given["bn_gamma"],
        "offset": given["bn_beta"],
    }


def classifier(group, given):
    """Kernel [D, K] and bias [K], which only the inner product has."""
    kernel = given["h_W"].T
    zeros = np.zeros(kernel.shape[1], np.float32)
    bias = given["h_b_inner"] if group == "inner" else zeros
    return kernel, bias


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "godin"):

        def parts(given=given, group=group, **inner):
            values = {**given, **inner}
            kernel = values["h_W"].T
            bias = values.get("h_b", jnp.zeros(kernel.shape[1]))
            h = numerator(group, values["features"], kernel, bias)
            own = head(values)
            g = denominator(
                own, *batch_statistics(own, values["features"]), values["features"]
            )
            return h, g

        def loss(parts=parts, labels=given["labels"], **inner):
            h, g = parts(**inner)
            return softmax_cross_entropy(h / g[:, None], labels)

        names = [n.removeprefix("grad_") for n in given if n.startswith("grad_")]
        inner = {"h_b": given["h_b_inner"], **given}
        inner = {name: inner[name] for name in names if name != "g_b"}
        golden.check(loss, inner, given, group)
        h, g = compiled.run(lambda inner, parts=parts: parts(**inner), inner)
        h, g = np.asarray(h), np.asarray(g)
        golden.close(h, given["h"], f"h of {group}")
        golden.close(g[:, None], given["g"], f"g of {group}")
        golden.close(h / g[:, None], given["quotients"], f"quotients of {group}")
        before = {"mean": given["bn_running_mean"], "var": given["bn_running_var"]}

        def moved(own, features, before=before):
            return running(before, *batch_statistics(own, features), len(features))

        after = compiled.run(moved, head(given), given["features"])
        for name, value in after.items():
            golden.close(value, given[f"bn_running_{name}_after"], f"{name} of {group}")


def record(group, given, features):
    kernel, bias = classifier(group, given)
    stats = {name: given[f"bn_running_{name}"] for name in ("mean", "var")}
    heads = {"godin_head": head(given), "godin_head_stats": stats}
    return Activations.of(features, kernel, bias, heads=heads)


def test_scores_are_those_of_public_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "godin"):
        acts = record(group, given, given["features"])
        for name, of in (("score_max_h", "h"), ("score_g", "g")):
            found = compiled.apply(scores.godin(group, of=of), (), acts)
            golden.close(found, given[name], f"{name} of {group}")

        def run(images, group=group, given=given):
            first = jnp.moveaxis(images, -1, 1).reshape(len(images), -1)
            return record(group, given, jnp.tanh(first @ given["A_backbone"].T))

        images = np.moveaxis(given["images"], 1, -1)
        for name in given:
            parts = re.fullmatch(r"(paper|openood)_(?:score|conf)_(h|g)_(.+)", name)
            if not parts:
                continue
            whose, of, eps = parts.groups()
            if (whose, of) == ("openood", "g"):  # the softmax of one number
                np.testing.assert_array_equal(given[name], 1.0)
                continue
            confidence = {"paper": "raw", "openood": "softmax"}[whose]
            score = scores.godin(group, of, float(eps), confidence)
            std = np.float32(STD[whose])

            def behind(images, score=score, std=std, run=run):
                acts = run(images).replace(network=Network(images, std, run))
                return score.apply((), acts)

            found = compiled.run(behind, images)
            golden.close(found, given[name], f"{name} of {group}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distance": "l1"}, "distance must be one of 'inner', 'euclid', 'cosine'"),
        ({"of": "x"}, "of must be one of 'h', 'g'"),
        ({"of": "g", "confidence": "softmax"}, "softmax of the one number g is always"),
        ({"eps": -1}, "eps must be"),
    ],
)
def test_bad_values_of_the_score_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        scores.godin(**arguments)


def test_bad_distances_and_networks_without_the_head_are_named():
    with pytest.raises(ValueError, match="distance must be one of 'inner', 'euclid'"):
        objectives.godin("l1")
    acts = Activations.of(np.ones((2, 3), np.float32), np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"'godin_head', which .*--objective=godin;"):
        scores.godin().apply((), acts)


def test_the_denominator_of_a_batch_of_one_is_finite():
    own = {"kernel": jnp.ones((3, 1)), "bias": jnp.ones(1), "scale": jnp.ones(1)}
    own |= {"offset": jnp.zeros(1)}
    mean, variance = batch_statistics(own, jnp.ones((1, 3)))
    after = running({"mean": mean, "var": variance}, mean, variance, 1)
    assert np.isfinite(jax.tree.leaves(after)).all()
