"""Writes the scores that launch/demo.py compares photographs with.

    pip install -e '.[demo]'
    python docs/make_demo_calibration.py --images=data/images/imagenet1000 \
        --textures=data/images/textures

--images has a photograph per ImageNet class, sorted as the classes are, in files named
as in github.com/EliSchwartz/imagenet-sample-images. The two values that no paper gives
for this network are chosen on every second photograph, without an OOD image: TA's k
against images made from the photographs, λ as the ratio of the spreads of both scores.
Then all photographs are scored, and the table of docs/demo.md is printed: the five
detectors on the other photographs against --textures, which nothing was chosen on.
"""

from absl import flags
import numpy as np
import tabulate

from jood import cli
from jood.core import compose
from jood.data import inputs as inputs_lib
from jood.data import sources
from jood.data.sources import subset
from jood.deploy.demo import imagenet_network
from jood.deploy.demo import judging
from jood.deploy.demo import reference
from jood.detector import Detector
from jood.detector import streaming
from jood.detector.calibration import calibrated
from jood.evaluation import choice
from jood.evaluation import selection
from jood.methods import detector_text
from jood.weights import checkpoint

_IMAGES = flags.DEFINE_string("images", None, "Folder of photographs.", required=True)
_TEXTURES = flags.DEFINE_string("textures", None, "Folder of textures.", required=True)

K = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0)
CHOSEN_ON = 160  # photographs that k is chosen on
OUTLIERS = ("blur", "jigsaw", "mixed")
TPR, BATCH = 0.95, 20
VALIDATION_ACCURACY = 0.75  # of the network on ImageNet's validation set, about
ABOUT = (
    "The calibration photographs are 1,000 of ImageNet, one per class, with 256 pixels "
    "on the shorter side (github.com/EliSchwartz/imagenet-sample-images). They are, at "
    "least in part, of the set that the network was trained on, so it is more certain "
    "of them than of new photographs: of these more than 5 % may be called OOD, about "
    "4 to 8 % by detector (docs/demo.md)."
)


def main(argv: list[str]) -> None:
    """Chooses, scores, writes and prints."""
    del argv
    network = imagenet_network.open()
    images = inputs_lib.find(_IMAGES.value, network.preprocessing)[0]
    textures = inputs_lib.find(_TEXTURES.value, network.preprocessing)[0]
    if len(images) != len(network.class_names or ()):
        raise ValueError(f"--images must be a photograph per class, got {len(images)}.")
    k = _chosen_k(network, images)
    plain = {
        "MSP": "msp()",
        "Energy": "energy()",
        "FS": "feature_sim()",
        "FS+TA": f"ta(k={k:g})|feature_sim()",
        "Energy+TA": f"ta(k={k:g})|energy()",
    }
    inside = _scored(network, plain, images)
    ratio = inside.scores["FS+TA"][::2].std() / inside.scores["Energy+TA"][::2].std()
    lam = float(f"{ratio:.2g}")
    fused = f"ta(k={k:g})|fuse(feature_sim(), energy(), weights=(1, {lam:g}))"
    texts = {n: plain[n] for n in ("MSP", "Energy", "FS", "FS+TA")}
    texts["Energy+TA+FS"] = fused
    outside = _scored(network, plain, textures)
    sets = [
        {
            **{name: one.scores[name] for name in texts if name in plain},
            "Energy+TA+FS": one.scores["FS+TA"] + lam * one.scores["Energy+TA"],
        }
        for one in (inside, outside)
    ]
    right = inside.prediction == np.arange(len(images))
    print(f"top-1 accuracy {right.mean():.1%}, k = {k:g}, λ = {lam:g}")
    print(_table(*sets, right))
    about = {"images": ABOUT, "accuracy": float(right.mean()), "k": k, "lambda": lam}
    known = reference.Reference(
        texts,
        calibrated(sets[0], TPR, ""),
        network.source["sha256"],
        brightest(_detector(network, texts), images),
        about,
    )
    reference.write(reference.FILE, known)
    print(f"written to {reference.FILE}")


def _chosen_k(network: checkpoint.TrainedNetwork, images: sources.Source) -> float:
    """Returns TA's k that separates photographs from images made from them."""
    places = np.random.default_rng(0).permutation(len(images) // 2)[:CHOSEN_ON] * 2
    shown = np.stack([images[int(place)]["image"] for place in places])
    batches = np.split(shown, range(BATCH, len(shown), BATCH))
    curve = selection.select(
        "ta(k=k)|feature_sim()",
        {"k": K},
        _detector(network, {"MSP": "msp()"}),
        batches,
        batches,
        outliers=OUTLIERS,
    )
    print(curve.text())
    return float(curve.best.values["k"])


def brightest(asked: Detector, images: sources.Source) -> float:
    """Returns the highest value in the heatmaps of a few photographs."""
    some = np.arange(0, len(images), len(images) // judging.SHOWN)
    shown = subset.Subset(images, some)
    names = [str(place) for place in some]
    judged = judging.judge(asked, [inputs_lib.Inputs(shown, names, "")])
    return round(float(max(maps.max() for maps in judged.maps)), 1)


def _detector(network: checkpoint.TrainedNetwork, texts: dict[str, str]) -> Detector:
    parts = {name: detector_text.parse(text) for name, text in texts.items()}
    return Detector(
        compose.bundle(**parts),
        network.model,
        network.variables,
        network.preprocessing,
    )


def _scored(
    network: checkpoint.TrainedNetwork, texts: dict[str, str], images: sources.Source
) -> streaming.Scored:
    """Scores all images; raises ImageError if one cannot be read."""
    parts = list(streaming.scored(_detector(network, texts), images, BATCH))
    return streaming.Scored(
        0,
        np.concatenate([part.readable for part in parts]),
        {n: np.concatenate([part.scores[n] for part in parts]) for n in texts},
        np.concatenate([part.prediction for part in parts]),
        None,
        {},
    )


def _table(
    inside: dict[str, np.ndarray], outside: dict[str, np.ndarray], right: np.ndarray
) -> str:
    """Returns how well each detector, calibrated on one half, does on the other."""
    rows = []
    for name in inside:
        calibration = calibrated({name: inside[name][::2]}, TPR, "")
        threshold = calibration.thresholds()[name]
        others, hits = inside[name][1::2], right[1::2]
        contrast = choice.contrast(others, outside[name])
        alarms = [(others[hits == one] < threshold).mean() for one in (True, False)]
        shares = VALIDATION_ACCURACY, 1 - VALIDATION_ACCURACY
        rows.append(
            [
                name,
                f"{100 * contrast.auroc:.1f} ± {100 * contrast.error:.1f}",
                f"{100 * contrast.fpr95:.0f}",
                f"{100 * (outside[name] < threshold).mean():.0f}",
                f"{100 * (others < threshold).mean():.1f}",
                f"{100 * np.dot(shares, alarms):.0f}",
            ]
        )
    header = [
        "detector",
        "AUROC",
        "FPR95",
        "textures called OOD",
        "photographs called OOD",
        "new ones, about",
    ]
    return tabulate.tabulate(rows, header, "github", disable_numparse=True)


if __name__ == "__main__":
    cli.run(main)
