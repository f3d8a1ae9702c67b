"""Names of the CIFAR ResNets' tensors: akamaster's."""

from collections.abc import Iterator

from jood.models import resnet_cifar
from jood.weights import layout


def _akamaster(model: resnet_cifar.CifarResNet) -> Iterator[tuple[str, str]]:
    yield "conv1", "conv1"
    yield "bn1", "bn1"
    for stage in range(3):
        for block in range(model.blocks):
            for i in (1, 2):
                ours = f"C{stage + 3}/block{block + 1}"
                theirs = f"layer{stage + 1}.{block}"
                yield f"{ours}/conv{i}", f"{theirs}.conv{i}"
                yield f"{ours}/bn{i}", f"{theirs}.bn{i}"
    yield "head", "linear"


MODEL = resnet_cifar.CifarResNet
LAYOUTS = {"akamaster": layout.Layout(_akamaster)}
