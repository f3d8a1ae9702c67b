"""A small network that counts its runs, and what caches of its features are asked."""

import pathlib

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import jood
from jood.core import component as component_lib
from jood.core.backbones import edited_runs
from jood.core.features import Features
from jood.core.features import Reader
from jood.data.pipeline import EvaluationBatches
from jood.data.sources import ArraySource
from jood.detector.feature_cache import FeatureCache

ONE = "react(q=0.9)|energy()"
EDITED = "ta(k=0.2)|react(q=0.9)|energy()"
TWO = f"fuse({EDITED}, max_logit(), weights='scale')"  # sweeps, and runs
OTHER = jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.41))
PREPROCESSING = jood.Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
IMAGES = np.random.default_rng(0).integers(0, 256, (22, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(22, dtype=np.int32) % 4
BATCH, BATCHES = 4, 6  # the last is padded
RUNS = []  # one entry per batch that the network below has run on


def _count():
    RUNS.append(1)
    return np.float32(0)


class Stage(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(6, name="dense")(x))


def runs(component):
    """How often the network ran; an edited run counts as one with the plain run."""
    count, rest = divmod(len(RUNS), len(edited_runs.prefixes(component.edits)))
    assert not rest
    return count


class Net(nn.Module):
    """A small network that counts its runs (not its traces)."""

    power: int = 1

    @nn.compact
    def __call__(self, x):
        x += jax.pure_callback(_count, jax.ShapeDtypeStruct((), "f"))
        x = Stage(name="C4")(x) ** self.power
        return nn.Dense(4, name="head")(x.mean((1, 2)))


VARIABLES = jax.device_get(Net().init(jax.random.key(0), np.zeros((1, 4, 4, 3), "f")))


def detector(component=ONE, model=None, variables=VARIABLES, **fields):
    fields = {"preprocessing": PREPROCESSING, **fields}
    return jood.Detector(component, model or Net(), variables, **fields)


def data(images=IMAGES, labels=LABELS, batch=BATCH):
    return EvaluationBatches(ArraySource(images, labels), batch)


def fit(component=ONE, batches=None, cache=None, **fields):
    """Fits; returns the fitted values and how often the network ran."""
    RUNS.clear()
    new = detector(component, **fields)
    fitted = new.fit(batches or data(), cache=cache).fitted
    return fitted, runs(new.component)


def stores(root):
    return {path.name for path in pathlib.Path(root).iterdir()}


class OtherNet(nn.Module):
    """`Net` with another body, under its name."""

    power: int = 1

    @nn.compact
    def __call__(self, x):
        x += jax.pure_callback(_count, jax.ShapeDtypeStruct((), "f"))
        x = Stage(name="C4")(x) ** self.power * 1.5
        return nn.Dense(4, name="head")(x.mean((1, 2)))


OtherNet.__qualname__ = OtherNet.__name__ = "Net"


class Interrupted:
    """The data, with an error after some batches."""

    def __init__(self, error, after):
        self.error, self.after = error, after

    def __iter__(self):
        for index, batch in enumerate(data()):
            if index == self.after:
                raise self.error
            yield batch

    def fingerprint(self):
        return data().fingerprint()


def reads(read):
    """A detector whose one statistic is the sum of what `read` returns, [B, D]."""
    total = component_lib.Statistic(
        init=lambda acts: jnp.zeros(6),
        update=lambda state, acts, mask: state + mask @ read(acts),
        merge=jnp.add,
        finalize=np.asarray,
    )
    return component_lib.build(
        "reads()",
        "score",
        lambda fitted, acts: acts.logits.max(-1),
        passes=(lambda fitted: total,),
        needs_network=True,
    )


def small_features(size=8, width=64, seed=0, labels=True):
    x = np.random.default_rng(seed).normal(size=(size, width)).astype("f")
    y = np.arange(size, dtype=np.int32) if labels else None
    return Features({(): x, ("a",): -x}, np.ones(size, "f"), y)


def small_cache(root):
    return FeatureCache(root, {"data": 1}, {(): {}, ("a",): {"edits": ["a"]}})


def doubled(cache, source):
    """Features that are twice the batch, of the plain run and of one with an edit."""

    def observer(variables, batch):
        acts = jood.Activations.of(batch * 2, variables)
        return acts.replace(edited={"a": acts}), jnp.ones(len(batch))

    return Reader(observer, np.ones((64, 3), "f"), source, np.ones((2, 64), "f"), cache)
