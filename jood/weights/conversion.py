"""Turns a file of weights into a network that is ready to be used, and back."""

from collections.abc import Callable, Mapping
import os
import pathlib
from typing import Any, NamedTuple

from flax import linen as nn
import numpy as np
from safetensors import numpy as safetensors_numpy

from jood import models
from jood import version
from jood import weights
from jood._utils import atomic_files
from jood._utils import fingerprinting
from jood.core.preprocessing import Preprocessing
from jood.models import check
from jood.weights import checkpoint
from jood.weights import matching
from jood.weights import reading


class MadeHead(NamedTuple):
    """A head that a file does not hold and that is made of its other tensors.

    Attributes:
      tensors: The head, by the names that the model's layouts give it.
      collections: Other collections that travel with the network, by name.
      source: Origin of the head, as JSON values.
    """

    tensors: Mapping[str, np.ndarray]
    collections: Mapping[str, Any]
    source: Mapping[str, Any]


def convert(
    path: str | os.PathLike[str],
    name: str,
    preprocessing: Preprocessing,
    *,
    class_names: tuple[str, ...] | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
    layout: str | None = None,
    entry: str | None = None,
    make_head: Callable[[Mapping[str, np.ndarray]], MadeHead] | None = None,
) -> checkpoint.TrainedNetwork:
    """Reads weights and adds what must travel with them.

    Args:
      path: A file of PyTorch's tensors, or an Orbax checkpoint.
      name: Name of the model, one of `models.names()`.
      preprocessing: The one that the network was trained with.
      class_names: One per class, in the order of the logits.
      image_size: Side of the network's images, in pixels; by default what the
        preprocessing makes, else the model's own.
      num_classes: Number of classes; by default the file's; 0 for a backbone alone.
      layout: Code base whose names the tensors have; by default the one that fits.
      entry: The same as for `reading.read`.
      make_head: Makes the head of a file's tensors, for a network that has none there:
        CLIP's, `clip_head.maker`. None takes the file's own.

    Raises:
      FileNotFoundError: There is no such file or folder.
      ImportError: PyTorch is needed and not installed.
      ValueError: The file is damaged, does not fit the model, or something that must
        travel with the weights is missing or does not fit them.
    """
    path = pathlib.Path(path)
    if image_size is None and preprocessing.fixed_size is not None:
        image_size = preprocessing.fixed_size[0]
    probe = models.create(name, 1)
    options = {}
    if hasattr(probe, "image_size"):  # the shapes of a ViT depend on it
        image_size = options["image_size"] = image_size or probe.image_size
    if image_size is None:
        raise ValueError(
            f"how large are the images that {name} takes? Say image_size in pixels "
            "(--image_size=32), or a preprocessing with a crop (--crop)."
        )

    def create(stored_classes: int) -> nn.Module:
        """A file without a classifier is refused with the rest of what it lacks."""
        classes = (stored_classes or 1) if num_classes is None else num_classes
        return models.create(name, classes, **options)

    source: dict[str, Any] = {"file": path.name, "jood": version.VERSION}
    if path.is_dir():
        if make_head is not None:
            raise ValueError(
                f"{path} is a folder of arrays, not the published file of a CLIP, such "
                "as model.safetensors, of which a head is made. For other prompts of a "
                "folder that jood convert wrote: jood evaluate --prompts=FILE."
            )
        arrays = checkpoint.read_arrays(path)
        model = create(len(arrays["params"].get("head", {}).get("bias", ())))
        variables = weights.load(path, model, layout)
    else:
        tensors = reading.read(path, entry)
        new_head = MadeHead({}, {}, {}) if make_head is None else make_head(tensors)
        tensors |= new_head.tensors
        layout = layout or weights.find_layout(tensors, probe)
        model = create(weights.num_classes(tensors, probe, layout))
        variables = weights.from_torch_names(tensors, model, layout, where=str(path))
        variables |= new_head.collections
        digest = fingerprinting.file_digest(path)
        source |= {"layout": layout, "sha256": digest, **new_head.source}
    size = matching.image_size(model)
    *_, channels = check.shape_of_images(model, variables, size)
    if channels != len(preprocessing.mean):
        raise ValueError(
            f"{path} takes images of {channels} channel(s), but mean and std are for "
            f"{len(preprocessing.mean)}: {preprocessing.mean}, {preprocessing.std}. "
            "Give one number per channel, such as --mean=.5 --std=.25 for gray images."
        )
    return checkpoint.TrainedNetwork(
        model, variables, name, class_names, preprocessing, image_size, source
    )


def export(
    network: checkpoint.TrainedNetwork,
    path: str | os.PathLike[str],
    layout: str | None = None,
) -> str:
    """Writes a network's tensors under PyTorch's names; returns the layout's name.

    Args:
      network: A network, as `checkpoint.open` returns it.
      path: A new `.safetensors` file.
      layout: Code base whose names they get; by default that which they were read
        with, else the first of the model's family.

    Raises:
      FileExistsError: The file exists already; nothing is overwritten.
      ValueError: The name of the file or of the layout is not known.
    """
    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"expected the name of a .safetensors file, got {path}.")
    atomic_files.check_new(path)
    known = weights.layouts(network.model)
    layout = layout or network.source.get("layout") or next(iter(known))
    tensors = weights.to_torch_names(network.model, network.variables, layout)
    with atomic_files.atomic_file(path) as partial:
        safetensors_numpy.save_file(tensors, partial, {"format": "pt"})
    return layout
