"""The standard selections, on a small network; and what is held out for them."""

import dataclasses

import jax
import numpy as np
import pytest

import jood
from jood.data import benchmarks
from jood.data import sources
from jood.data.sources import subset
from jood.evaluation import paper_grids


def source(count):
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return sources.ArraySource(images, np.arange(count, dtype=np.int32))


@pytest.mark.parametrize(
    ("count", "every"), [(2, 5), (3, 2), (10, 5), (11, 5), (12, 3)]
)
def test_kept_and_held_examples_are_disjoint_and_all(count, every):
    kept, held = subset.hold_out(source(count), every)
    labels = [
        [int(part[i]["label"]) for i in range(len(part))] for part in (kept, held)
    ]
    assert sorted(labels[0] + labels[1]) == list(range(count))
    assert len(held) >= 1
    assert len(kept) >= len(held)
    assert kept[0]["image"].shape == (1, 1, 1)


@pytest.mark.parametrize(("count", "every"), [(1, 5), (10, 1)])
def test_nothing_to_hold_out_says_so(count, every):
    with pytest.raises(ValueError, match="at least two examples and every >= 2"):
        subset.hold_out(source(count), every)


@pytest.mark.slow
def test_no_test_set_is_read_and_the_best_candidates_are_returned(monkeypatch):
    monkeypatch.setattr(paper_grids, "K", (0.1, 0.5))
    monkeypatch.setattr(paper_grids, "LAMBDA", (0.01, 1.0))
    monkeypatch.setattr(paper_grids, "MASK", (0.3, 0.6))
    monkeypatch.setattr(paper_grids, "CLIP", (0.9,))
    tiny = benchmarks.get("digits_tiny")
    kept = sources.ArraySource(tiny.id_train.images[:96], tiny.id_train.labels[:96])
    benchmark = without_test_sets(tiny, kept)
    model = jood.models.create("resnet_small", 8, width=4)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 32, 32, 3), "f"))
    network = jood.Detector("msp()", model, variables, tiny.preprocessing)
    curves = paper_grids.run(network, benchmark, batch_size=32)
    assert {name: len(curve.candidates) for name, curve in curves.items()} == {
        "FS+TA (selected)": 4,  # two k, the stages C3 and C4
        "Energy+TA+FS (selected)": 2,
        "HIMPLoS (selected)": 2,
    }
    edit = curves["FS+TA (selected)"].best.spec.split("|")[0]
    for candidate in curves["Energy+TA+FS (selected)"].candidates:
        assert candidate.spec.startswith(edit)


class Untouchable:
    def __len__(self):
        raise AssertionError("a test set was read")

    __getitem__ = __len__


def without_test_sets(benchmark, train):
    return dataclasses.replace(
        benchmark, id_train=train, id_test=Untouchable(), ood={"near": Untouchable()}
    )
