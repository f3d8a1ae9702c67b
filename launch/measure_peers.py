"""Measures twelve detectors on one network: jood's bundle, and pytorch-ood's.

    pip install pytorch-ood scikit-learn torchvision
    jood measure_peers --batch_size=16

Both score the same images with the same random ResNet-50 and are fitted on the same
random features. jood scores them in one program; of pytorch-ood each detector's
`predict` is called on the images, as its documentation does. Its features can also be
taken once by hand, and given to each detector: that is the row of features. Runs take
turns in one process. Ranks of the scores tell whether both compute the same.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from typing import Any

from absl import flags
import jax
import numpy as np
import scipy.stats

import jood
from jood import cli
from jood import weights
from jood._utils import affinity
from jood._utils import compiling
from jood._utils import measuring
from jood._utils import turns
from jood.core.backbones import observing

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images a batch.", lower_bound=2)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 224, "Side in pixels.", lower_bound=32)
_BANK = flags.DEFINE_integer("bank", 4000, "Training features.", lower_bound=1000)
_RUNS = flags.DEFINE_integer("runs", 5, "Runs of each, in turn.", lower_bound=1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

_WIDTH, _CLASSES = 2048, 1000
# By name of pytorch-ood's class: the same detector in jood.
_OURS = {
    "MaxSoftmax": "msp()",
    "MaxLogit": "max_logit()",
    "EnergyBased": "energy()",
    "Entropy": "entropy()",
    "GEN": "gen(gamma=0.1, M=1000)",
    "KNN": "knn(k=50)",
    "ViM": "vim(dim=1000)",
    "Mahalanobis": "mahalanobis()",
    "SHE": "she()",
    "ReAct": "react(clip=1.0)|energy()",
    "DICE": "dice(q=0.7)|energy()",
    "ASH": "ash_s(q=0.65)|energy()",
}

_NETWORKS = {
    "jood": "jood, network",
    "torch": "torch, network",
    "pytorch-ood": "torch, network",
}


def main(argv: list[str]) -> None:
    """Builds both sides, fits them, and lets them take turns."""
    del argv
    torch, torchvision, peer = _peers()
    torch.set_num_threads(affinity.cores())
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None).eval()
    tensors = {name: t.detach().numpy() for name, t in network.state_dict().items()}
    features, labels = _training_set(tensors["fc.weight"])
    ours = _ours(tensors, features, labels)
    network = network.to(memory_format=torch.channels_last)
    backbone = torch.nn.Sequential(*list(network.children())[:-2])
    encode = torch.nn.Sequential(backbone, network.avgpool, torch.nn.Flatten())
    head = torch.nn.Sequential(network.avgpool, torch.nn.Flatten(), network.fc)
    theirs = _theirs(peer, network, backbone, encode, head)
    for one in theirs.values():
        if one.requires_fit and hasattr(one, "fit_features"):
            one.fit_features(torch.from_numpy(features), torch.from_numpy(labels))

    shape = (_BATCH_SIZE.value, _IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2))  # channels-last in memory
    observe = functools.partial(observing.observe_in_chunks, ours.model)
    forward = compiling.jit(lambda variables, x: observe(variables, x).logits)
    on_device = jax.device_put(ours.variables)

    def without_gradients(run: Callable[[], Any]) -> Callable[[], Any]:
        return torch.inference_mode()(run)

    runs: dict[str, Callable[[], Any]] = {
        "jood, network": lambda: np.asarray(forward(on_device, images)),
        "jood": lambda: ours.run_named(images).scores,
        "torch, network": without_gradients(lambda: network(batch)),
        "pytorch-ood": without_gradients(
            lambda: {name: one.predict(batch) for name, one in theirs.items()}
        ),
        "pytorch-ood, features taken once": without_gradients(
            lambda: _of_features(theirs, backbone(batch), network)
        ),
    }
    agreement = _agreement(runs["jood"](), runs["pytorch-ood"]())
    seconds = turns.medians(runs, _RUNS.value)
    rows = [
        {
            "program": name,
            "ms": 1000 * own,
            "x its network": own / seconds[_NETWORKS[name.partition(",")[0]]],
            "x jood": own / seconds["jood"],
        }
        for name, own in seconds.items()
    ]
    what = (
        f"{len(_OURS)} detectors on ResNet-50, {_IMAGE_SIZE.value} px, batch "
        f"{_BATCH_SIZE.value}, {_CLASSES} classes, fitted on {len(features):,}; "
        f"median of {_RUNS.value} runs"
    )
    measuring.report(what, rows, _OUTPUT.value)
    print("\nrank correlation of the scores: " + agreement)


def _training_set(fc_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features that the classifier answers correctly, with an equal count a class."""
    rng = np.random.default_rng(1)
    labels = np.arange(_BANK.value) % _CLASSES
    noise = rng.standard_normal((_BANK.value, _WIDTH), np.float32)
    return 50 * fc_weight[labels] + 0.1 * noise, labels  # SHE keeps correct ones only


def _ours(
    tensors: Mapping[str, np.ndarray], features: np.ndarray, labels: np.ndarray
) -> jood.Detector:
    """All twelve as one detector, fitted on the features."""
    model = jood.models.create("resnet50", _CLASSES)
    variables = weights.from_torch_names(tensors, model, "torchvision")
    bundle = jood.bundle(**{name: jood.parse(text) for name, text in _OURS.items()})
    kernel, bias = tensors["fc.weight"].T, tensors["fc.bias"]
    record = jood.Activations.of(features, kernel, bias, labels=labels)
    fitted = jood.fit(bundle, [record])
    return dataclasses.replace(jood.Detector(bundle, model, variables), fitted=fitted)


def _peers() -> tuple[Any, Any, Any]:
    """The modules torch, torchvision and pytorch_ood.detector."""
    try:
        import pytorch_ood.detector
        import torch
        import torchvision
    except ImportError as error:
        raise ValueError(
            f"this job compares jood with pytorch-ood, but {error}: "
            "pip install pytorch-ood scikit-learn torchvision"
        ) from None
    return torch, torchvision, pytorch_ood.detector


def _theirs(
    detector: Any, network: Any, backbone: Any, encode: Any, head: Any
) -> dict[str, Any]:
    """pytorch-ood's detectors by name, not yet fitted."""
    w, b = network.fc.weight.detach(), network.fc.bias.detach()
    methods = {
        name: getattr(detector, name)(network)
        for name in ("MaxSoftmax", "MaxLogit", "EnergyBased", "Entropy", "GEN")
    }
    return methods | {
        "KNN": detector.KNN(encode, k=50),
        "ViM": detector.ViM(encode, d=1000, w=w, b=b),
        "Mahalanobis": detector.Mahalanobis(encode),
        "SHE": detector.SHE(encode, network.fc),
        "ReAct": detector.ReAct(encode, network.fc, threshold=1.0),
        "DICE": detector.DICE(encode, w=w, b=b, p=0.7),
        "ASH": detector.ASH(backbone, head, percentile=0.65),
    }


def _of_features(theirs: Mapping[str, Any], maps: Any, network: Any) -> dict[str, Any]:
    """The scores of each detector, from whatever it takes: maps, features or logits."""
    features = network.avgpool(maps).flatten(1)
    logits = network.fc(features)
    scores = {}
    for name, one in theirs.items():
        if hasattr(one, "predict_logits"):
            scores[name] = one.predict_logits(logits)
        elif hasattr(one, "predict_features"):
            scores[name] = one.predict_features(features)
        else:  # ReAct stands behind the pooling here, ASH before it
            given = maps if name == "ASH" else features
            scores[name] = one.predict_feature_maps(given)
    return scores


def _agreement(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Spearman's correlation of both sides' scores, of each detector."""
    return ", ".join(
        f"{name} {scipy.stats.spearmanr(own, -np.asarray(theirs[name])).statistic:.3f}"
        for name, own in ours.items()
    )


if __name__ == "__main__":
    cli.run(main)
