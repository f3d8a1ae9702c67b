"""Real CIFAR networks on real images: jood's numbers are PyTorch's.

The expected numbers stand in the data folder's README, made with PyTorch and NumPy.
"""

import os
import re

import numpy as np
import pytest

from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.evaluation import benchmark_run
from jood.weights import conversion

RESNET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DENSENET = Preprocessing((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
TEXTS = {"MSP": "msp()", "MaxLogit": "max_logit()", "Energy": "energy()"}
WITHIN = 0.05 + 0.005  # points; the README's numbers are rounded to 0.01
# Title in the README, weights, model, benchmark, preprocessing
NETWORKS = [
    ("ResNet-20, CIFAR-10", "akamaster_resnet20-12fca82f", "resnet20", "cifar10"),
    ("ResNet-56, CIFAR-10", "akamaster_resnet56-4bfd9763", "resnet56", "cifar10"),
    (
        "DenseNet-100, CIFAR-10",
        "dice_densenet100_cifar10",
        "densenet100_cifar",
        "cifar10",
    ),
    (
        "DenseNet-100, CIFAR-100",
        "dice_densenet100_cifar100",
        "densenet100_cifar",
        "cifar100",
    ),
]

# The others' logits are held to PyTorch's in weights/; on all images they take long.
USUAL = {"ResNet-20, CIFAR-10"}
CASES = [
    pytest.param(
        *network,
        id=network[0],
        marks=pytest.mark.skipif(
            network[0] not in USUAL and "JOOD_ALL_NETWORKS" not in os.environ,
            reason="takes long: set JOOD_ALL_NETWORKS=1",
        ),
    )
    for network in NETWORKS
]


def reference(readme, title):
    """Returns (accuracy, {OOD set: {score: (AUROC, FPR95)}}) of a network, in %."""
    section = readme.split(f"**{title}**", 1)[1].split("\n**", 1)[0]
    accuracy = float(re.search(r"accuracy ([\d.]+) %", section).group(1))
    rows = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if (found := re.match(r"(\w+) \([\d,]+\)", cells[0])) and len(cells) == 4:
            pairs = (tuple(float(v) for v in c.split("/")) for c in cells[1:])
            rows[found.group(1)] = dict(zip(TEXTS, pairs, strict=True))
    return accuracy, rows


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_compile")
@pytest.mark.parametrize(("title", "file", "name", "benchmark"), CASES)
def test_accuracy_auroc_and_fpr95_are_those_of_pytorch(
    data_dir, title, file, name, benchmark
):
    accuracy, rows = reference((data_dir / "README.md").read_text(), title)
    assert len(rows) >= 4
    preprocessing = DENSENET if "DenseNet" in title else RESNET
    network = conversion.convert(
        data_dir / "weights" / f"{file}.npz", name, preprocessing, image_size=32
    )
    sets = benchmarks.get(
        benchmark, data_dir=data_dir, preprocessing=preprocessing, ood=tuple(rows)
    )
    assert not sets.absent
    detector = benchmark_run.make_detector(
        TEXTS, sets, network.model, network.variables
    )
    _, found = benchmark_run.evaluate(detector, sets, batch_size=32)
    np.testing.assert_allclose(100 * found.accuracy, accuracy, rtol=0, atol=WITHIN)
    measured = found.metrics()
    for ood, scores in rows.items():
        for score, expected in scores.items():
            values = [100 * measured[score][ood][m] for m in ("AUROC", "FPR95")]
            np.testing.assert_allclose(
                values, expected, rtol=0, atol=WITHIN, err_msg=f"{score} on {ood}"
            )
