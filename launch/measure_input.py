"""Measures the input pipeline: decode, resize, crop, normalise; jood, torch's loader.

    pip install torch torchvision    # to compare; without torch that row is left out
    JOOD_DATA_DIR=... jood measure_input

JPEG files, some of them several times, become normalised float32 batches of 224
pixels: in jood's pipeline with threads and with worker processes (both normalise on
the device, which is part of the time), and in a torch DataLoader with as many
processes and torchvision's transforms on Pillow images. The runs take turns in one
process, so that what slows one slows all. Each starts and ends its own workers;
'whole' counts that, 'running' begins with the first batch.
"""

from collections.abc import Callable, Iterator
import os
import time
from typing import Any
import warnings

from absl import flags
import jax
import numpy as np
from PIL import Image

from jood import cli
from jood._utils import measuring
from jood._utils import turns
from jood.core import preprocessing
from jood.data import pipeline
from jood.data import prefetch
from jood.data.sources import image_folder
from jood.data.sources import subset

_FOLDER = flags.DEFINE_string(
    "folder",
    None,
    "Folder of image files, at any depth; by default $JOOD_DATA_DIR/images.",
)
_IMAGES = flags.DEFINE_integer("images", 2000, "Images per run.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 64, "Images per batch.", lower_bound=1)
_WORKERS = flags.DEFINE_integer("workers", 2, "Worker processes.", lower_bound=1)
_RUNS = flags.DEFINE_integer("runs", 5, "Runs of each, in turn.", lower_bound=1)
_OUTPUT = cli.define_output(required=False, help=measuring.OUTPUT)

_PREPROCESSING = preprocessing.Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=256, crop=224
)


def main(argv: list[str]) -> None:
    """Times the pipelines in turn."""
    del argv
    data_dir = os.environ.get("JOOD_DATA_DIR")
    if _FOLDER.value is None and data_dir is None:
        raise ValueError("name a folder of images with --folder.")
    folder = _FOLDER.value or os.path.join(str(data_dir), "images")
    files = image_folder.ImageFolder(
        folder, labelled=False, preprocessing=_PREPROCESSING
    )
    chosen = np.arange(_IMAGES.value) % len(files)
    contenders = _contenders(files, chosen, folder)
    medians = {
        name: np.median(runs, axis=0)
        for name, runs in turns.measured(contenders, _RUNS.value, _speeds).items()
    }
    rows = []
    for name, (whole, running) in medians.items():
        row = {"pipeline": name, "whole": float(whole), "running": float(running)}
        if "torch" in medians:
            of_torch = medians["torch"]
            row["whole x torch"] = float(whole / of_torch[0])
            row["running x torch"] = float(running / of_torch[1])
        rows.append(row)
    what = (
        f"images/s, {len(chosen)} images of {len(files)} files to 224 px, batches of "
        f"{_BATCH.value}, median of {_RUNS.value} runs"
    )
    measuring.report(what, rows, _OUTPUT.value)


def _speeds(batches: Callable[[], Iterator[Any]]) -> tuple[float, float]:
    """Images per second of one run: all of it, and after the first batch."""
    start = time.perf_counter()
    count, first, began = 0, 0, start
    for batch in batches():
        count += len(batch)
        if not first:
            first, began = count, time.perf_counter()
    end = time.perf_counter()
    return count / (end - start), (count - first) / max(end - began, 1e-9)


def _contenders(
    files: image_folder.ImageFolder, chosen: np.ndarray, folder: str
) -> dict[str, Callable[[], Iterator[Any]]]:
    """Functions that yield normalised batches, by name."""
    source = subset.Subset(files, chosen)
    normalise = jax.jit(_PREPROCESSING)
    jax.block_until_ready(normalise(np.zeros((_BATCH.value, 224, 224, 3), np.uint8)))

    def jood(workers: int) -> Iterator[jax.Array]:
        batches = pipeline.EvaluationBatches(source, _BATCH.value, workers=workers)
        left = len(source)
        for images in prefetch.prefetched(batches, lambda b: normalise(b.image)):
            yield images.block_until_ready()[:left]  # without the padding
            left -= len(images)

    contenders: dict[str, Callable[[], Iterator[Any]]] = {
        "jood, threads": lambda: jood(0),
        f"jood, {_WORKERS.value} workers": lambda: jood(_WORKERS.value),
    }
    try:
        import torch
        from torch.utils import data
    except ImportError:
        print("torch is not installed: pip install torch to compare with it")
        return contenders
    transform = _torch_transform(torch)

    class Files(data.Dataset):
        """The same files for torch's DataLoader."""

        def __len__(self) -> int:
            return len(chosen)

        def __getitem__(self, index: int) -> Any:
            with Image.open(os.path.join(folder, files.paths[chosen[index]])) as file:
                return transform(file.convert("RGB"))

    def loaded() -> Iterator[Any]:
        with warnings.catch_warnings():  # its workers are forked, beside JAX's threads
            warnings.filterwarnings("ignore", message=".*fork")
            iterator = iter(
                data.DataLoader(Files(), _BATCH.value, num_workers=_WORKERS.value)
            )
        yield from iterator

    return {**contenders, "torch": loaded}


def _torch_transform(torch: Any) -> Callable[[Image.Image], Any]:
    """Transforms of torchvision; the same by hand where torchvision does not import."""
    try:
        from torchvision import transforms
    except (ImportError, RuntimeError):  # a wheel for another build of torch
        print("torchvision does not import: torch gets Pillow's arrays by hand")
        mean = torch.tensor(_PREPROCESSING.mean)[:, None, None]
        std = torch.tensor(_PREPROCESSING.std)[:, None, None]

        def by_hand(image: Image.Image) -> Any:
            pixels = np.array(_PREPROCESSING.fit_pil(image))
            tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
            return tensor.div(255).sub_(mean).div_(std)

        return by_hand
    return transforms.Compose(
        [
            transforms.Resize(_PREPROCESSING.resize),
            transforms.CenterCrop(_PREPROCESSING.crop),
            transforms.ToTensor(),
            transforms.Normalize(_PREPROCESSING.mean, _PREPROCESSING.std),
        ]
    )


if __name__ == "__main__":
    cli.run(main)
