"""Feature Sim's fusions on real networks: no term rules the sum."""

import ast

import numpy as np
import pytest

import jood
from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.methods import presets
from jood.weights import conversion

FUSED = [name for name, text in presets.PRESETS.items() if "fuse(" in text]
DENSENET = Preprocessing((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
RESNET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NETWORKS = [
    ("dice_densenet100_cifar10", "densenet100_cifar", "cifar10", DENSENET),
    ("dice_densenet100_cifar100", "densenet100_cifar", "cifar100", DENSENET),
    ("akamaster_resnet56-4bfd9763", "resnet56", "cifar10", RESNET),
]
IMAGES = 50  # of the ID test set


def terms(text):
    """A text 'edit|fuse(a, b, weights=w)' as the texts of its terms, and weights."""
    tree = ast.parse(text, mode="eval").body
    edit, fuse = ast.unparse(tree.left), tree.right
    (weights,) = (ast.literal_eval(word.value) for word in fuse.keywords)
    return [f"{edit} | {ast.unparse(part)}" for part in fuse.args], weights


def test_a_fusion_s_terms_are_read():
    text = "ta(k=0.2)|fuse(feature_sim(), react(q=0.9)|energy(), weights=(1, 0.4))"
    expected = ["ta(k=0.2) | feature_sim()", "ta(k=0.2) | react(q=0.9) | energy()"]
    assert terms(text) == (expected, (1, 0.4))
    assert len(FUSED) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name", "benchmark", "preprocessing"), NETWORKS, ids=lambda v: str(v)[:25]
)
def test_no_term_of_a_fusion_rules_the_sum(
    data_dir, file, name, benchmark, preprocessing
):
    """λ is there so that no score dominates (Feature Sim, Sec. 5.3 and App. A.1)."""
    network = conversion.convert(
        data_dir / "weights" / f"{file}.npz", name, preprocessing, image_size=32
    )
    sets = benchmarks.get(
        benchmark, data_dir=data_dir, preprocessing=preprocessing, ood=("dtd10",)
    )
    step = len(sets.id_test) // IMAGES
    images = np.stack([sets.id_test[i * step]["image"] for i in range(IMAGES)])
    fused = {p: terms(presets.preset(p, benchmark, name)) for p in FUSED}
    fixed = {p: both for p, (both, weights) in fused.items() if weights != "scale"}
    texts = {f"{p}_{i}": t for p, both in fixed.items() for i, t in enumerate(both)}
    detector = jood.Detector(
        jood.bundle(**{key: jood.parse(text) for key, text in texts.items()}),
        network.model,
        network.variables,
        preprocessing=preprocessing,
    )
    found = detector.fit([images]).run(images).scores
    assert len(fixed) == 5
    for preset in fixed:
        _, weights = fused[preset]
        first, second = (
            w * np.std(np.asarray(found[f"{preset}_{i}"], np.float64))
            for i, w in enumerate(weights)
        )
        assert 1 / 30 < second / first < 30, f"{preset}: {second / first:.3g}"
