"""Fetches sets: with TensorFlow Datasets, or from an archive whose digest is known.

Everything else must be fetched by hand; `SetSpec.how` says how.
"""

import hashlib
import importlib.util
import pathlib
import shutil
import tarfile
import urllib.request
import zipfile

from jood._utils import atomic_files
from jood._utils import progress
from jood.data.benchmarks.set_spec import Archive

DOWNLOADS = "downloads"  # below the data root; may be deleted when a set is there
_TIMEOUT = 60  # seconds without an answer


def prepare_tfds(name: str, root: pathlib.Path) -> None:
    """Downloads and prepares a TFDS data set as array_record below root/tfds.

    Raises:
      ValueError: TensorFlow is not installed.
      OSError: TFDS failed.
    """
    if not _has_tensorflow():
        raise ValueError(
            f"preparing {name} needs TensorFlow, reading it does not: "
            "pip install 'jood[prepare]'."
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=root / "tfds", file_format="array_record")
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, disk, checksums: TFDS has many kinds
        raise OSError(
            f"TFDS could not prepare {name}: {type(error).__name__}: {error}. It needs "
            "the network and what pip install 'jood[prepare]' brings; or copy a "
            f"prepared {name} to {root / 'tfds' / name}."
        ) from error


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def fetch(archive: Archive, root: pathlib.Path) -> pathlib.Path:
    """Downloads an archive, checks it, and unpacks it below the data root.

    Uses the file in root/downloads if it is there; returns the folder of its content.

    Raises:
      OSError: It cannot be downloaded.
      ValueError: It has another digest than it should, or cannot be unpacked.
    """
    path = root / DOWNLOADS / archive.name
    if not path.is_file():
        _download(archive, path)
    algorithm, _, expected = archive.digest.partition(":")
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, algorithm).hexdigest()
    if checksum != expected:
        raise ValueError(
            f"{path} has {algorithm} {checksum}, expected {expected}: the download was "
            "cut off, or the file has changed at its source. Delete it to try again."
        )
    folder = root / archive.into
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                tar.extractall(folder, filter="data")  # refuses paths outside of it
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                file.extractall(folder)
        else:
            shutil.copyfile(path, folder / path.name)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(f"cannot unpack {path} into {folder}: {error}.") from error
    return folder


def _download(archive: Archive, path: pathlib.Path) -> None:
    try:
        with (
            atomic_files.atomic_file(path) as partial,
            urllib.request.urlopen(archive.url, timeout=_TIMEOUT) as source,
            partial.open("wb") as target,
            progress.bar(archive.name, archive.size or None, unit="B") as shown,
        ):
            while block := source.read(1 << 20):
                target.write(block)
                shown.update(len(block))
    except OSError as error:
        raise OSError(
            f"cannot download {archive.url}: {error}. Without a network, get it "
            f"elsewhere and put it at {path}."
        ) from error
