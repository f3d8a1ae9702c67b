"""A detector as one file that runs where jood is not: `Detector.export`.

The file is a zip archive: one file, not a folder, so that it is copied, uploaded and
versioned as a whole and is never half there.

    detector.json       method, classes, input, preprocessing, thresholds, versions
    program.stablehlo   network and method, of `jax.export`, for any batch size
    weights/*.npy       the network's variables and what was fitted
    calibration/*.npy   sorted scores of held-out ID images, for p-values
    load.py             the loader, jood/detector/export_loader.py, and beside it
    *.py                the modules of jood that it imports
    __main__.py         so that `python FILE image.jpg` runs it

Decoding, resizing and cropping are Pillow's work: the program takes uint8 images of
the network's size and normalises them, and the loader does what comes before. Weights
are arguments of the program, not constants in it, which XLA would fold as it compiles.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import os
import pathlib
import re
import types
from typing import Any
import zipfile

import jax
from jax import export as jax_export
import numpy as np

from jood import version
from jood._utils import atomic_files
from jood._utils import batch_sizes
from jood._utils import compilation_cache
from jood._utils import compiling
from jood.core.backbones import PreprocessedNetwork
from jood.core.preprocessing import Preprocessing
from jood.detector import answers
from jood.detector import export_archive
from jood.detector import export_loader
from jood.detector import program as program_lib
from jood.detector import stored_calibration
from jood.detector.class_calibration import AnyCalibration

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_MAIN = "import sys\n\nimport load\n\nload.main(*sys.argv)\n"
# What the loader imports of jood lies beside it in the file.
_LOADERS_PARTS = (answers, batch_sizes, compilation_cache, export_archive)
_IMPORT_OF_JOOD = re.compile(r"^from jood[\w.]* import (\w+)$", re.MULTILINE)
_TOLERANCE = 1e-5  # relative; compiled for another shape, sums may be rounded otherwise

# (variables, fitted, images) -> (`Output`, whether all is well, and if not why), as
# `Detector` compiles it; the scores of a bundle are a dict.
Program = Callable[[Any, Any, jax.Array], Any]


def export(
    path: str | os.PathLike[str],
    program: Program,
    values: tuple[Any, Any],
    *,
    spec: str,
    backbone: PreprocessedNetwork,
    class_names: tuple[str, ...] | None,
    calibration: AnyCalibration | None,
    image_shape: Sequence[int] | None,
) -> None:
    """Writes a detector as one file, and reads it again to check its scores.

    Args:
      path: a new file, usually '.zip'.
      program: scores a batch of images.
      values: the network's variables and the fitted values.
      spec: the component's text.
      backbone: the network; with a preprocessing, images are uint8, else float32.
      class_names: one per class, if known.
      calibration: thresholds, and scores for p-values.
      image_shape: (H, W, C) of an image as the network takes it; a preprocessing
        that makes all images of one size says it better.

    Raises:
      FileExistsError: the path exists already.
      ValueError: the shape of images is not known; or the method cannot be exported,
        since it calls back to Python or needs to know the batch size.
      RuntimeError: the written file does not score as the detector does.
    """
    path = pathlib.Path(path)
    atomic_files.check_new(path)
    preprocessing = backbone.preprocessing
    if why := backbone.kind.bound:
        raise ValueError(
            f"{spec} cannot be exported with a network of kind {backbone.kind.name}, "
            f"which {why}. Convert the network (launch/convert.py), or save the "
            "detector and load it beside the network."
        )
    images = _two_images(preprocessing, image_shape)
    leaves, structure = jax.tree.flatten(values)
    arrays = [np.asarray(leaf) for leaf in jax.device_get(jax.device_put(leaves))]
    weights = {f"weights/{i}.npy": _storable(a) for i, a in enumerate(arrays)}
    run = _of_stored(program, structure, [array.dtype for array in arrays])
    program_bytes = _exported(run, list(weights.values()), images, spec)
    scores = jax.eval_shape(program, *values, images)[0][0]
    outputs, calibrated = _outputs(scores, calibration)
    large = compiling.holds_large(values[1])  # which `Detector` compiles as usual
    content = {
        "format": export_archive.FORMAT,
        "version": export_archive.VERSION,
        "summary": {
            "spec": spec,
            "class_names": class_names,
            "images": f"{images.dtype} [B, {', '.join(map(str, images.shape[1:]))}]",
            "tpr": calibration and calibration.tpr,
            "thresholds": calibration and stored_calibration.thresholds(calibration),
            "platforms": PLATFORMS,
            "written_by": {"jood": version.VERSION, "jax": jax.__version__},
        },
        "image_shape": images.shape[1:],
        "preprocessing": preprocessing and dataclasses.asdict(preprocessing),
        "outputs": outputs,
        "weights": list(weights),
        "compiler_options": {} if large else {"cpu": compiling.CPU},
    }
    members = {
        export_archive.JSON_NAME: (json.dumps(content, indent=2) + "\n").encode(),
        export_archive.LOADER_NAME: _standalone(export_loader),
        **{
            f"{m.__name__.rpartition('.')[2]}.py": _standalone(m)
            for m in _LOADERS_PARTS
        },
        export_archive.MAIN_NAME: _MAIN.encode(),
        export_archive.PROGRAM_NAME: program_bytes,
    }
    with atomic_files.atomic_file(path) as partial:
        _write(partial, members, {**weights, **calibrated})
        _check(partial, images, jax.jit(program)(*values, images)[0][0])


def _two_images(
    preprocessing: Preprocessing | None, image_shape: Sequence[int] | None
) -> np.ndarray:
    """Two images of noise as the network takes them."""
    shape = image_shape
    if preprocessing is not None and preprocessing.fixed_size is not None:
        shape = (*preprocessing.fixed_size, len(preprocessing.mean))
    if shape is None:
        raise ValueError(
            "an exported program is for images of one size, which nothing says here: "
            "export(path, image_shape=(H, W, C)), or fit or calibrate the detector."
        )
    if len(shape) != 3:
        raise ValueError(f"image_shape must be (H, W, C), got {tuple(shape)}.")
    rng = np.random.default_rng(0)
    if preprocessing is None:
        return rng.normal(size=(2, *shape)).astype(np.float32)
    return rng.integers(0, 256, (2, *shape), dtype=np.uint8)


def _of_stored(
    program: Program, structure: Any, dtypes: Sequence[np.dtype]
) -> Callable[..., Any]:
    """The program as the file holds it: (stored arrays, images) -> scores, classes.

    What `Detector` refuses with an error gets the score NaN.
    """

    def run(weights: Sequence[jax.Array], images: jax.Array) -> Any:
        arrays = [_restored(w, t) for w, t in zip(weights, dtypes, strict=True)]
        variables, fitted = jax.tree.unflatten(structure, arrays)
        output, _, (report, _) = program(variables, fitted, images)
        scores = program_lib.unless_refused(output.scores, report, images)
        return jax.tree.leaves(scores), output.prediction

    return run


def _storable(array: np.ndarray) -> np.ndarray:
    """The array, or its bits if NumPy does not know the type (bfloat16)."""
    if array.dtype.kind != "V":
        return array
    return array.view(f"uint{8 * array.dtype.itemsize}")


def _restored(array: jax.Array, dtype: np.dtype) -> jax.Array:
    if array.dtype == dtype:
        return array
    return jax.lax.bitcast_convert_type(array, dtype)


def _exported(
    run: Callable[..., Any],
    weights: Sequence[np.ndarray],
    images: np.ndarray,
    spec: str,
) -> bytes:
    (batch,) = jax_export.symbolic_shape("B")
    arguments = (
        [jax.ShapeDtypeStruct(w.shape, w.dtype) for w in weights],
        jax.ShapeDtypeStruct((batch, *images.shape[1:]), images.dtype),
    )
    try:
        export = jax_export.export(jax.jit(run), platforms=PLATFORMS)
        return bytes(export(*arguments).serialize())
    except Exception as error:  # of many kinds, by what a method does
        raise ValueError(
            f"{spec} cannot be exported: {type(error).__name__}: {error} "
            "Method and network must be programs of JAX alone, without calls back to "
            "Python (as knn(bank=...) has), and work for any batch size: of images "
            "write x.shape[0] where you wrote len(x)."
        ) from error


def _outputs(
    scores: Any, calibration: AnyCalibration | None
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What the loader has to know of each score, and the arrays that this names."""
    outputs, arrays = [], {}
    known = {} if calibration is None else stored_calibration.arrays(calibration)
    for i, name in enumerate(sorted(scores) if isinstance(scores, dict) else [None]):
        output: dict[str, Any] = {
            "suffix": f"_{name}" if name else "",
            "threshold": None,
        }
        if calibration is not None:
            key = name or next(iter(calibration.scores))
            output["threshold"] = stored_calibration.thresholds(calibration)[key]
            output["calibration"] = f"calibration/{i}.npy"
            output["images"] = stored_calibration.counts(calibration)
            arrays[f"calibration/{i}.npy"] = known[f"calibration/{key}"]
        outputs.append(output)
    return outputs, arrays


def _standalone(module: types.ModuleType) -> bytes:
    """The text of a module, which imports its neighbours without jood."""
    text = pathlib.Path(str(module.__file__)).read_text()
    return _IMPORT_OF_JOOD.sub(r"import \1", text).encode()


def _write(
    path: pathlib.Path, members: Mapping[str, bytes], arrays: Mapping[str, np.ndarray]
) -> None:
    with zipfile.ZipFile(path, "x") as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            file.writestr(info, content, zipfile.ZIP_DEFLATED)
        for name, array in arrays.items():  # stored as they are: weights do not shrink
            info = zipfile.ZipInfo(name)
            with file.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _check(path: pathlib.Path, images: np.ndarray, expected: Any) -> None:
    """Raises RuntimeError unless the file gives the images the expected scores."""
    _, score = export_loader.load(os.fspath(path))
    columns = score(images)
    scores = [v for name, v in columns.items() if name.startswith("score")]
    for ours, theirs in zip(scores, jax.tree.leaves(expected), strict=True):
        if not np.allclose(ours, theirs, rtol=_TOLERANCE, atol=0, equal_nan=True):
            raise RuntimeError(
                f"the exported program gives noise the scores {ours}, the detector "
                f"{np.asarray(theirs)}. This is an error of jood or JAX "
                f"{jax.__version__}; nothing was written."
            )
