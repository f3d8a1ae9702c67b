"""MixOE against its authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import linear
from jood.training import objectives
from jood.training.batches import TrainingBatch
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.mixoe import cut_box
from jood.training.objectives.mixoe import cut_mix
from jood.training.objectives.mixoe import mix_up
from jood.training.objectives.mixoe import soft_cross_entropy
from jood.training.objectives.mixoe import soft_labels


def last(images):
    """The file's [B, C, H, W] as [B, H, W, C]."""
    return jnp.moveaxis(images, 1, -1)


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "mixoe"):
        labels, share = given["labels"], given["draw_lambda"]
        classes = len(given["b"])
        size = given["images"].shape[2:]
        if given["mix_op_is_cutmix"]:
            box = jax.jit(cut_box, static_argnums=2)(
                given["draw_centre"], np.float32(share), size
            )
            np.testing.assert_array_equal(box, given["box"], err_msg=group)

        def mixture(images, outliers, given=given, share=share, size=size):
            images, outliers = last(images), last(outliers)
            if not given["mix_op_is_cutmix"]:
                return mix_up(images, outliers, share), share
            box = cut_box(given["draw_centre"], jnp.float32(share), size)
            return cut_mix(images, outliers, box)

        def network(images, W, b):
            return linear(jnp.moveaxis(images, -1, 1).reshape(len(images), -1), W.T, b)

        def loss(
            images, outliers, W, b,
            given=given, mixture=mixture, network=network, labels=labels,
            classes=classes,
        ):  # fmt: skip
            mixed, used = mixture(images, outliers)
            targets = soft_labels(labels, used, classes)
            plain = softmax_cross_entropy(network(last(images), W, b), labels)
            told = soft_cross_entropy(network(mixed, W, b), targets)
            return plain + given["lambda_oe"] * told

        names = ("images", "outliers", "W", "b")
        golden.check(loss, {name: given[name] for name in names}, given, group)
        mixed, used = compiled.run(mixture, given["images"], given["outliers"])
        golden.close(used, given["lambda_used"], f"share of {group}")
        targets = jax.jit(soft_labels, static_argnums=2)(labels, used, classes)
        golden.close(targets, given["soft_labels"], f"targets of {group}")
        logits = compiled.run(network, mixed, given["W"], given["b"])
        golden.close(logits, given["mixed_logits"], f"logits of {group}", 2e-5)


@pytest.mark.parametrize("mix", ["cutmix", "mixup"])
def test_the_network_sees_the_id_images_and_then_mixtures(mix):
    rng = np.random.default_rng(0)
    images, others = rng.uniform(size=(2, 4, 8, 8, 3)).astype(np.float32)
    batch = TrainingBatch(images, np.arange(4), np.ones(4), others)
    objective = objectives.mixoe(mix=mix)

    def augmented(key, raw=images):
        return jnp.asarray(raw)

    shares = set()
    for seed in range(3):
        rows, share = objective.images(augmented, batch, jax.random.key(seed))
        np.testing.assert_array_equal(rows[:4], images)
        between = share * images.mean() + (1 - share) * others.mean()
        np.testing.assert_allclose(rows[4:].mean(), between, atol=0.05)
        shares.add(float(share))
    assert len(shares) == 3
    fewer = batch._replace(outliers=others[:2])
    with pytest.raises(ValueError, match="mixes each ID image with an outlier"):
        objective.images(augmented, fewer, jax.random.key(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixoe(mix='cut')", "mix must be 'cutmix' or 'mixup', got 'cut'"),
        ("mixoe(alpha=0)", "alpha must be"),
        ("mixoe(beta=0)", "beta must be"),
        ("mixoe(lam=-1)", "lam must be"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)
