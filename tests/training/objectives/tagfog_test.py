"""TagFog against its authors' code."""

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import Activations
from jood.core.activations import linear
from jood.training import objectives
from jood.training.batches import TrainingBatch
from jood.training.forward import TrainingPass
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
        labels = np.tile(given["labels"], len(given["features"]))
        anchors = compiled.run(unit, given["text_prototypes"])

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
        for name, value in compiled.run(terms, *outputs.values()).items():
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
    with pytest.raises(ValueError, match=r"with K = 3, .*got \['float64 \(4, 5\)'\]"):
        begin(tmp_path / "four.npz")
    np.savez(tmp_path / "two.npz", a=np.ones((3, 5)), b=np.ones((3, 5)))
    with pytest.raises(ValueError, match="must hold one array"):
        begin(tmp_path / "two.npz")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"must hold one array .*, got none"):
        begin(tmp_path / "none.npz")
    np.savez(tmp_path / "words.npz", text=np.array([["a"], ["b"], ["c"]]))
    with pytest.raises(ValueError, match=r"must hold one array .*got \['<U1 \(3, 1"):
        begin(tmp_path / "words.npz")
    for name, content in {
        "text.npz": b"cat, dog",
        "empty.npz": b"",
        "x.npy": b"\0",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            ValueError, match=f"cannot read anchors from .*{name}: .*K = 3"
        ):
            begin(tmp_path / name)
    np.save(tmp_path / "nan.npy", np.array([[1.0, 2], [np.nan, 1], [1e300, 1]]))
    with pytest.raises(ValueError, match=r"NaN or inf.*rows of the classes \[1, 2\]"):
        begin(tmp_path / "nan.npy")
    np.save(tmp_path / "three.npy", np.ones((3, 5)))
    assert begin(tmp_path / "three.npy")["tagfog_anchors"]["text"].shape == (3, 5)


def test_the_objective_joins_its_terms_over_views_of_images_and_fakes(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "texts.npy"
    texts = rng.normal(size=(3, 5))
    np.save(path, texts)
    objective = objectives.tagfog(str(path), alpha=0.5, beta=2.0, fakes=2, width=4)
    collections = added(objective, jax.random.key(0), 6, 3)
    h, kernel = (
        rng.normal(size=shape).astype(np.float32) for shape in ((18, 6), (6, 3))
    )
    labels = np.array([2, 0, 1])
    acts = Activations.of(h, kernel)
    outputs = TrainingPass(acts, jnp.asarray(labels), None, added=collections)
    loss, _ = jax.jit(objective.loss)(outputs, jax.random.key(0))

    layers = jax.tree.map(np.asarray, collections["tagfog"])
    every = np.tile([2, 0, 1, 3, 3, 3, 3, 3, 3], 2)  # 3 is a fake
    fake = h @ layers["fake"]["kernel"] + layers["fake"]["bias"]
    logits = np.concatenate([h @ kernel, fake], axis=1)
    x = h @ layers["hidden"]["kernel"] + layers["hidden"]["bias"]
    x = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 0)
    z = x @ layers["output"]["kernel"] + layers["output"]["bias"]

    def joined(logits, z, texts, every):
        u = unit(z)
        return (
            softmax_cross_entropy(logits, every)
            + 0.5 * text_loss(u, unit(texts), every, 0.1)
            + 2.0 * contrastive_loss(u, same(every), 0.1)
        )

    expected = compiled.run(joined, logits, z, texts.astype(np.float32), every)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


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
