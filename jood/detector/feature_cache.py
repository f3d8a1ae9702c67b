"""A data set's penultimate features on disk, so that the network runs once per image.

    ROOT/<key of the data set>/key.json         what the key was made of
    ROOT/<...>/batches.json                     how many batches, once that is known
    ROOT/<...>/<key of the run>/key.json        its stage edits; none for the plain run
    ROOT/<...>/<...>/000012.npz                 a batch: penultimate [B, D], and of the
                                                plain run mask [B] and labels [B];
                                                and which batch it is, of which key

A file appears whole or not at all and carries a checksum. So a fit may be killed at
any moment and resumes with the batches that are missing, a damaged batch is computed
again, and processes may fill one folder at the same time: they write the same values.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
import os
import pathlib
import tempfile
from typing import Any
import warnings

import jax
import numpy as np

from jood._utils import atomic_files
from jood.core.backbones import PreprocessedNetwork
from jood.core.backbones import edited_runs
from jood.core.backbones.edited_runs import EditPath
from jood.core.features import Features
from jood.core.features import Run
from jood.core.fitting import Restartable
from jood.detector import feature_cache_key

_LABEL = "label"  # beside the arrays of a batch: what `FeatureCache._label` says


class FeatureCache:
    """The features of some runs over one data set, in a folder; see above."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        data_key: Mapping[str, Any],
        run_keys: Mapping[Run, Mapping[str, Any]],
    ):
        """Opens or creates the store.

        Args:
          root: folder of any number of stores.
          data_key: names the data set and the network, JSON values.
          run_keys: Key of each run, the plain one () among them.

        Raises:
          OSError: the folder cannot be used.
        """
        self._folder = pathlib.Path(root).resolve() / feature_cache_key.digest(data_key)
        self._runs = {
            run: self._folder / feature_cache_key.digest(key)
            for run, key in run_keys.items()
        }
        self._damaged: set[int] = set()
        with self._explained():
            _write_key(self._folder, data_key)
            for run, key in run_keys.items():
                _write_key(self._runs[run], key)

    @property
    def count(self) -> int | None:
        """How many batches the data set has; None while no pass reached its end."""
        try:
            return int(json.loads((self._folder / "batches.json").read_text()))
        except (FileNotFoundError, ValueError):
            return None  # not known yet, or damaged: found out again

    def finish(self, count: int) -> None:
        """Notes how many batches the data set has.

        Raises:
          ValueError: there are more of them here.
        """
        known = self.count
        if known == count:
            return  # a complete cache may be read-only
        if known is not None or self.has_batch(count):
            raise ValueError(
                f"the source ends after {count} batches, but the feature cache has "
                f"{known or 'more'}. Does its fingerprint name the data, their order "
                "and the batch size?"
            )
        with (
            self._explained(),
            atomic_files.atomic_file(self._folder / "batches.json") as partial,
        ):
            partial.write_text(json.dumps(count))

    def has_batch(self, index: int) -> bool:
        """Whether batch `index` was written in all runs."""
        files = [_batch(folder, index) for folder in self._runs.values()]
        return index not in self._damaged and all(file.exists() for file in files)

    def read(self, index: int) -> Features | None:
        """Returns batch `index` as NumPy arrays; None if it is missing or damaged."""
        if not self.has_batch(index):
            return None
        runs = {}
        try:
            for run, folder in self._runs.items():
                with _batch(folder, index).open("rb") as file, np.load(file) as stored:
                    arrays = dict(stored)  # which checks every CRC-32
                label = json.loads(bytes(arrays.pop(_LABEL, b"null")))
                if label != self._label(run, index, arrays):
                    raise ValueError(
                        f"{_batch(folder, index)} is another batch's file, or lacks "
                        "an array"
                    )
                runs[run] = arrays["penultimate"]
                if run == ():
                    mask, labels = arrays["mask"], arrays.get("labels")
            if {len(features) for features in runs.values()} != {len(mask)}:
                raise ValueError("runs have different numbers of rows")
        except Exception as error:  # a damaged archive makes NumPy raise many kinds
            self._damaged.add(index)
            warnings.warn(
                f"batch {index} of the features cached in {self._folder} is damaged "
                f"and computed again ({error}).",
                stacklevel=2,
            )
            return None
        return Features(runs, mask, labels)

    def write(self, index: int, features: Features) -> None:
        """Writes what is missing of batch `index`.

        Raises:
          OSError: the folder cannot be written.
        """
        features = jax.device_get(features)
        for run, folder in self._runs.items():
            path = _batch(folder, index)
            if path.exists() and index not in self._damaged:
                continue
            arrays: dict[str, Any] = {"penultimate": features.runs[run]}
            if run == ():
                arrays["mask"] = features.mask
                if features.labels is not None:
                    arrays["labels"] = features.labels
            text = json.dumps(self._label(run, index, arrays))
            with self._explained(), atomic_files.atomic_file(path) as partial:
                arrays[_LABEL] = np.frombuffer(text.encode(), np.uint8)
                np.savez(partial, **arrays)
        self._damaged.discard(index)

    def _label(self, run: Run, index: int, arrays: Mapping[str, Any]) -> list[Any]:
        """What a file says of itself, so that a copied or swapped one is found out."""
        folder = self._runs[run]
        shapes = {name: [str(a.dtype), *a.shape] for name, a in sorted(arrays.items())}
        return [folder.parent.name, folder.name, index, shapes]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns an error of the file system into one that says what to do."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise OSError(
                f"cannot use the feature cache {self._folder}: {error}. Free disk "
                "space, make the folder writable or delete it, or name another."
            ) from error


def open_store(
    folder: str | os.PathLike[str],
    backbone: PreprocessedNetwork,
    variables: Mapping[str, Any],
    edits: Sequence[EditPath],
    source: Restartable,
) -> FeatureCache:
    """Opens the features of a source in a folder, of the plain and edited runs.

    Args:
      folder: root of any number of stores.
      backbone: the network with its preprocessing.
      variables: its parameters and statistics.
      edits: paths of stage edits, whose runs are kept as well.
      source: the batches, which must have a fingerprint.

    Raises:
      ValueError: the source has no fingerprint.
      OSError: the folder cannot be used.
    """
    first = source.first()
    data_key = feature_cache_key.of_data(
        backbone.model,
        variables,
        backbone.preprocessing,
        backbone.taps,
        source.fingerprint(),
        first,
        backbone.observe,
    )
    run_keys = {
        feature_cache_key.names(path): feature_cache_key.of_run(
            path, variables, first.image, backbone.observe
        )
        for path in edited_runs.prefixes(edits)
    }
    return FeatureCache(folder, data_key, run_keys)


@contextlib.contextmanager
def temporary(edits: Sequence[EditPath]) -> Iterator[FeatureCache]:
    """Yields a cache in the folder for temporary files, deleted at the end.

    It takes 4 D bytes per image and run (the plain one, and one per stage edit).
    """
    names = map(feature_cache_key.names, edited_runs.prefixes(edits))
    with tempfile.TemporaryDirectory(prefix="jood_fit_") as folder:
        yield FeatureCache(folder, {}, {run: {"edits": run} for run in names})


def _batch(folder: pathlib.Path, index: int) -> pathlib.Path:
    return folder / f"{index:06d}.npz"


def _write_key(folder: pathlib.Path, key: Mapping[str, Any]) -> None:
    """Writes key.json, or compares it with the one that is there."""
    path = folder / "key.json"
    if path.exists():
        if json.loads(path.read_text()) != json.loads(json.dumps(key)):
            raise ValueError(f"{path} is of another key than its folder's name says")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_files.atomic_file(path) as partial:
        partial.write_text(json.dumps(key, indent=2) + "\n")
