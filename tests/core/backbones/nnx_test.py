"""flax.nnx modules: what is read, what an edit changes, what stays the user's."""

import functools
import re

import chex
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood.core.backbones import nnx as nnx_kind
from jood.methods.transforms import ta

STAGES = {"C4": "layers.1", "C5": "top"}
IMAGES = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


class Block(nnx.Module):
    def __init__(self, ins, outs, rngs):
        self.conv = nnx.Conv(ins, outs, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(outs, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(nnx.relu(self.norm(self.conv(x))))


class Net(nnx.Module):
    """Names of its own; `cut` is TA after 'layers.1', written out by hand."""

    def __init__(self, rngs, cut=0.0, head=None):
        self.cut = cut
        self.layers = nnx.List([Block(3, 6, rngs), Block(6, 6, rngs)])
        self.top = nnx.Sequential(Block(6, 6, rngs), Block(6, 6, rngs))
        self.fc = head or nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        x = self.top(nnx.relu(x - self.cut))
        return self.fc(x.mean(axis=(1, 2)))


@functools.cache
def net(cut=0.0):
    """In training mode, with statistics that differ from those of a new network."""
    made = Net(nnx.Rngs(0), cut)
    for module in (*made.layers, *made.top.layers):
        module.norm.mean[...] = jnp.full(6, -0.3)
    return made


def detector(component="energy", model=None, stages=STAGES, head="fc", **fields):
    return jood.Detector(component, model or net(), stages=stages, head=head, **fields)


def logits(model):
    """What the module says in evaluation mode, in a copy."""
    graph, state = nnx.split(model)
    copied = nnx.merge(graph, state, copy=True)
    copied.eval()
    return copied(IMAGES)


def observed(*parts):
    asked = detector()
    edits = tuple(path for part in parts for path in part.edits)
    return jax.jit(lambda v, x: asked.backbone.observe(v, x, edits))(
        asked.variables, IMAGES
    )


def test_the_record_is_that_of_the_module_in_evaluation_mode():
    acts = observed()
    chex.assert_shape([acts.stages["C4"], acts.stages["C5"]], (4, 8, 8, 6))
    np.testing.assert_allclose(acts.logits, logits(net()), rtol=1e-5, atol=1e-6)
    pooled = acts.stages["C5"].mean(axis=(1, 2))
    np.testing.assert_allclose(acts.penultimate, pooled, rtol=1e-5)


def test_the_users_module_keeps_its_mode_classes_and_statistics():
    model = net()
    before = [np.array(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]
    statistics = jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    detector(model=model)(IMAGES)
    after = jax.tree.leaves(nnx.state(model, nnx.Param))
    chex.assert_trees_all_equal(before, [np.array(leaf) for leaf in after])
    now = jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    assert all(a is b for a, b in zip(statistics, now, strict=True))
    assert model.layers[0].drop.deterministic is False
    assert model.layers[0].norm.use_running_average is False
    assert type(model.layers[1]) is Block


def test_the_parameters_are_the_modules_own_arrays():
    params = detector().variables["params"]
    assert params["fc"]["kernel"] is net().fc.kernel.get_value()
    assert set(params["layers"]["0"]) == {"conv", "norm"}  # Dropout's keys are none


def test_another_state_can_be_given():
    asked = detector()
    zeros = jax.tree.map(jnp.zeros_like, asked.variables["params"])
    other = detector("max_logit()", variables={"params": zeros})
    np.testing.assert_array_equal(other(IMAGES), np.zeros(4))
    with pytest.raises(ValueError, match=r"holds its own parameters.*keys batch_stats"):
        detector(variables={"batch_stats": {}})


def test_an_edited_record_is_that_of_a_network_with_the_threshold_built_in():
    part = ta(k=0.3)
    acts = observed(part)
    np.testing.assert_allclose(
        acts.edit(part.spec).logits, logits(net(0.3)), rtol=1e-5, atol=1e-6
    )
    assert not np.allclose(acts.edit(part.spec).logits, acts.logits, rtol=1e-2)
    np.testing.assert_array_equal(acts.edit(part.spec).original, acts.penultimate)


def test_blocks_are_modules_named_so_also_those_of_a_list():
    class Blocks(nnx.Module):
        def __init__(self):
            self.blocks = nnx.List([Block(3, 3, nnx.Rngs(0)) for _ in range(2)])
            self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

        def __call__(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean((1, 2)))

    text = "feature_norm_selected(among='blocks')"
    asked = detector(text, Blocks(), None, "head")
    maps = nnx_kind.KIND.blocks(
        asked.model, asked.variables, IMAGES, (), asked.backbone.taps
    )
    assert list(maps) == ["blocks/0", "blocks/1"]
    match = r"chooses among residual blocks.*Net has none"
    with pytest.raises(ValueError, match=match):
        detector(text)


# What is refused, before anything runs.


class NeedsTrain(Net):
    def __call__(self, x, train):
        return super().__call__(x)


class Twice(Net):
    def __call__(self, x):
        return self.fc(self.top(self.top(self.layers[0](x))).mean(axis=(1, 2)))


class Insists(Net):
    def __call__(self, x):
        x = self.layers[1](self.layers[0](x))
        x = self.layers[0].norm(x, use_running_average=False)
        return self.fc(self.top(x).mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"stages": {"C4": "layer3"}},
            r"Net has no module 'layer3' to be the stage 'C4'; it has: .*layers/0",
        ),
        ({"head": "head"}, "no module 'head' to be the head; it has: .*fc"),
        ({"head": "layers.0.conv"}, r"must be a Dense.* shape \(3, 3, 3, 6\)"),
        ({"head": "layers.0.norm"}, "Dense module with a kernel.*found parameters"),
        (
            {"component": "ta(k=1.0, stage='C3')|energy()"},
            r"ta\(k=1.0, stage='C3'\) needs the stage 'C3'.*it has: C4, C5",
        ),
        ({"class_names": ("a",)}, "each of the 3 classes of the head 'fc'"),
        ({"model": NeedsTrain(nnx.Rngs(0))}, r"model\(images\).*requires train"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_given(fields, message):
    with pytest.raises(ValueError, match=message):
        detector(**fields)


def test_a_module_that_stays_in_training_mode_is_refused():
    model = Net(nnx.Rngs(0))
    model.top.training = True
    with pytest.raises(ValueError, match="Net is in training mode: top says training"):
        detector(model=model)


class Hidden(Net):
    @nnx.jit
    def inner(self, x):
        return super().__call__(x)

    def __call__(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Hidden(nnx.Rngs(0)), r"'top' was called 0 times.*Calls inside nnx\.jit or"),
        (Twice(nnx.Rngs(0)), "'top' was called 2 times in one pass"),
        (Insists(nnx.Rngs(0)), "use_running_average=False, as in training"),
    ],
)
def test_what_shows_as_it_runs_is_told(model, message):
    with pytest.raises(ValueError, match=message):
        detector(model=model, stages={"C5": "top"})(IMAGES)


def test_a_module_that_was_changed_after_the_detector_was_made():
    model = Net(nnx.Rngs(0))
    made = detector("max_logit", model)
    before = made(IMAGES)
    model.fc.kernel[...] = 2 * model.fc.kernel[...]
    np.testing.assert_array_equal(made(IMAGES), before)  # it keeps the values of then
    assert not np.allclose(detector("max_logit", model)(IMAGES), before)
    model.layers[0].conv = nnx.Conv(3, 6, (5, 5), rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError, match=r"layers/0/conv/kernel' of shape \(5, 5.*when"
    ):
        made(IMAGES[:3, :6, :6])  # another shape: the program is traced again
    params = {"fc": made.variables["params"]["fc"]}
    with pytest.raises(ValueError, match=r"variables have none.*must hold all of them"):
        detector(model=Net(nnx.Rngs(0)), variables={"params": params})(IMAGES)


@pytest.mark.parametrize(
    "traced",
    [
        lambda score: jax.jit(score),
        lambda score: nnx.jit(score),
        lambda score: nnx.grad(lambda model: score(model).sum()),
    ],
)
def test_a_detector_is_made_outside_of_traced_programs(traced):
    with pytest.raises(
        ValueError, match=r"flax\.nnx network are traced.*\.function\(\)"
    ):
        traced(lambda model: detector(model=model)(IMAGES))(Net(nnx.Rngs(0)))


def test_what_is_no_module_with_values_is_refused():
    with pytest.raises(TypeError, match="must be a module, got the class Net"):
        detector(model=Net)
    with pytest.raises(TypeError, match=r"must be a Linen module, a flax\.nnx module"):
        detector(model=nnx.jit(Net(nnx.Rngs(0))))
    with pytest.raises(ValueError, match="shapes without values, as eval_shape"):
        detector(model=nnx.eval_shape(lambda: Net(nnx.Rngs(0))))


def test_images_with_channels_first_are_refused():
    with pytest.raises(
        ValueError, match=r"looks like PyTorch's \[B, C, H, W\].*transp"
    ):
        detector()(IMAGES.transpose(0, 3, 1, 2))


# What it costs: the layers before an edit run once.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("energy()", 4),
        ("bundle(a=energy(), b=ta(k=0.1)|feature_sim())", 4 + 2),
        ("bundle(a=msp(), b=ta(k=0.1)|msp(), c=ta(k=0.2)|energy())", 4 + 2 + 2),
        ("ta(k=0.2)|feature_sim()", 4),  # nobody reads the plain record
    ],
)
def test_each_distinct_edit_costs_the_layers_after_it(text, count):
    asked = detector(text)

    def score(variables, images):
        acts = asked.backbone.asked_by(asked.component, variables, images)
        return asked.component.apply((), acts)

    compiled = jax.jit(score).lower(asked.variables, IMAGES).compile().as_text()
    assert len(re.findall(r"= \S+ convolution\(", compiled)) == count
