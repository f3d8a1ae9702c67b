"""A detector on disk: a folder of `detector.json` and `arrays.safetensors`.

The JSON says everything in words (the component's text, the network, preprocessing,
class names, thresholds, versions); the arrays are the network's variables (of a
foreign network its fingerprint alone, see `foreign`), the fitted values and the
calibration scores. Both carry a SHA-256, so that a truncated
or edited file is refused, never half-read. A folder appears complete or not at all.
"""

from collections.abc import Mapping
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from jood import models
from jood import version
from jood._utils import atomic_files
from jood._utils import checked_json
from jood._utils import fingerprinting
from jood.core.component import Component
from jood.core.preprocessing import Preprocessing
from jood.detector import fitted_trees
from jood.detector import foreign
from jood.detector import saved_checks
from jood.detector import stored_calibration
from jood.detector.class_calibration import AnyCalibration
from jood.methods import detector_text
from jood.methods import factories
from jood.models import check

FORMAT, VERSION = "jood.Detector", 1
JSON_NAME, ARRAYS_NAME = "detector.json", "arrays.safetensors"


def save(
    path: str | os.PathLike[str],
    *,
    component: Component,
    model: Any,
    variables: Mapping[str, Any],
    preprocessing: Preprocessing | None,
    class_names: tuple[str, ...] | None,
    stages: Mapping[str, str] | None,
    head: str | None,
    fitted: tuple[Any, ...] | None,
    calibration: AnyCalibration | None,
    image_shape: tuple[int, ...] | None,
) -> None:
    """Writes the fields of a `Detector` into a new folder.

    Raises:
      FileExistsError: the path exists already; nothing is overwritten.
      ValueError: a fitted value is of a kind that cannot be stored.
    """
    path = pathlib.Path(path)
    atomic_files.check_new(path)
    flat = traverse_util.flatten_dict(foreign.kept(model, variables), sep="/")
    arrays = {f"variables/{k}": np.asarray(v) for k, v in flat.items()}
    structure = (
        None if fitted is None else fitted_trees.encode(fitted, "fitted", arrays)
    )
    if calibration is not None:
        arrays |= stored_calibration.arrays(calibration)
    bfloat16 = sorted(k for k, v in arrays.items() if v.dtype == jnp.bfloat16)
    for name in bfloat16:  # safetensors' NumPy reader knows no bfloat16
        arrays[name] = arrays[name].astype(np.float32)
    blob = safetensors_numpy.save(
        {k: np.asarray(v, order="C") for k, v in arrays.items()}
    )
    content: dict[str, Any] = {
        "spec": component.spec,
        "plugins": factories.plugins(component.spec),
        "model": models.describe(model),
        "model_class": type(model).__name__,
        "network": foreign.described(model, variables),
        "stages": stages and dict(stages),
        "head": head,
        "image_shape": image_shape,
        "preprocessing": preprocessing and dataclasses.asdict(preprocessing),
        "class_names": class_names,
        "fitted": structure,
        "calibration": calibration and stored_calibration.described(calibration),
        "arrays": {
            "file": ARRAYS_NAME,
            "sha256": _sha256(blob),
            "bfloat16": bfloat16,
            "fitted_dtypes": {
                k: str(v.dtype) for k, v in arrays.items() if k.startswith("fitted/")
            },
        },
        "written_by": {"jood": version.VERSION, "jax": jax.__version__},
    }
    with atomic_files.atomic_folder(path) as partial:
        (partial / ARRAYS_NAME).write_bytes(blob)
        checked_json.write(partial / JSON_NAME, FORMAT, VERSION, content)


def load(
    path: str | os.PathLike[str],
    model: Any = None,
    component: Component | None = None,
) -> dict[str, Any]:
    """Reads the fields of a `Detector` that `save` wrote.

    Args:
      path: the folder.
      model: the network, if it is not from `jood.models`; else it is built
        from the folder. An nnx module or a `jood.Backbone` comes with its weights.
      component: the method, if it is neither jood's own nor registered; else
        it is parsed from the folder.

    Raises:
      FileNotFoundError: the folder or one of its files is missing.
      ValueError: a file is truncated or edited, the format is of another version,
        or the arrays do not fit the model (all differences in one message).
    """
    saved_checks.check_given(model, component)
    path = pathlib.Path(path)
    if path.is_file():
        raise ValueError(
            f"{path} is a file. If Detector.export wrote it, it runs by itself (python "
            f"{path.name} IMAGE) and in jood.Scorer; here goes the folder that "
            "jood fit or Detector.save wrote."
        )
    for name in (JSON_NAME, ARRAYS_NAME):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"{path} is not a saved detector: {name} is missing. It needs "
                f"{JSON_NAME} and {ARRAYS_NAME}, which jood fit and Detector.save "
                "write."
            )
    content = checked_json.read(
        path / JSON_NAME,
        FORMAT,
        VERSION,
        what="detector",
        advice="Change the detector in Python and save it again.",
    )
    saved_checks.check_description(content, str(path / JSON_NAME))
    blob = (path / ARRAYS_NAME).read_bytes()
    if _sha256(blob) != content["arrays"]["sha256"]:
        raise ValueError(
            f"{path / ARRAYS_NAME} is truncated or was changed: its SHA-256 is "
            f"{_sha256(blob)[:12]}..., {JSON_NAME} says "
            f"{content['arrays']['sha256'][:12]}.... Save the detector again."
        )
    try:
        arrays = safetensors_numpy.load(blob)
    except safetensors.SafetensorError as error:
        raise ValueError(f"cannot read {path / ARRAYS_NAME}: {error}.") from None
    try:
        return _fields(content, arrays, path, model, component)
    except _MISREAD as error:
        raise ValueError(
            f"{path / JSON_NAME} does not describe a detector: {error!r}. Save it "
            "again with Detector.save or jood fit."
        ) from error


# What a description that another program wrote may lead to.
_MISREAD = (KeyError, TypeError, AttributeError, RecursionError, ArithmeticError)


def _fields(
    content: dict[str, Any],
    arrays: dict[str, np.ndarray],
    path: pathlib.Path,
    model: Any,
    component: Component | None,
) -> dict[str, Any]:
    """The fields of a `Detector`, from what its two files hold."""
    for name in content["arrays"]["bfloat16"]:
        arrays[name] = arrays[name].astype(jnp.bfloat16)
    saved_checks.check_arrays(content, arrays, str(path))
    _check_description(model, content["model"], path)
    if component is None:
        component = _parse(content, path)
    elif component.spec != content["spec"]:
        raise ValueError(
            f"{path} holds {content['spec']}, not the given {component.spec}."
        )
    stored = {
        k.removeprefix("variables/"): v
        for k, v in arrays.items()
        if k.startswith("variables/")
    }
    variables = traverse_util.unflatten_dict(stored, sep="/")
    if network := content.get("network"):
        name = content["model_class"]
        variables = foreign.restored(network, variables, model, name, str(path))
    else:
        model = _build(content, path) if model is None else model
    preprocessing = content["preprocessing"]
    shape = content["image_shape"]
    if shape is None and preprocessing:
        shape = (64, 64, len(preprocessing["mean"]))
    if (
        shape is not None and not network
    ):  # else nothing says which images the network takes
        check.check_variables(model, variables, shape, str(path))
    component = component or detector_text.parse(content["spec"])
    fitted = content["fitted"] and fitted_trees.decode(content["fitted"], arrays)
    passes = len(component.passes)
    if fitted is not None and len(fitted) != passes:
        raise ValueError(
            f"{path} does not describe a detector: {component.spec} learns in "
            f"{passes} pass(es), but there are {len(fitted)} fitted value(s)."
        )
    return {
        "component": component,
        "model": model,
        "variables": variables,
        "preprocessing": preprocessing and Preprocessing.of_json(preprocessing),
        "class_names": content["class_names"] and tuple(content["class_names"]),
        "stages": content["stages"],
        "head": content["head"],
        "fitted": fitted,
        "calibration": stored_calibration.read(content["calibration"], arrays),
        "image_shape": content["image_shape"] and tuple(content["image_shape"]),
    }


def _check_description(
    model: Any, stored: dict[str, Any] | None, path: pathlib.Path
) -> None:
    """Raises ValueError if a model of ours is given that is not the stored one."""
    if model is None or stored is None:
        return
    given = json.loads(json.dumps(models.describe(model) or {"family": "another"}))
    differ = [
        f"{key}: there {stored.get(key)!r}, given {given.get(key)!r}"
        for key in sorted(stored.keys() | given.keys())
        if stored.get(key) != given.get(key)
    ]
    if differ:
        raise ValueError(
            f"{path} was made for another architecture ({'; '.join(differ)})."
        )


def _parse(content: dict[str, Any], path: pathlib.Path) -> Component:
    spec = content["spec"]
    if lacking := detector_text.not_known(spec):
        modules = content.get("plugins") or {}
        names = [
            f"{name} of module {modules[name]}" if name in modules else name
            for name in lacking
        ]
        raise ValueError(
            f"{path} was made with {', '.join(names)}, which is not a method here. "
            "Import the module that registers it (jood.register) first; a job does "
            "with --plugins=MODULE or --plugins=FILE.py. Or pass the method: "
            f"Detector.load(path, component=...), whose text must be {spec}."
        )
    return detector_text.parse(spec)


def _build(content: dict[str, Any], path: pathlib.Path) -> Any:
    if content["model"] is None:
        raise ValueError(
            f"{path} was made with a {content['model_class']}, a model that is not of "
            "jood.models: pass it, Detector.load(path, model=...)."
        )
    return models.build(content["model"])


def _sha256(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def identity(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of an exported detector, or of a saved one's JSON.

    The JSON seals the arrays of a saved detector.
    """
    file = pathlib.Path(path)
    if file.is_dir():
        file /= JSON_NAME
    if not file.is_file():
        raise FileNotFoundError(f"there is no detector {path}.")
    return fingerprinting.file_digest(file)
