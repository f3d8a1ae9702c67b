"""Every component satisfies the contract; they are found by themselves."""

import functools
import importlib
import inspect
import pathlib

from helpers import torch_oracle
import jax.numpy as jnp
import numpy as np
import pytest

from jood import scores
from jood import testing
from jood import transforms
from jood.core import component
from jood.methods import detector_text

# Methods that stand in another slot if they are given a stage.
ON_A_MAP = {
    f"{name}_on_a_map": functools.partial(getattr(transforms, name), stage="C4")
    for name in ("ash_p", "ash_b", "ash_s")
}
FACTORIES = {**detector_text.factories(), **ON_A_MAP}
CHECKS = dict(testing.component_checks())
# What each method promises in a few programs; the other checks fit it again and again.
QUICK = {
    "spec_round_trip",
    "score_shape_and_type",
    "extreme_inputs_stay_finite",
    "separates_toy",
}
# They run whole networks, again on moved images or for many blocks.
LONG = {
    "csi",
    "mahalanobis_ensemble",
    "feature_norm_selected",
    "rankfeat",
    "adascale_a",
    "adascale_l",
    "weiper_kld",
}
# One code with another exponent: what adascale_a's values do, adascale_l's do. The toy
# network is right about all its training images, so that gram_deviation's 'label' is
# its 'prediction'; its own test tells them apart.
SHARED = {
    "adascale_l": {"hyper_parameters_matter"},
    "gram_deviation": {"hyper_parameters_matter"},
}
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])
    for name in FACTORIES
]


def test_what_takes_long_is_still_there():
    assert set(FACTORIES) >= LONG | set(SHARED)
    assert set(CHECKS) > QUICK


def assert_kept(name, checks):
    """Several checks of a component: in one test they share its fit and programs."""
    failed = {}
    for check in checks:
        try:
            CHECKS[check](FACTORIES[name])
        except Exception as error:
            failed[check] = error
    if failed:
        raise ExceptionGroup(f"{name} fails {', '.join(failed)}", list(failed.values()))


@pytest.mark.parametrize("name", NAMES)
def test_the_quick_half_of_the_contract(name):
    assert_kept(name, [check for check in CHECKS if check in QUICK])


@pytest.mark.slow
@pytest.mark.parametrize("name", FACTORIES)
def test_the_rest_of_the_contract(name):
    elsewhere = QUICK | SHARED.get(name, set())
    assert_kept(name, [check for check in CHECKS if check not in elsewhere])


# One method of each way to rewrite, to learn and to look again, on the other kinds.
ELSEWHERE = (
    "ta",  # rewrites a stage's map
    "react",  # rewrites the feature, by a quantile of it
    "dice",  # rewrites the head
    "odin",  # looks again at changed images
    "mahalanobis",  # class statistics, in two passes
    "gram",  # reads maps
)


KINDS = ["flax.nnx", "function", "PyTorch"]


@pytest.fixture(params=KINDS)
def kind(request):
    """The kind of a network that is not Linen."""
    if request.param == "PyTorch":
        torch_oracle.torch_or_skip()
    return request.param


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_contract_holds_on_other_kinds_of_networks(name, kind):
    for check in ("score_shape_and_type", "jit_equals_eager", "separates_toy"):
        CHECKS[check](FACTORIES[name], kind)


@pytest.mark.slow
def test_the_whole_contract_holds_on_other_kinds_of_networks(kind):
    testing.check_component(FACTORIES["ta"], kind)


def test_scores_of_all_kinds_of_networks_agree(kind):
    images, _ = testing.toy_images(16, 1)
    part = detector_text.parse("bundle(a=ta(k=1.0)|feature_sim(), b=odin())")
    expected, found = (
        part.apply((), testing.toy_activations(part, jnp.asarray(images), kind=k))
        for k in ("Linen", kind)
    )
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("folder", [transforms, scores])
def test_every_method_that_is_written_is_listed(folder):
    """A new file whose factories are not in `__all__` would escape the contract."""
    written = set()
    for path in pathlib.Path(folder.__file__).parent.glob("*.py"):
        module = importlib.import_module(f"{folder.__name__}.{path.stem}")
        written |= {
            name
            for name, found in inspect.getmembers(module, inspect.isfunction)
            if found.__module__ == module.__name__
            and not name.startswith("_")
            and found.__annotations__.get("return") is component.Component
        }
    assert written == set(folder.__all__)


def test_a_method_from_outside_passes_the_public_check():
    def smallest_margin(T=1.0):
        def margin(acts):
            top = jnp.sort(acts.logits / T, axis=-1)
            return top[:, -1] - top[:, -2]

        return component.score(component.call_spec("smallest_margin", T=T), margin)

    testing.check_component(smallest_margin)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        ("separates_toy", lambda acts: -acts.logits.max(-1)),
        ("rows_are_independent", lambda acts: acts.logits.max(-1) - acts.logits.mean()),
        ("extreme_inputs_stay_finite", lambda acts: jnp.log(acts.penultimate.sum(-1))),
        ("score_shape_and_type", lambda acts: acts.logits),
    ],
)
def test_the_checks_catch_broken_methods(check, broken):
    with pytest.raises(AssertionError):
        CHECKS[check](lambda: component.score(f"broken_{check}()", broken))


def test_the_checks_catch_a_hyper_parameter_that_does_nothing():
    def idle(k=0.5):
        return component.score(
            component.call_spec("idle", k=k), lambda acts: acts.logits.max(-1)
        )

    with pytest.raises(AssertionError, match=r"k of idle.*has no effect"):
        CHECKS["hyper_parameters_matter"](idle)
