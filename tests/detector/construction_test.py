"""What the owner of a model does wrong on the first day, told in her own terms."""

from flax import linen as nn
from flax import nnx
from helpers.toy_detectors import IMAGES
from helpers.toy_detectors import LABELS
from helpers.toy_detectors import fitted
from helpers.toy_detectors import toy
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood.core.backbones import observing
from jood.core.batch import Batch
from jood.data.sources import ArraySource

HEAD = {"kernel": np.ones((3, 8), np.float32), "bias": np.zeros(8, np.float32)}
VARIABLES = {"params": {"head": HEAD}}
PIXELS = np.ones((2, 8, 8, 3), np.float32)


class _Net(nn.Module):
    """Eight classes; `norm` and `drop` are as in training mode."""

    norm: bool = False
    drop: bool = False

    @nn.compact
    def __call__(self, x):
        if self.norm:
            x = nn.BatchNorm(use_running_average=False, name="norm")(x)
        if self.drop:
            x = nn.Dropout(0.5, deterministic=False)(x)
        return nn.Dense(8, name="head")(x.mean((1, 2)))


class _Plain(nn.Module):
    def __call__(self, x):
        return x.mean((1, 2))


class _NeedsTrain(_Net):
    @nn.compact
    def __call__(self, x, train, *, temperature=1.0, rate):
        return nn.Dense(8, name="head")(x.mean((1, 2)))


class _Nnx(nnx.Module):
    def __call__(self, x):
        return x


def detector(model=None, variables=VARIABLES, **fields):
    return jood.Detector("msp()", model or _Net(), variables, **fields)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (_Nnx(), ValueError, r"_Nnx has no module 'head' to be the head; it has: none"),
        (_Net, TypeError, r"got the class _Net. Pass an instance of it: _Net\("),
        (
            len,
            TypeError,
            r"a .*jood.torch_backbone, got builtin_function_or_method.*jood.fit",
        ),
        (
            _NeedsTrain(),
            ValueError,
            r"images alone.*__call__ also requires train, rate\. .*train=False",
        ),
    ],
)
def test_a_model_that_cannot_be_run_is_refused_when_it_is_given(model, error, message):
    with pytest.raises(error, match=message):
        detector(model)
    with pytest.raises(error, match=message):
        observing.observe(model, VARIABLES, jnp.asarray(PIXELS))


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        (
            {"head": HEAD},
            ValueError,
            r"the keys head\. These .*pass {'params': params}",
        ),
        ({}, ValueError, r"collection 'params'.*got the keys none\.$"),
        ([HEAD], TypeError, r"a dict of collections, {'params': ...}, got list\.$"),
    ],
)
def test_variables_without_params_are_refused_when_they_are_given(
    variables, error, message
):
    with pytest.raises(error, match=message):
        detector(variables=variables)


STATS = {"norm": {"mean": np.zeros(3, np.float32), "var": np.ones(3, np.float32)}}
NORM = {"norm": {"scale": np.ones(3, np.float32), "bias": np.zeros(3, np.float32)}}
WITH_NORM = {"params": {"head": HEAD, **NORM}}


@pytest.mark.parametrize(
    ("model", "variables", "message"),
    [
        (
            _Net(norm=True),
            {**WITH_NORM, "batch_stats": STATS},
            "_Net changes its variables.*BatchNorm.*use_running_average=True",
        ),
        (_Net(drop=True), VARIABLES, "_Net draws random numbers.*deterministic=True"),
        (_Net(norm=True), WITH_NORM, r"lack what _Net reads.*hold 'params'.*batch_sta"),
        (_Net(), {"params": {"other": HEAD}}, "lack what _Net reads.*'kernel|\"kernel"),
    ],
)
def test_training_mode_and_missing_collections_are_told(model, variables, message):
    with pytest.raises(ValueError, match=message):
        detector(model, variables)(PIXELS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "c"), "each of the 8 classes of the head 'head'.*got 3: a, b, c"),
        ("abcdefgh", "must be a sequence of names, got the text 'abcdefgh'"),
    ],
)
def test_class_names_are_one_per_class(names, message):
    with pytest.raises(ValueError, match=message):
        detector(class_names=names)
    assert detector(class_names=tuple("abcdefgh"))(PIXELS).shape == (2,)


ONE = {
    "array": (
        IMAGES,
        r"one array of shape \(48, 4, 4, 32\)\. .*\[images\],",
    ),
    "pair": (
        (IMAGES, LABELS),
        r"one pair of arrays .*\(48,\)\. .*\[\(images, la",
    ),
    "dict": ({"image": IMAGES}, r"one dict\. Put it into a list, \[batch\]"),
    "batch": (Batch(IMAGES), r"one Batch\. Put it into a list"),
    "source": (
        ArraySource(np.zeros((2, 4, 4, 3), np.uint8)),
        r"one ArraySource; cut it: .*EvaluationBatches\(source, batch_size=128\)",
    ),
    "number": (3, r"expected batches to iterate over, got one int\.$"),
}


@pytest.mark.parametrize("given", ONE)
@pytest.mark.parametrize("call", ["fit", "calibrate", "features"])
def test_one_batch_where_batches_are_expected_is_named(call, given):
    batches, message = ONE[given]
    with pytest.raises(TypeError, match=message):
        list(getattr(fitted(), call)(batches))
    if given == "array":
        getattr(fitted(), call)([batches])  # as the message has it


def test_activations_are_batches_in_a_list_only():
    acts = testing.toy_activations(jood.parse("msp()"), IMAGES)
    react = jood.transforms.react(q=0.9)
    with pytest.raises(TypeError, match=r"one Activations\. Put it into a list"):
        jood.fit(react, acts)
    assert jood.fit(react, [acts])


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((5, 8, 8), r"For one image .*image\[None\]; for grey .*images\[..., None\]\."),
        ((8, 8, 3), r"For one image add an axis: image\[None\]\.$"),
    ],
)
def test_grey_images_without_a_channel_axis_are_told_what_to_add(shape, hint):
    with pytest.raises(ValueError, match=hint):
        detector()(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (toy("msp()", head="fc"), r"head=module path \(of jood.Detector, .*: head"),
        (toy("ta(stage='C9')|msp()"), r"={'C9': module path} \(of jood.Detector"),
        (
            jood.Detector("feature_sim()", _Plain(), {"params": {}}, head=None),
            r"stages={name: module path} \(of jood.Detector",
        ),
    ],
)
def test_a_wrong_head_or_stage_is_told_to_the_owner_of_a_detector(made, message):
    with pytest.raises(ValueError, match=message) as error:
        made(IMAGES[:2])
    assert "Taps(" not in str(error.value)
