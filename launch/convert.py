r"""Converts a trained network: PyTorch's weights to a folder of jood's, and back.

    jood convert --weights=resnet50-0676ba61.pth --model=resnet50 \
        --mean=.485,.456,.406 --std=.229,.224,.225 --resize=256 --crop=224 \
        --class_names=imagenet.txt --output=networks/resnet50
    jood convert --weights=networks/resnet50 --to_torch=net.safetensors
    jood convert --weights=clip-vit-base-patch16/model.safetensors \
        --model=clip_vit_b16 --prompts=classes.txt --templates=templates.txt \
        --output=networks/clip_b16

Class names and preprocessing travel with the network: jood evaluate takes the
folder as its --checkpoint. They are given by flags, or by --benchmark for a network
that was trained on its ID set; a flag that is given goes before the benchmark's value.

The head of a CLIP is made of the texts of the classes (--prompts), with the text tower
in the file, and travels with the image tower. The text tower stays in the folder, so
that jood evaluate can make the head of other prompts. docs/clip.md says more.
"""

from collections.abc import Callable
import dataclasses
import pathlib
import sys
from typing import Any

from absl import flags
import jax

from jood import cli
from jood import models
from jood._utils import atomic_files
from jood.core.preprocessing import Preprocessing
from jood.data import benchmarks
from jood.data.benchmarks import choose_preprocessing
from jood.models import clip_image
from jood.weights import checkpoint
from jood.weights import clip_head
from jood.weights import clip_prompts
from jood.weights import conversion
from jood.weights import reading
from jood.weights import text_tower

_WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    f"Weights to convert: a file ({', '.join(reading.SUFFIXES)}) or an Orbax "
    "checkpoint; for --to_torch the folder of a converted network or a training run.",
    required=True,
)
_OUTPUT = flags.DEFINE_string("output", None, "New folder for the network.")
_TO_TORCH = flags.DEFINE_string(
    "to_torch",
    None,
    "New .safetensors file for the network's tensors, PyTorch's names.",
)
_MODEL = cli.define_model(None, "The network.")
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes",
    None,
    "Classes; else what the file's classifier has. 0 for a backbone alone.",
    lower_bound=0,
)
_LAYOUT = flags.DEFINE_string(
    "layout",
    "auto",
    "Code base whose names the tensors have or get (torchvision, timm, openood, "
    "mmpretrain, ...); auto finds the one that fits, or writes as it was read.",
)
_ENTRY = flags.DEFINE_string(
    "entry",
    None,
    "Key of the tensors in a checkpoint of several networks, such as state_dict_ema.",
)
_BENCHMARK = cli.define_benchmark(
    help="Benchmark of the ID set that the network was trained on: its class names and "
    "preprocessing.",
)
_PREPROCESSING = flags.DEFINE_string(
    "preprocessing", None, "Name of one of the benchmark's; else its first."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file of class names, one per line, in the logits' order."
)
_MEAN = flags.DEFINE_list("mean", None, "Per channel, of pixels in [0, 1].")
_STD = flags.DEFINE_list("std", None, "Per channel, of pixels in [0, 1].")
_RESIZE = flags.DEFINE_list(
    "resize", None, "Pixels of an image's shorter side, or height,width."
)
_CROP = flags.DEFINE_integer(
    "crop", None, "Side of the centre crop in pixels, after --resize.", lower_bound=1
)
_INTERPOLATION = flags.DEFINE_string(
    "interpolation", None, "Interpolation of --resize."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "Side in pixels of what the network takes; needed without --crop and --benchmark.",
    lower_bound=8,
)
_PROMPTS = flags.DEFINE_string(
    "prompts",
    None,
    "Text file of the words of each class of a CLIP, one class per line in the logits' "
    "order, or NAME<TAB>WORDS in any order.",
)
_TEMPLATES = flags.DEFINE_string(
    "templates",
    None,
    "Text file of templates, one per line, with {} in the place of the words; several "
    f"are averaged. Without it the only one is '{clip_prompts.TEMPLATE}'.",
)
_NOUNS = flags.DEFINE_string(
    "nouns",
    None,
    "Text file of nouns, one per line; NegLabel's negative words are mined from them.",
)
_ADJECTIVES = flags.DEFINE_string(
    "adjectives", None, "Text file of adjectives, one per line, for the same."
)
_VOCABULARY = flags.DEFINE_string(
    "vocabulary",
    None,
    "The text tower's vocabulary (tokenizer.json, merges.txt or "
    "bpe_simple_vocab_16e6.txt.gz), or its folder; else beside --weights.",
)
_FOR_PROMPTS = (_TEMPLATES, _NOUNS, _ADJECTIVES, _VOCABULARY)
_DRY_RUN = cli.define_dry_run()


def main(argv: list[str]) -> None:
    """Reads the weights, maps their names and writes them."""
    del argv
    layout = None if _LAYOUT.value == "auto" else _LAYOUT.value
    output, to_torch = _OUTPUT.value, _TO_TORCH.value
    try:
        if output is not None and to_torch is None:
            atomic_files.check_new(output)
            network = _converted(layout)
            if _DRY_RUN.value:
                cli.would(
                    f"write {_WEIGHTS.value} as a {network.name} to {output}",
                    f"with {network.preprocessing}",
                )
                return
            checkpoint.save(output, network, _keep_text_tower)
            layout = network.source.get("layout", "jood")
        elif to_torch is not None and output is None:
            network = checkpoint.open(_WEIGHTS.value)
            if _DRY_RUN.value:
                cli.would(f"write the {network.name} to {to_torch}")
                return
            layout = conversion.export(network, to_torch, layout)
        else:
            raise ValueError(
                "say where the network shall go: either --output=FOLDER or "
                "--to_torch=FILE.safetensors."
            )
    except ImportError as error:  # PyTorch is an extra
        sys.exit(f"error: {error}")
    params = jax.tree.leaves(network.variables["params"])
    print(
        f"{_WEIGHTS.value}: {network.name}, names of {layout}, "
        f"{len(jax.tree.leaves(dict(network.variables)))} tensors, "
        f"{sum(array.size for array in params):,} parameters, "
        f"{getattr(network.model, 'num_classes', 0)} classes, images of "
        f"{network.image_size} px; written to {output or to_torch}"
    )
    names = network.class_names
    if names:
        print(f"class names: {', '.join(names[:3])}, ..., {names[-1]}")
    else:
        print(
            "class names: none; --class_names=FILE gives them, one class per line in "
            "the logits' order, and folders of images are matched with them"
        )
    if _PROMPTS.value and output:
        print(f"head: {clip_head.described(network)}")
    used = network.preprocessing
    origin = f"{_BENCHMARK.value}'s unless given" if _BENCHMARK.value else "as given"
    if isinstance(network.model, clip_image.ClipImage):
        origin = "CLIP's unless given"
    print(
        f"preprocessing ({origin}): mean {used.mean}, std {used.std}; images are "
        f"{used.sizing}"
    )


def _converted(layout: str | None) -> checkpoint.TrainedNetwork:
    if _MODEL.value is None:
        raise ValueError(
            f"--model must say what {_WEIGHTS.value} is: one of "
            f"{', '.join(models.names())}."
        )
    spec = benchmarks.describe(_BENCHMARK.value) if _BENCHMARK.value else None
    class_names = spec.class_names if spec else None
    if _CLASS_NAMES.value:
        path = pathlib.Path(_CLASS_NAMES.value)
        if not path.is_file():
            raise FileNotFoundError(f"--class_names: there is no file {path}.")
        class_names = tuple(path.read_text(encoding="utf-8").splitlines())
    make_head = None
    if _PROMPTS.value:
        prompts = clip_prompts.read(
            _PROMPTS.value, _TEMPLATES.value, class_names or None
        )
        class_names = prompts.class_names
        make_head = clip_head.of_files(
            _MODEL.value,
            _WEIGHTS.value,
            prompts,
            nouns=_NOUNS.value,
            adjectives=_ADJECTIVES.value,
            vocabulary=_VOCABULARY.value,
        )
    elif given := [f.name for f in _FOR_PROMPTS if f.value]:
        raise ValueError(
            f"--{', --'.join(given)} are for the texts of a CLIP's classes: give "
            "--prompts=FILE too."
        )
    preprocessing = _preprocessing(spec)
    image_size = _IMAGE_SIZE.value
    if image_size is None and spec and preprocessing.fixed_size is None:
        image_size = spec.image_size
    return conversion.convert(
        _WEIGHTS.value,
        _MODEL.value,
        preprocessing,
        class_names=class_names or None,
        image_size=image_size,
        num_classes=_NUM_CLASSES.value,
        layout=layout,
        entry=_ENTRY.value,
        make_head=make_head,
    )


def _keep_text_tower(folder: pathlib.Path) -> None:
    """Writes the text tower that made the head, if one did."""
    if _PROMPTS.value:
        tensors = reading.read(_WEIGHTS.value, _ENTRY.value)
        place = _VOCABULARY.value or pathlib.Path(_WEIGHTS.value).parent
        text_tower.write(folder, _MODEL.value, tensors, place)


def _preprocessing(spec: benchmarks.BenchmarkSpec | None) -> Preprocessing:
    resize = _numbers("resize", _RESIZE.value, int)
    given: dict[str, Any] = {
        "mean": _numbers("mean", _MEAN.value, float),
        "std": _numbers("std", _STD.value, float),
        "resize": resize[0] if resize and len(resize) == 1 else resize,
        "crop": _CROP.value,
        "interpolation": _INTERPOLATION.value,
    }
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("mean", "std"):
        if max(given.get(name, (0,))) > 1:
            raise ValueError(
                f"--{name} is of pixels in [0, 1], but {given[name]} looks like one of "
                "pixels in [0, 255]. Divide it by 255."
            )
    model = models.create(_MODEL.value, 1)
    if isinstance(model, clip_image.ClipImage) and not _PREPROCESSING.value:
        usual = clip_image.preprocessing(_IMAGE_SIZE.value or model.image_size)
        return dataclasses.replace(usual, **given)
    if spec:
        return dataclasses.replace(
            choose_preprocessing.choose(spec, _PREPROCESSING.value), **given
        )
    if not {"mean", "std"} <= given.keys():
        raise ValueError(
            "--mean and --std are needed: the values that the network was trained "
            "with (for torchvision's ImageNet networks .485,.456,.406 and "
            ".229,.224,.225), or the --benchmark that it was trained on."
        )
    return Preprocessing(**given)


def _numbers(
    flag: str, texts: list[str] | None, kind: Callable[[str], float]
) -> tuple[float, ...] | None:
    try:
        return None if texts is None else tuple(kind(text) for text in texts)
    except ValueError as error:
        raise ValueError(f"--{flag}={','.join(texts or ())}: {error}.") from None


if __name__ == "__main__":
    cli.run(main)
