"""A data set that TensorFlow Datasets prepared, read without TensorFlow.

    TfdsSource('data/tfds/cifar10/3.0.2', 'test')

Random access needs the file format array_record. Images are decoded by
`jood.data.sources.decoding`, as all others are, so OpenCV is not needed.
"""

from collections.abc import Iterator
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data.sources import decoding
from jood.data.sources import source_kind

_INDEX_BYTES = 1 << 20  # at the end of a record file: 64 KiB follow on the index


@dataclasses.dataclass(frozen=True, eq=False)
class TfdsSource:
    """One split of a prepared data set."""

    folder: str | os.PathLike[str]  # of one version: .../cifar10/3.0.2
    split: str  # as TFDS writes it: 'test', 'train[:10%]', 'train+test'
    _: dataclasses.KW_ONLY
    preprocessing: Preprocessing | None = None  # resizes and crops the images
    image: str = "image"  # name of the image's feature
    label: str | None = "label"  # name of the label's; None for an OOD set

    def __post_init__(self) -> None:
        """Opens the data set.

        Raises:
          FileNotFoundError: The folder or one of the split's files is missing.
          ValueError: It was prepared as another format, the split is empty, or there
            is no such split or feature.
        """
        folder = pathlib.Path(self.folder)
        if not (folder / "dataset_info.json").is_file():
            raise FileNotFoundError(
                f"{folder} is not a prepared TFDS data set: dataset_info.json is "
                "missing. Name the folder of a version, such as tfds/cifar10/3.0.2."
            )
        info = self._builder.info
        form = getattr(info.file_format, "value", info.file_format)
        if form != "array_record":
            raise ValueError(
                f"{folder} was prepared as {form}, which cannot be read at random. "
                "Prepare it again with --file_format=array_record."
            )
        kinds = {name: type(f).__name__ for name, f in info.features.items()}
        for name, kind in ((self.image, "Image"), (self.label, "ClassLabel")):
            if name is not None and kinds.get(name) != kind:
                raise ValueError(
                    f"{folder} has no feature {name!r} of kind {kind}, only {kinds}. "
                    "Name it: image=..., label=... (None for no labels)."
                )
        try:
            files = [i.filename for i in self._split.file_instructions]
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{folder} has no split {self.split!r} ({error}); it has "
                f"{', '.join(info.splits)}."
            ) from None
        if not self._split.num_examples:
            raise ValueError(f"split {self.split!r} of {folder} is empty.")
        if missing := [file for file in files if not os.path.isfile(file)]:
            raise FileNotFoundError(f"files of {folder} are missing: {missing}.")

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        record = self._records[int(index)]
        name = f"number {index} of {self.folder}, {self.split}"
        image = decoding.decode(record[self.image], name, self.preprocessing)
        example: dict[str, Any] = {"image": image}
        if self.label is not None:
            example["label"] = np.int32(record[self.label])
        return example

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the labels; None without labels."""
        if self.label is None:
            return None
        return tuple(self._builder.info.features[self.label].names)

    def fingerprint(self) -> str:
        """Returns a digest of the descriptions and of each file's size and last MiB.

        There is the index of its records, whose places change with an image's size.
        """
        digest = hashlib.sha256()
        for name in ("dataset_info.json", "features.json"):
            digest.update(pathlib.Path(self.folder, name).read_bytes())
        for name in sorted({i.filename for i in self._split.file_instructions}):
            size = os.path.getsize(name)
            digest.update(f"{os.path.basename(name)} {size}\n".encode())
            with open(name, "rb") as file:
                file.seek(max(size - _INDEX_BYTES, 0))
                digest.update(file.read())
        info = self._builder.info
        return (
            f"tfds {info.name} {info.version} {self.split}, {len(self)} examples, "
            f"{self.image} {self.label}, {digest.hexdigest()}, "
            f"{decoding.version(self.preprocessing)}"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Fields only: a worker process opens the files itself."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @functools.cached_property
    def _builder(self) -> Any:
        import tensorflow_datasets as tfds  # takes half a second

        return tfds.builder_from_directory(os.fspath(self.folder))

    @property
    def _split(self) -> Any:
        return self._builder.info.splits[self.split]

    @functools.cached_property
    def _records(self) -> Any:
        import tensorflow_datasets as tfds

        decoders = {self.image: tfds.decode.SkipDecoding()}
        return self._builder.as_data_source(self.split, decoders=decoders)


def _open(path: pathlib.Path, how: source_kind.Reading) -> TfdsSource:
    label = "label" if how.labelled else None
    return TfdsSource(path, how.split, preprocessing=how.preprocessing, label=label)


def _versions(root: pathlib.Path, path: str) -> Iterator[pathlib.Path]:
    """The folders of all finished versions, the newest first."""
    infos = (root / path).glob("*/dataset_info.json")
    folders = {tuple(info.parent.name.split(".")): info.parent for info in infos}
    # What TFDS has not finished has another name.
    numbers = [parts for parts in folders if all(map(str.isdigit, parts))]
    numbers.sort(key=lambda parts: [int(part) for part in parts], reverse=True)
    return (folders[parts] for parts in numbers)


KIND = source_kind.SourceKind("tfds", open=_open, candidates=_versions, versioned=True)
