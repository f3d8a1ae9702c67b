"""A data set's penultimate features on disk, so that the network runs once an image.

The store is a folder of Zarr (version 3) arrays, written with TensorStore:

    ROOT/<key of the data set>/key.json     what the key was made of (feature_key.py)
    ROOT/<...>/batches                      int32 []: how many, once that is known
    ROOT/<...>/<key of the run>/key.json    which stage edits; none: the plain run
    ROOT/<...>/<...>/penultimate            float32 [batch, row, D]
    ROOT/<...>/<...>/rows                   int32 [batch]: written last, so it is done
    ROOT/<...>/<plain run>/mask, labels     float32, int32 [batch, row]

Arrays are as long as a data set could be; what was not written takes no space. A
batch is a chunk of its own (a larger one than the first, several), which appears
whole or not at all and carries a checksum. So a run may be killed at any moment and
goes on with the batches that are missing, a damaged chunk is computed again, and
processes may fill one folder at the same time: they write the same values.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
import os
import pathlib
import platform
import tempfile
from typing import Any
import uuid
import warnings

import jax
import numpy as np
import tensorstore as ts

from jood.core.backbones import Backbone
from jood.core.backbones.edited_runs import EditPath
from jood.core.features import Features
from jood.core.features import Run
from jood.core.fitting import Restartable
from jood.detector import feature_cache_key

_MAX_BATCHES, _MAX_ROWS = 2**26, 2**20  # times a width up to 2^17: an int64


class FeatureCache:
    """The features of some runs over one data set, in a folder; see above."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        data_key: Mapping[str, Any],
        run_keys: Mapping[Run, Mapping[str, Any]],
        *,
        durable: bool = True,
    ):
        """Opens or creates the store.

        Args:
          root: folder of any number of stores.
          data_key: names the data set and the network, JSON values.
          run_keys: of each run, the plain one () among them.
          durable: whether writes are flushed to the disk, to outlast a power cut.

        Raises:
          OSError: the folder cannot be used.
        """
        self._context = ts.Context({"file_io_sync": durable})
        self._folder = pathlib.Path(root).resolve() / feature_cache_key.digest(data_key)
        self._runs = {
            run: self._folder / feature_cache_key.digest(key)
            for run, key in run_keys.items()
        }
        self._damaged: set[int] = set()
        self._open: dict[pathlib.Path, ts.TensorStore] = {}
        with self._explained():
            _write_key(self._folder, data_key)
            for run, key in run_keys.items():
                _write_key(self._runs[run], key)

    @property
    def count(self) -> int | None:
        """How many batches the data set has; None while no sweep reached its end."""
        with self._explained():
            array = self._array(self._folder / "batches")
            try:
                return None if array is None else int(array.read().result())
            except ValueError:
                return None  # created, but not yet written

    def finish(self, count: int) -> None:
        """Notes how many batches the data set has.

        Raises:
          ValueError: there are more of them here.
        """
        known = self.count
        if known == count:
            return  # a complete cache may be read-only
        if known is not None or self.done(count):
            raise ValueError(
                f"the source ends after {count} batches, but the feature cache has "
                f"{known or 'more'}. Does its fingerprint name the data, their order "
                "and the batch size?"
            )
        with self._explained():
            array = self._create(self._folder / "batches", [], [], "int32")
            array.write(np.int32(count)).result()

    def done(self, index: int) -> bool:
        """Whether batch `index` was written in all runs."""
        if index in self._damaged:
            return False
        with self._explained():
            return all(self._rows(run, index) for run in self._runs)

    def read(self, index: int) -> Features | None:
        """Returns batch `index` as NumPy arrays; None if it is missing or damaged."""
        if not self.done(index):
            return None
        try:
            rows = {self._rows(run, index) for run in self._runs}
            (size,) = rows  # another number of rows is damage, too
            futures = {
                path: self._must(path)[index, :size].read()
                for path in self._paths()
                if path.name != "labels" or self._array(path) is not None
            }
            arrays = {path: np.asarray(f.result()) for path, f in futures.items()}
        except ValueError as error:
            self._damaged.add(index)
            warnings.warn(
                f"batch {index} of the features cached in {self._folder} is damaged "
                f"and computed again ({_short(error)}).",
                stacklevel=2,
            )
            return None
        plain = self._runs[()]
        return Features(
            {run: arrays[path / "penultimate"] for run, path in self._runs.items()},
            arrays[plain / "mask"],
            arrays.get(plain / "labels"),
        )

    def write(self, index: int, features: Features) -> None:
        """Writes what is missing of batch `index`; the marks that it is done last."""
        features = jax.device_get(features)
        values = {p / "penultimate": features.runs[r] for r, p in self._runs.items()}
        values[self._runs[()] / "mask"] = features.mask
        if features.labels is not None:
            values[self._runs[()] / "labels"] = features.labels
        size = len(features.mask)
        with self._explained():
            missing = [
                path
                for run, path in self._runs.items()
                if index in self._damaged or not self._rows(run, index)
            ]
            futures = [
                self._write(path, index, value)
                for path, value in values.items()
                if path.parent in missing
            ]
            for future in futures:
                future.result()
            for path in missing:
                array = self._create(path / "rows", [_MAX_BATCHES], [1], "int32")
                array[index].write(np.int32(size)).result()
        self._damaged.discard(index)

    def _paths(self) -> list[pathlib.Path]:
        plain = self._runs[()]
        features = [path / "penultimate" for path in self._runs.values()]
        return [*features, plain / "mask", plain / "labels"]

    def _rows(self, run: Run, index: int) -> int:
        """The number of rows of a batch; 0 if it is not there."""
        array = self._array(self._runs[run] / "rows")
        try:
            return 0 if array is None else int(array[index].read().result())
        except ValueError:
            return 0  # not there, or damaged: then it is written again

    def _write(self, path: pathlib.Path, index: int, value: np.ndarray) -> Any:
        width = list(value.shape[1:])
        shape = [_MAX_BATCHES, _MAX_ROWS, *width]
        chunk = [1, len(value), *width]
        array = self._create(path, shape, chunk, value.dtype.name)
        # Whole chunks are written, so that none has to be read before, damaged or not.
        missing = -len(value) % array.chunk_layout.write_chunk.shape[1]
        value = np.pad(value, [(0, missing)] + [(0, 0)] * len(width))
        return array[index, : len(value)].write(value)

    def _array(self, path: pathlib.Path) -> Any:
        """Opens an array; None if it does not exist yet."""
        if path not in self._open:
            if not (path / "zarr.json").exists():
                return None
            self._open[path] = ts.open(
                _driver(path), open=True, context=self._context
            ).result()
        return self._open[path]

    def _must(self, path: pathlib.Path) -> Any:
        array = self._array(path)
        if array is None:
            raise ValueError(f"{path} is missing")
        return array

    def _create(
        self, path: pathlib.Path, shape: list[int], chunk: list[int], dtype: str
    ) -> Any:
        """Opens an array, or creates it; its chunks are those of who was first."""
        if self._array(path) is None:
            metadata = {
                "data_type": dtype,
                "shape": shape,
                "chunk_grid": {
                    "name": "regular",
                    "configuration": {"chunk_shape": chunk},
                },
                "codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "crc32c"},
                ],
            }
            spec = {**_driver(path), "metadata": metadata}
            # Another process may have been faster, its first batch of another size.
            with contextlib.suppress(ValueError):
                ts.open(spec, create=True, context=self._context).result()
        if self._array(path) is None:
            ts.open(spec, create=True, context=self._context).result()  # says why not
        return self._must(path)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns an error of the store into one that says what to do."""
        try:
            yield
        except (OSError, ValueError) as error:
            raise OSError(
                f"cannot use the feature cache {self._folder}: {_short(error)}. Free "
                "disk space, make the folder writable or delete it, or name another."
            ) from error


def open_store(
    folder: str | os.PathLike[str],
    backbone: Backbone,
    variables: Mapping[str, Any],
    edits: Sequence[EditPath],
    source: Restartable,
) -> FeatureCache:
    """Opens the features of a source in a folder, of the plain and edited runs.

    Args:
      folder: root of any number of stores.
      backbone: the network with its preprocessing.
      variables: its parameters and statistics.
      edits: paths of stage edits, of which the runs are kept as well.
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
        for path in feature_cache_key.runs(edits)
    }
    return FeatureCache(folder, data_key, run_keys)


@contextlib.contextmanager
def temporary(edits: Sequence[EditPath]) -> Iterator[FeatureCache]:
    """Yields a cache in the folder for temporary files, deleted at the end."""
    run_keys = {
        run: {"edits": run}
        for run in map(feature_cache_key.names, feature_cache_key.runs(edits))
    }
    with tempfile.TemporaryDirectory(prefix="jood_fit_") as folder:
        yield FeatureCache(folder, {}, run_keys, durable=False)


def _driver(path: pathlib.Path) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "fill_missing_data_reads": False,  # a lost chunk is an error, not zeros
        "store_data_equal_to_fill_value": True,  # and zeros are no lost chunk
    }


def _write_key(folder: pathlib.Path, key: Mapping[str, Any]) -> None:
    """Writes key.json, or compares it with the one that is there."""
    path = folder / "key.json"
    if path.exists():
        found = json.loads(path.read_text())
        found.pop("written_by", None)
        if found != json.loads(json.dumps(key)):
            raise ValueError(f"{path} is of another key than its folder's name says")
        return
    folder.mkdir(parents=True, exist_ok=True)
    written_by = {
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "host": platform.node(),
    }
    partial = folder / f".key.{uuid.uuid4().hex}"
    partial.write_text(json.dumps({**key, "written_by": written_by}, indent=2) + "\n")
    partial.replace(path)


def _short(error: Exception) -> str:
    return str(error).split(" [tensorstore_spec")[0]
