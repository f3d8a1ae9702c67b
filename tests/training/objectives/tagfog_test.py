"""TagFog against its authors' code."""

from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import linear
from jood.training import objectives
from jood.training.batches import TrainingBatch
from jood.training.objectives.cross_entropy import softmax_cross_entropy
from jood.training.objectives.objective import added
from jood.training.objectives.projection import unit
from jood.training.objectives.supcon import contrastive_loss
from jood.training.objectives.supcon import same
from jood.training.objectives.tagfog import shuffled
from jood.training.objectives.tagfog import text_loss

LAYERS = ("W_cls", "b_cls", "W_proj", "b_proj")


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for group, given in golden.groups(golden_training_dir, "tagfog"):
        labels = jnp.tile(given["labels"], len(given["features"]))
        anchors = unit(given["text_prototypes"])

        # The file's `proj` is u, of length 1.
        def terms(logits, u, labels=labels, anchors=anchors, given=given):
            return {
                "ce": softmax_cross_entropy(logits, labels),
                "text": text_loss(u, anchors, labels, given["temp_ci"]),
                "supcon": contrastive_loss(u, same(labels), given["temp_sup"]),
            }

        def of_outputs(logits, proj, terms=terms, given=given):
            found = terms(logits, proj)
            weighted = given["alpha"] * found["text"] + given["beta"] * found["supcon"]
            return found["ce"] + weighted

        def of_features(features, W_cls, b_cls, W_proj, b_proj, of_outputs=of_outputs):
            h = features.reshape(-1, features.shape[-1])
            u = unit(linear(h, W_proj.T, b_proj))
            return of_outputs(linear(h, W_cls.T, b_cls), u)

        outputs = {name: given[name] for name in ("logits", "proj")}
        golden.check(of_outputs, outputs, given, group)
        inner = {name: given[name] for name in ("features", *LAYERS)}
        golden.check(of_features, inner, given, group)
        for name, value in terms(*outputs.values()).items():
            golden.close(value, given[f"loss_{name}"], f"{name} of {group}")


def test_fakes_are_the_tiles_of_an_image_in_another_order():
    images = jnp.arange(2 * 8 * 9 * 1).reshape(2, 8, 9, 1)
    found = np.asarray(shuffled(jax.random.key(0), images, 4))
    assert (found != images).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(found[:, :, 8], images[:, :, 8])  # beyond 4 tiles

    def tiles(image):
        return {
            tuple(image[i : i + 2, j : j + 2, 0].ravel().tolist())
            for i in range(0, 8, 2)
            for j in range(0, 8, 2)
        }

    for image, fake in zip(np.asarray(images), found, strict=True):
        assert tiles(image) == tiles(fake)
    with pytest.raises(ValueError, match="is more than the 8 x 9 pixels"):
        shuffled(jax.random.key(0), images, 16)


def test_the_network_sees_the_id_images_first_and_two_views_with_fakes():
    images = np.arange(3 * 4 * 4).reshape(3, 4, 4, 1).astype(np.uint8)
    batch = TrainingBatch(images, np.arange(3), np.ones(3), None)
    rows, _ = objectives.tagfog(fakes=2).images(
        lambda key, raw: raw, batch, jax.random.key(0)
    )
    assert len(rows) == 2 * (3 + 2 * 3)
    np.testing.assert_array_equal(rows[:3], images)
    np.testing.assert_array_equal(rows[9:12], images)
    assert (rows[3:6] != images).any()


def test_anchors_of_other_classes_are_named(tmp_path):
    def begin(path):
        return added(objectives.tagfog(anchors=str(path)), jax.random.key(0), 4, 3)

    with pytest.raises(ValueError, match=r"tagfog needs anchors: give anchors='texts"):
        begin("")
    np.savez(tmp_path / "four.npz", text=np.ones((4, 5)))
    with pytest.raises(ValueError, match=r"with K = 3, .*got \[\(4, 5\)\]"):
        begin(tmp_path / "four.npz")
    np.savez(tmp_path / "two.npz", a=np.ones((3, 5)), b=np.ones((3, 5)))
    with pytest.raises(ValueError, match="must hold one array"):
        begin(tmp_path / "two.npz")
    np.save(tmp_path / "three.npy", np.ones((3, 5)))
    assert begin(tmp_path / "three.npy")["tagfog_anchors"]["text"].shape == (3, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tagfog(alpha=-1)", "alpha must be"),
        ("tagfog(anchors=3)", "anchors must be the path"),
        ("tagfog(fakes=0)", "fakes must be an integer"),
    ],
)
def test_bad_values_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        objectives.parse(text)
