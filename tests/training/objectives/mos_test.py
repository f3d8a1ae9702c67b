"""MOS against its authors' code."""

import json

from helpers import compiled
from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jood.core.activations import Activations
from jood.core.activations import linear
from jood.methods import detector_text
from jood.training import objectives
from jood.training.batches import TrainingBatch
from jood.training.objectives.mos import answers
from jood.training.objectives.mos import group_loss
from jood.training.objectives.mos import read_groups
from jood.training.objectives.objective import added


def layout(given):
    """Columns of the classes and of the groups' others, and the group of each class."""
    starts = np.asarray(given["group_slices"])[:, 0]
    sizes = np.asarray(given["classes_per_group"])
    classes = np.concatenate(
        [start + 1 + np.arange(n) for start, n in zip(starts, sizes, strict=True)]
    )
    return classes, starts, np.repeat(np.arange(len(sizes)), sizes)


def test_losses_and_gradients_are_those_of_the_published_code(golden_training_dir):
    for name, given in golden.groups(golden_training_dir, "mos"):
        classes, others, group = layout(given)
        sizes = given["classes_per_group"]
        before = np.cumsum(sizes) - sizes
        labels = before[given["group"]] + given["class_in_group"]

        def each(logits, classes=classes, others=others, group=group, labels=labels):
            return group_loss(logits[:, classes], logits[:, others], group, labels)

        def of_logits(logits, each=each):
            return each(logits).mean()

        def of_features(features, W, b, of_logits=of_logits):
            return of_logits(linear(features, W.T, b))

        logits = {"logits": given["logits"]}
        golden.check(of_logits, logits, given, name)
        inner = {key: given[key] for key in ("features", "W", "b")}
        golden.check(of_features, inner, given, name)
        golden.close(
            compiled.run(each, logits["logits"]),
            given["loss_per_sample"],
            f"losses of {name}",
        )

        def mixed(
            logits, each=each, share=given["mixup_lambda"],
            second=labels[given["draw_perm"]],
        ):  # fmt: skip
            return (
                share * each(logits) + (1 - share) * each(logits, labels=second)
            ).mean()

        own = {"loss": given["loss_mixup"], "grad_logits": given["grad_logits_mixup"]}
        golden.check(mixed, logits, own, f"mixup of {name}")
        parts = given["logits"][:, classes], given["logits"][:, others], group
        found = np.asarray(compiled.run(answers, *parts))
        np.testing.assert_array_equal(found == labels, given["correct"])

        W, b = given["W"], given["b"]
        heads = {
            "mos_head": {"kernel": W[others].T, "bias": b[others]},
            "mos_head_groups": {"group": group},
        }
        acts = Activations.of(given["features"], W[classes].T, b[classes], heads=heads)
        score = compiled.apply(detector_text.parse("mos()"), (), acts)
        golden.close(score, given["score"], f"score of {name}")


def test_groups_are_runs_of_labels_or_those_of_a_file(tmp_path):
    np.testing.assert_array_equal(read_groups(3, 7), [0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(read_groups(2, 2), [0, 1])
    with pytest.raises(ValueError, match=r"got groups=8 for 5 cla.*mos\(groups=2\)"):
        read_groups(8, 5)
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"animals": [0, 3], "vehicles": [1, 2]}))
    np.testing.assert_array_equal(read_groups(str(path), 4), [0, 1, 1, 0])
    path.write_text("[0, 1, 1, 0]")
    np.testing.assert_array_equal(read_groups(str(path), 4), [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [0, 1], "b": [3]}', r"the 4 classes, 0 to 3, .*without a group: \[2\]"),
        ("[0, 1, 1]", r"one group; got labels without a group: \[3\]"),
        ('{"a": [0, 1], "b": [1, 2, 3]}', r"got labels in two groups: \[1\]"),
        ('{"a": [0, 1], "b": [2, 4]}', r"without a group: \[3\]; of no class: \[4\]"),
        ("[0, 1, 1, 0, 1]", r"got labels of no class: \[4\]"),
        ("[0, 2, 2, 0]", r"from 0 without a gap, got \[0, 2\]"),
        ('"animals"', "must hold a JSON list of .* of whole numbers, got None"),
        ('{"a": 3}', "of whole numbers, got None"),
        ('["a", "b", "b", "a"]', "of whole numbers, got 'a'"),
        (
            "animals: 0, 1",
            r"groups\.json must hold .*, but is not JSON: Expecting value",
        ),
        ("[" * 9000, "but is not JSON"),
    ],
)
def test_a_file_that_is_not_the_groups_of_all_classes_is_named(
    tmp_path, content, message
):
    path = tmp_path / "groups.json"
    path.write_text(content)
    objective = objectives.mos(groups=str(path))
    with pytest.raises(ValueError, match=message):
        added(objective, jax.random.key(0), 3, 4)


def test_images_are_mixed_with_others_of_the_batch():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.uniform(size=(4, 2, 2, 3)), jnp.float32)
    batch = TrainingBatch(images, jnp.arange(4), np.ones(4), None)

    def augmented(key):
        return images

    found, drawn = objectives.mos(mixup=1.0).images(augmented, batch, jax.random.key(1))
    expected = drawn["share"] * images
    expected += (1 - drawn["share"]) * images[drawn["labels"]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert sorted(drawn["labels"]) == [0, 1, 2, 3]
    found, drawn = objectives.mos(mixup=0).images(augmented, batch, jax.random.key(1))
    np.testing.assert_array_equal(found, images)
    assert drawn["share"] == 1


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="groups must be an integer >= 1"):
        objectives.mos(groups=0)
    with pytest.raises(ValueError, match="mixup must be"):
        objectives.mos(mixup=-1)
