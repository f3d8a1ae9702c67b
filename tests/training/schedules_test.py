"""Learning rates against those that published code printed."""

from helpers import golden_training as golden
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jood.training import schedules
from jood.training.config import TrainConfig
from jood.training.optimizer import learning_rate_schedule


def rates(schedule, count):
    return jax.jit(jax.vmap(schedule))(jnp.arange(count))


def test_rates_are_those_of_the_published_code(golden_training_dir):
    found = dict(golden.groups(golden_training_dir, "schedules"))
    given = found["cosine_step"]
    lr, total = given["lr0"], given["total_steps"]
    cosine = optax.cosine_decay_schedule(lr, total, 1e-6 / lr)
    golden.close(rates(cosine, total), given["lr"], "cosine")
    given = found["cider"]
    for whose, first_batch in (("authors", 0), ("openood", 1)):
        schedule = schedules.contrastive(
            given["lr0"],
            given["epochs"],
            given["batches_per_epoch"],
            warm_epochs=given["warm_epochs"],
            warm_from=given["warmup_from"],
            first_epoch=0,
            first_batch=first_batch,
        )
        expected = given[f"lr_{whose}"]
        golden.close(rates(schedule, len(expected)), expected, whose)
    given = found["mos"]
    for name in (n for n in given if n.startswith("lr_dataset_")):
        schedule = schedules.bit(given["base_lr"], int(name.rpartition("_")[2]))
        golden.close([schedule(s) for s in given["steps"]], given[name], name)


def test_the_warm_up_that_counts_from_one_is_never_negative():
    found = rates(schedules.contrastive(0.5, 20, 4), 80)
    assert found[0] == pytest.approx(1e-3)
    assert (np.diff(found[:40]) > 0).all()
    assert (np.diff(found[40:]) <= 0).all()
    assert (found > 0).all()


def test_a_small_data_set_has_a_short_rule():
    found = np.asarray(rates(schedules.bit(0.003, 1000), 600))
    tenths = 0.003 * 0.1 ** np.arange(4)
    np.testing.assert_allclose(found[[100, 201, 301, 401]], tenths, rtol=1e-5)
    assert found[499] > 0
    assert found[500] == 0


def test_a_run_takes_them_by_name():
    config = TrainConfig(schedule="contrastive", epochs=20, warmup_epochs=10)
    expected = schedules.contrastive(0.1, 20, 4)
    schedule = learning_rate_schedule(config, 4)
    np.testing.assert_allclose(rates(schedule, 80), rates(expected, 80))
    config = TrainConfig(schedule="bit", warmup_epochs=0, batch_size=100)
    schedule = learning_rate_schedule(config, 10)
    np.testing.assert_allclose(
        rates(schedule, 600), rates(schedules.bit(0.1, 1000), 600)
    )
    with pytest.raises(ValueError, match="warmup_epochs must be 0 with schedule='bit'"):
        TrainConfig(schedule="bit")
