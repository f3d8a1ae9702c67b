"""Random records: each is refused, or every score is float64's, at any scale.

A score that is not finite counts as refused: `jood.Detector` raises ValueError of it.
"""

from helpers import fuzzing
import jax
import numpy as np
import pytest
from reference import distance
from reference import maps
from reference import papers
from reference import scores as reference

import jood
from jood.core.fitting import fit

pytestmark = pytest.mark.slow
B, D, K, K_NEAREST = 4, 5, 3, 2
TRAIN = np.random.default_rng(0).gamma(1.0, size=(24, D)).astype("f")
REFERENCES = {  # by text: a function of features, kernel, logits and the map
    "msp()": lambda h, w, f, z: papers.msp(f),
    "max_logit()": lambda h, w, f, z: papers.max_logit(f),
    "energy()": lambda h, w, f, z: papers.energy(f),
    "gradnorm()": lambda h, w, f, z: reference.gradnorm(h, f),
    "penultimate_norm()": lambda h, w, f, z: np.linalg.norm(h.astype(float), axis=1),
    f"knn(k={K_NEAREST})": lambda h, w, f, z: distance.knn(TRAIN, h, K_NEAREST),
    "feature_sim()": lambda h, w, f, z: papers.feature_sim(z),
    "feature_sim_std()": lambda h, w, f, z: papers.feature_sim_std(z),
    "feature_sim_median()": lambda h, w, f, z: papers.feature_sim_median(z),
    "feature_norm()": lambda h, w, f, z: maps.feature_norm(z),
    "gram(statistic='std')": lambda h, w, f, z: maps.gram(z, "std"),
}
UNREFERENCED = (
    "dice()|energy()",
    "she(metric='cosine')",
    "nci()",
    "fdbd()",
    "bats()|energy()",
)
TEXTS = {f"d{i}": text for i, text in enumerate([*REFERENCES, *UNREFERENCED])}


@pytest.fixture(scope="module")
def score():
    """All detectors in one program, fitted on clean features."""
    kernel = np.random.default_rng(1).normal(size=(D, K)).astype("f")
    labels = np.arange(len(TRAIN)) % K
    whole = np.ones((len(TRAIN), 2, 2, 4), "f")
    acts = jood.Activations.of(TRAIN, kernel, stages={"C5": whole}, labels=labels)
    parts = {name: jood.parse(text) for name, text in TEXTS.items()}
    component = jood.bundle(**parts)
    fitted = fit(component, [acts])
    apply = jax.jit(component.apply)
    return lambda record: jax.device_get(apply(fitted, record))


def record(rng):
    """Parts of a record, each at a scale of its own."""
    scales = 10.0 ** rng.uniform(-15, 15, 3)
    return {
        "penultimate": (rng.gamma(1.0, size=(B, D)) * scales[0]).astype("f"),
        "kernel": (rng.normal(size=(D, K)) * min(scales[1], 1e15)).astype("f"),
        "bias": rng.normal(size=K).astype("f"),
        "C5": (rng.gamma(0.5, size=(B, 2, 2, 4)) * scales[2]).astype("f"),
    }


def spoiled(rng, parts):
    """Spoils one part, so that no record can be made of it."""
    name = list(parts)[rng.integers(4)]
    array = parts[name].copy()
    kind = rng.integers(6)
    if kind < 2:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == 2:
        types = (int, complex, object, str, bool, np.uint8)
        array = array.astype(types[rng.integers(len(types))])
    elif kind == 3:
        array = np.ma.array(array, mask=rng.random(array.shape) < 0.2)
    elif kind == 4:
        array = array[:-1]
    else:
        array = array[None, None]
    return {**parts, name: array}


def made(parts):
    rest = {name: parts[name] for name in ("penultimate", "kernel", "bias")}
    return jood.Activations.of(**rest, stages={"C5": parts["C5"]})


@fuzzing.seeds("records", each=40)
@pytest.mark.filterwarnings("ignore")  # NumPy's, of the casts that spoil a part
def test_records(score, seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        parts = record(rng)
        if rng.random() < 0.6:
            bad = spoiled(rng, parts)
            with pytest.raises(ValueError, match=r"must|NaN|need"):
                made(bad)
            continue
        acts = made(parts)
        found = score(acts)
        h, w, z = parts["penultimate"], parts["kernel"], parts["C5"]
        logits = np.asarray(acts.logits)
        for name, text in TEXTS.items():
            values = found[name]
            assert values.shape == (B,), text
            assert values.dtype == np.float32, text
            if text in REFERENCES and np.isfinite(values).all():
                expected = REFERENCES[text](h, w, logits, z)
                atol = 3e-5 * np.abs(expected).max() + 1e-38
                np.testing.assert_allclose(
                    values, expected, rtol=3e-4, atol=atol, err_msg=text
                )
