"""Looking again: the step, its sign and size, and what the second look rewrites."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jood
from jood import testing
from jood.core import input_perturbation
from jood.methods.transforms import react
from jood.methods.transforms import ta

IMAGES = jnp.asarray(testing.toy_images(4, 0)[0])


def _observed(**options):
    return jood.observe(
        testing.ToyNet(),
        testing.toy_variables(),
        IMAGES,
        needs_network=True,
        **options,
    )


def _moved_images(acts, loss, epsilon):
    """The images at which the network is looked at last."""
    seen = []
    network = acts.behind()

    def spy(images):
        seen.append(images)
        return network.run(images)

    record = acts.replace(network=dataclasses.replace(network, run=spy))
    return seen, input_perturbation.perturbed(record, loss, epsilon)


def _first_logit(acts):
    return acts.logits[:, 0]


@pytest.mark.parametrize("std", [None, (0.5,) * 31 + (2.0,)])
def test_the_step_is_minus_epsilon_times_the_sign_over_std(std):
    acts = _observed(std=std)
    seen, record = _moved_images(acts, _first_logit, 0.01)
    # The toy is monotone in each pixel: the sign is that of the head's weight.
    sign = np.where(np.asarray(acts.kernel)[:, 0] >= 0, 1.0, -1.0)
    divisor = np.ones(32) if std is None else np.asarray(std)
    expected = np.asarray(IMAGES) - 0.01 * sign / divisor
    np.testing.assert_allclose(seen[-1], expected, atol=1e-6)
    np.testing.assert_allclose(
        record.logits, _look(expected.astype(np.float32)), rtol=1e-5
    )
    assert (record.logits[:, 0] < acts.logits[:, 0]).all()


def _look(images):
    return jood.observe(testing.ToyNet(), testing.toy_variables(), images).logits


def test_a_gradient_of_zero_counts_as_plus_one():
    """As in the authors' code; torch.sign would leave such pixels where they are."""
    acts = _observed()
    seen, _ = _moved_images(acts, lambda record: 0 * record.logits[:, 0], 0.25)
    np.testing.assert_allclose(seen[-1], IMAGES - 0.25, atol=1e-6)


def test_an_image_moves_by_its_own_loss_alone():
    acts = _observed()
    whole = input_perturbation.perturbed(acts, _first_logit, 0.1)
    alone = jood.observe(
        testing.ToyNet(),
        testing.toy_variables(),
        IMAGES[1:2],
        needs_network=True,
    )
    single = input_perturbation.perturbed(alone, _first_logit, 0.1)
    np.testing.assert_allclose(single.logits, whole.logits[1:2], rtol=1e-6)


def test_epsilon_may_be_traced_and_zero():
    def logits(epsilon):
        return input_perturbation.perturbed(_observed(), _first_logit, epsilon).logits

    np.testing.assert_allclose(jax.jit(logits)(0.1), logits(0.1), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(logits)(0.0), _observed().logits, rtol=1e-5)


def test_the_second_look_sees_what_the_chain_rewrites():
    def moved(acts):
        return input_perturbation.perturbed(acts, _first_logit, 0.1)

    spy = jood.component.stateless(
        "spy()",
        "score",
        lambda acts: moved(acts).logits[:, 0],
        needs_network=True,
    )
    chained = jood.chain(ta(k=0.3), react(clip=0.8), spy)
    acts = testing.toy_activations(chained, IMAGES)
    got = chained.apply((), acts)
    edited = acts.edit(ta(k=0.3).spec)
    shifted = _moved_images(
        edited, lambda record: react(clip=0.8).apply((), record).logits[:, 0], 0.1
    )[1]
    expected = react(clip=0.8).apply((), shifted).logits[:, 0]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert not np.allclose(got, moved(_observed()).logits[:, 0], rtol=1e-3)


def test_features_alone_cannot_be_looked_at_again():
    acts = jood.Activations.of(np.ones((2, 3), "f"), np.ones((3, 2), "f"))
    with pytest.raises(jood.MissingStageError, match="none behind them"):
        input_perturbation.perturbed(acts, _first_logit, 0.1)
