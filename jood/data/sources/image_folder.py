"""Image files below a folder: one folder per class, all together, or from a list.

    ImageFolder('imagenet/val')                         # labels: sorted folder names
    ImageFolder('textures', labelled=False)             # an OOD set, at any depth
    ImageFolder('images_largescale', file_list='benchmark_imglist/test_imagenet.txt')

The files are listed when the source is made and decoded when an example is read.
"""

from collections.abc import Sequence
import dataclasses
import functools
import itertools
import os
import pathlib
from typing import Any

import numpy as np

from jood.core.preprocessing import Preprocessing
from jood.data.sources import file_lists
from jood.data.sources import files
from jood.data.sources import folder_hints
from jood.data.sources import source_kind
from jood.data.sources.source_kind import NamedImages


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFolder:
    """Images in files, in the order of their paths or of a list."""

    folder: str | os.PathLike[str]  # the root of `file_lists.images`
    _: dataclasses.KW_ONLY
    file_list: str | os.PathLike[str] | None = None  # see `file_lists.entries`
    preprocessing: Preprocessing | None = None  # resizes and crops the images
    # Whether examples have the label of their folder or list; None: if there is one.
    labelled: bool | None = None
    # Those below the root to read, in the order of their labels; None for all, sorted.
    folders: Sequence[str] | None = None
    # One per label. Without `folders` and a list: the folders' names in the order of
    # their labels; other folders are refused, one may be missing.
    class_names: Sequence[str] | None = None
    paths: Sequence[str] = dataclasses.field(init=False, repr=False)
    labels: np.ndarray | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lists the files.

        Raises:
          FileNotFoundError: The folder, the list or files of the list are missing.
          ValueError: There is no image, or the arguments contradict what is there.
        """
        root = pathlib.Path(self.folder)
        if self.file_list is not None and self.folders is not None:
            raise ValueError("give folders or file_list, not both.")
        names, labels = self.class_names, None
        if self.file_list is not None:
            paths, labels = file_lists.listed(root, pathlib.Path(self.file_list))
        elif self.folders is not None:
            lists = [file_lists.images(root, name) for name in self.folders]
            paths = list(itertools.chain.from_iterable(lists))
            labels = np.repeat(np.arange(len(lists)), list(map(len, lists)))
            names = names or self.folders
        else:
            paths = file_lists.images(root)
            if self.labelled is not False and _in_folders(root, paths):
                names = names or _class_folders(root, paths)
                labels = _folder_labels(root, paths, names)
        if self.labelled and labels is None:
            raise ValueError(
                f"labelled=True, but the images of {root} have no labels: they are "
                "neither in folders, one per class, nor in a list of 'path label'."
            )
        object.__setattr__(self, "paths", paths)
        if self.labelled is False or labels is None:
            names, labels = None, None
        else:
            labels = labels.astype(np.int32)
            self._check_names(names, labels)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "class_names", names and tuple(names))

    def _check_names(self, names: Sequence[str] | None, labels: np.ndarray) -> None:
        if names is None:
            return
        if self.folders is not None and len(names) != len(self.folders):
            raise ValueError(
                f"there must be one class name per folder, got {len(names)} names for "
                f"{len(self.folders)} folders."
            )
        if labels.max() >= len(names):
            raise ValueError(
                f"labels must be below the number of class names, {len(names)}, got "
                f"{labels.max()} for {self.paths[int(labels.argmax())]}."
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        return self._files[index]

    def whole_paths(self) -> list[str]:
        """Returns the paths of the files, with that of the folder."""
        return [os.path.join(self.folder, path) for path in self.paths]

    def fingerprint(self) -> str:
        """Returns a digest of names, labels, sizes and times of change of the files."""
        return self._files.fingerprint()

    @functools.cached_property
    def _files(self) -> files.Files:
        return files.Files(self.paths, self.preprocessing, self.folder, self.labels)


def _in_folders(root: pathlib.Path, paths: Sequence[str]) -> bool:
    """Whether the images lie in folders; raises ValueError if only some of them do."""
    loose = [path for path in paths if "/" not in path]
    if loose and len(loose) < len(paths):
        raise ValueError(
            f"{root} has images in folders and {len(loose)} beside them "
            f"({file_lists.some(loose)}). Move those if the folders are classes, else "
            "pass labelled=False, folders=[...] or a file_list."
        )
    return not loose


def _class_folders(root: pathlib.Path, paths: Sequence[str]) -> list[str]:
    """The sorted names of the class folders; raises ValueError if one is empty."""
    present = {path.split("/")[0] for path in paths}
    with os.scandir(root) as entries:
        present_names = {e.name for e in entries if e.is_dir() and e.name[0] != "."}
    if empty := sorted(present_names - present):  # later classes' labels would move
        raise ValueError(
            f"class folders without images in {root}: {file_lists.some(empty)}. Delete "
            "them, or pass class_names."
        )
    return sorted(present)


def _folder_labels(
    root: pathlib.Path, paths: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    index = {name: label for label, name in enumerate(names)}
    folders = [path.split("/")[0] for path in paths]
    if unknown := sorted(set(folders) - index.keys()):
        raise ValueError(
            f"folders of {root} that are not in class_names: "
            f"{file_lists.some(unknown)}. class_names are {file_lists.some(names)}."
            f"{folder_hints.hint(root, paths, unknown, names)}"
        )
    return np.array([index[folder] for folder in folders])


def _open(path: pathlib.Path, how: source_kind.Reading) -> ImageFolder:
    return ImageFolder(
        path,
        preprocessing=how.preprocessing,
        labelled=how.labelled,
        folders=how.folders,
        class_names=how.class_names if how.labelled and how.folders is None else None,
    )


def _inputs(path: pathlib.Path, preprocessing: Preprocessing) -> NamedImages:
    names = [str(path / name) for name in file_lists.candidates(path)]
    return files.named(names, preprocessing)


def _open_listed(path: pathlib.Path, how: source_kind.Reading) -> ImageFolder:
    """OpenOOD's sets: the list, and the folder of images that `split` names."""
    root = path.parents[2]  # of benchmark_imglist/<set>/<list>
    return ImageFolder(
        root / how.split,
        file_list=path,
        preprocessing=how.preprocessing,
        labelled=how.labelled,
        class_names=how.class_names if how.labelled else None,
    )


LISTED = source_kind.SourceKind(
    "image_list", open=_open_listed, is_there=pathlib.Path.is_file
)
KIND = source_kind.SourceKind(
    "folder",
    open=_open,
    is_there=lambda path: path.is_dir() and any(path.iterdir()),
    takes=pathlib.Path.is_dir,
    inputs=_inputs,
    title="a folder of images",
)
