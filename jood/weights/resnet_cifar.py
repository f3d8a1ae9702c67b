"""Names of the CIFAR ResNets' tensors: akamaster's."""

from jood.models import resnet_cifar
from jood.weights import layout


def _akamaster(model: resnet_cifar.CifarResNet) -> layout.Pairs:
    yield from (("conv1", "conv1"), ("bn1", "bn1"), ("head", "linear"))
    for ours, stage, block in layout.blocks(3 * [model.blocks]):
        theirs = f"layer{stage + 1}.{block}"
        yield from layout.below(ours, theirs, ("conv1", "bn1", "conv2", "bn2"))


MODEL = resnet_cifar.CifarResNet
LAYOUTS = {"akamaster": layout.Layout(_akamaster)}
