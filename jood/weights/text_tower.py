"""The text tower beside a converted CLIP, so that other texts can become its head.

    networks/clip_b16/text_tower/model.safetensors   under Hugging Face's names
    networks/clip_b16/text_tower/tokenizer.json      the vocabulary
    networks/clip_b16/text_tower/text_tower.json     what they are, and their SHA-256

The folder looks like a published one and is read like one (`clip_head`). A network is
opened without it; it is read only where texts are given.
"""

from collections.abc import Mapping
import dataclasses
import os
import pathlib

import numpy as np
from safetensors import numpy as safetensors_numpy

from jood import version
from jood import weights
from jood._utils import checked_json
from jood._utils import fingerprinting
from jood.models import clip_text
from jood.weights import clip_head
from jood.weights import clip_prompts
from jood.weights import clip_vocabulary
from jood.weights import reading
from jood.weights.checkpoint import TrainedNetwork
from jood.weights.clip_prompts import Prompts

FOLDER, JSON_NAME = "text_tower", "text_tower.json"
_FORMAT, _VERSION = "jood.TextTower", 1
_WEIGHTS, _VOCABULARY = "model.safetensors", "tokenizer.json"


def write(
    folder: pathlib.Path,
    name: str,
    tensors: Mapping[str, np.ndarray],
    vocabulary: str | os.PathLike[str],
) -> None:
    """Writes the text tower of a CLIP into the folder of its image tower.

    Args:
      folder: The folder of the network, which has no text tower yet.
      name: Name of the model, one of `clip_image.FAMILY`.
      tensors: The published tensors, by the names of any layout.
      vocabulary: The file or folder of its vocabulary; see `clip_vocabulary.read`.

    Raises:
      FileNotFoundError: There is no vocabulary.
      ValueError: The model is not a CLIP, or the tensors do not hold its text tower.
    """
    tower = clip_text.beside(name)
    variables = weights.from_torch_names(tensors, tower)
    named = weights.to_torch_names(tower, variables, "hugging_face")
    place = folder / FOLDER
    place.mkdir()
    safetensors_numpy.save_file(named, place / _WEIGHTS, {"format": "pt"})
    clip_vocabulary.write(place / _VOCABULARY, clip_vocabulary.read(vocabulary))
    content = {
        "model": name,
        "files": {
            file: fingerprinting.file_digest(place / file)
            for file in (_WEIGHTS, _VOCABULARY)
        },
        "jood": version.VERSION,
    }
    checked_json.write(place / JSON_NAME, _FORMAT, _VERSION, content)


def with_texts(
    folder: str | os.PathLike[str],
    network: TrainedNetwork,
    prompts: str | os.PathLike[str] | None = None,
    templates: str | os.PathLike[str] | None = None,
) -> TrainedNetwork:
    """Returns a CLIP whose head is made of other texts for the same classes.

    NegLabel's texts are of the words alone: they are kept if the words are the same,
    and left out if not.

    Args:
      folder: The folder of the network.
      network: The network that `checkpoint.open` returns for it.
      prompts: File of words; by default those that the network has.
      templates: File of templates; by default 'a photo of a {}' alone.

    Raises:
      FileNotFoundError: One of the files, or the text tower, is missing.
      ValueError: The network is not a CLIP with a text tower, one of its files is
        damaged, or the texts do not fit the classes; see `clip_prompts.read`.
    """
    if "words" not in network.source or network.class_names is None:
        raise ValueError(
            f"{folder} is a {network.name} whose head is not made of texts, so other "
            "prompts or templates cannot change it. They are for a CLIP that "
            "jood convert --prompts=FILE wrote."
        )
    path = _checked(pathlib.Path(folder) / FOLDER, network.name)
    if prompts is None:
        used: tuple[str, ...] = (clip_prompts.TEMPLATE,)
        if templates is not None:
            used = clip_prompts.read_templates(templates)
        words = tuple(network.source["words"])
        asked = Prompts(network.class_names, words, used)
    else:
        asked = clip_prompts.read(prompts, templates, network.class_names)
    new_head = clip_head.of_files(network.name, path, asked)(reading.read(path))
    head = {
        "kernel": new_head.tensors["head.weight"].T,
        "bias": new_head.tensors["head.bias"],
    }
    variables = dict(network.variables)
    variables["params"] = {**variables["params"], "head": head}
    if tuple(network.source["words"]) != asked.words:
        variables.pop(clip_head.NEGLABEL, None)
    source = {**network.source, **new_head.source}
    return dataclasses.replace(network, variables=variables, source=source)


def _checked(place: pathlib.Path, name: str) -> pathlib.Path:
    """The file of weights, if it and what lies beside it are as they were written."""
    if not (place / JSON_NAME).is_file():
        raise FileNotFoundError(
            f"there is no text tower at {place}, which has to embed the texts. "
            "Convert the published CLIP again, jood convert --prompts=FILE: older "
            "versions of jood did not keep it."
        )
    content = checked_json.read(place / JSON_NAME, _FORMAT, _VERSION)
    if content["model"] != name:
        raise ValueError(f"{place} is of a {content['model']}, the network a {name}.")
    for file, digest in content["files"].items():
        if (
            not (place / file).is_file()
            or fingerprinting.file_digest(place / file) != digest
        ):
            raise ValueError(
                f"{place / file} is missing or was changed after it was written: it "
                f"does not match the SHA-256 in {JSON_NAME}. Convert the CLIP again."
            )
    return place / _WEIGHTS
