"""A trained network in a folder, with everything that must travel with its weights.

A folder that `save` wrote holds `network.json` beside the arrays, written by Orbax.
`open` reads it, and the folder of a training run.
"""

from collections.abc import Callable, Mapping
import dataclasses
import os
import pathlib
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from jood import models
from jood import version
from jood._utils import atomic_files
from jood._utils import checked_json
from jood._utils import fingerprinting
from jood._utils import processes
from jood.core.preprocessing import Preprocessing
from jood.models import check
from jood.weights import matching
from jood.weights import run_checkpoint

FORMAT, VERSION = "jood.Network", 1
JSON_NAME, ARRAYS_NAME = "network.json", "variables"
_ORBAX_NAMES = ("_METADATA", "_CHECKPOINT_METADATA")  # of any Orbax checkpoint


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that is ready to be used.

    Attributes:
      model: A model of `jood.models`.
      variables: {'params': ..., 'batch_stats': ...} and what the objective that trained
        the network added, such as 'ood_head'; arrays on the host.
      name: Name of the model in `models.names()`.
      class_names: One per class; None if they are unknown.
      preprocessing: The one that the network was trained with.
      image_size: Side of the square images that it takes, in pixels.
      source: Origin of the weights, as JSON values: a file with its SHA-256 and
        layout, or the configuration of a training run.
    """

    model: nn.Module
    variables: Mapping[str, Any] = dataclasses.field(repr=False)
    name: str
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing
    image_size: int
    source: Mapping[str, Any]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The images that it takes, (H, W, C)."""
        return self.image_size, self.image_size, len(self.preprocessing.mean)

    def __post_init__(self) -> None:
        classes = getattr(self.model, "num_classes", None)
        if self.class_names is not None and len(self.class_names) != classes:
            raise ValueError(
                f"there are {len(self.class_names)} class names for a network of "
                f"{classes} classes; give one per class, in the order of the logits."
            )
        size = (self.image_size, self.image_size)
        if self.preprocessing.fixed_size not in (None, size):
            raise ValueError(
                f"the preprocessing makes images of {self.preprocessing.fixed_size} "
                f"pixels (height, width), the network takes {size}."
            )


def save(
    folder: str | os.PathLike[str],
    trained: TrainedNetwork,
    beside: Callable[[pathlib.Path], None] | None = None,
) -> None:
    """Writes a network into a new folder, which appears complete or not at all.

    Args:
      folder: The new folder.
      trained: The network.
      beside: Writes more into the folder that it is given, such as a text tower.

    Raises:
      FileExistsError: The folder exists already; nothing is overwritten.
      ValueError: The model is not of `jood.models`, or the variables do not fit it.
    """
    description = models.describe(trained.model)
    if description is None:
        raise ValueError(
            f"a {type(trained.model).__name__} is not of jood.models, so a folder "
            "cannot say how to build it again. Save a jood.Detector of it instead."
        )
    atomic_files.check_new(folder)
    variables = jax.device_get(dict(trained.variables))
    check.check_variables(
        trained.model, variables, trained.image_shape, "what is to be saved"
    )
    with atomic_files.atomic_folder(folder) as partial:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(partial / ARRAYS_NAME, variables)
        content = {
            "model": description,
            "name": trained.name,
            "class_names": trained.class_names,
            "preprocessing": dataclasses.asdict(trained.preprocessing),
            "image_size": trained.image_size,
            "source": dict(trained.source),
            "arrays_sha256": _sha256(variables),
            "written_by": {"jood": version.VERSION, "jax": jax.__version__},
        }
        checked_json.write(partial / JSON_NAME, FORMAT, VERSION, content)
        if beside is not None:
            beside(partial)


def open(folder: str | os.PathLike[str], which: str = "last") -> TrainedNetwork:
    """Reads a network that `save` wrote, or that launch/train.py trained.

    Args:
      folder: The folder of a network, or of a run.
      which: The 'last' checkpoint of a run, or the 'best' on its validation.

    Raises:
      FileNotFoundError: There is no such folder, or it holds no network.
      ValueError: A file is truncated or was changed, or the arrays do not fit the
        model; all differences are in one message.
    """
    path = pathlib.Path(folder).resolve()
    if (path / JSON_NAME).is_file():
        return _open_saved(path)
    if (path / run_checkpoint.CONFIG).is_file():
        return _open_run(path, which)
    if _is_orbax(path):
        raise ValueError(
            f"{path} holds arrays alone; which network they are of must be said once: "
            f"jood convert --weights={path} --model=... --output=..."
        )
    raise _no_network(path)


def load_variables(folder: str | os.PathLike[str], model: nn.Module) -> dict[str, Any]:
    """Returns the variables in a folder, for a model that is given.

    Args:
      folder: A folder that `open` takes, or one for `read_arrays`.
      model: The model whose shapes the variables must have.

    Raises:
      FileNotFoundError: There is no such folder, or it holds no network.
      ValueError: An array is missing, unexpected or of another shape.
    """
    path = pathlib.Path(folder).resolve()
    kinds = (JSON_NAME, run_checkpoint.CONFIG)
    if any((path / name).is_file() for name in kinds):
        network = open(path)
        variables, shape = dict(network.variables), network.image_shape
    else:
        variables = read_arrays(path)
        shape = check.shape_of_images(model, variables, matching.image_size(model))
    check.check_variables(model, variables, shape, str(path))
    return variables


def read_arrays(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns 'params' and 'batch_stats' of a bare Orbax checkpoint, as float32.

    Raises:
      FileNotFoundError: The folder is not an Orbax checkpoint.
      ValueError: It holds no 'params', or is damaged.
    """
    path = pathlib.Path(folder).resolve()
    if not _is_orbax(path):
        raise _no_network(path)
    content = _restore(path)
    if not isinstance(content, Mapping) or "params" not in content:
        raise ValueError(
            f"{path} holds no 'params'; expected a dict of 'params' and 'batch_stats', "
            "as model.init returns it."
        )
    kept = {k: content[k] for k in ("params", "batch_stats") if content.get(k)}
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), kept)


def _open_saved(path: pathlib.Path) -> TrainedNetwork:
    content = checked_json.read(path / JSON_NAME, FORMAT, VERSION)
    model = models.build(content["model"])
    variables = _restore(path / ARRAYS_NAME)
    name, classes, source = (content[k] for k in ("name", "class_names", "source"))
    classes, size = classes and tuple(classes), content["image_size"]
    preprocessing = Preprocessing.of_json(content["preprocessing"])
    network = TrainedNetwork(
        model, variables, name, classes, preprocessing, size, source
    )
    check.check_variables(model, variables, network.image_shape, str(path))
    if _sha256(variables) != content["arrays_sha256"]:
        raise ValueError(
            f"{path / ARRAYS_NAME} was changed after it was written: its values do not "
            f"match the SHA-256 in {JSON_NAME}. Convert the weights again."
        )
    return network


def _open_run(path: pathlib.Path, which: str) -> TrainedNetwork:
    run = run_checkpoint.read_config(path)
    name, size, classes = run["model"], run["image_size"], tuple(run["class_names"])
    fields = run.get("architecture")  # of a model that is not simply what it is called
    model = models.build(fields) if fields else None
    model = model or models.create(name, len(classes), dtype=run["dtype"])
    preprocessing = Preprocessing.of_json(run["preprocessing"])
    shape = (size, size, len(preprocessing.mean))
    variables = run_checkpoint.load_variables(path, model, shape, which)
    return TrainedNetwork(model, variables, name, classes, preprocessing, size, run)


def _restore(path: pathlib.Path) -> Any:
    """Reads an Orbax checkpoint onto the host, whatever it was sharded over."""
    if not _is_orbax(path):
        raise ValueError(
            f"{path} is missing or no Orbax checkpoint. Convert or copy it again."
        )
    alone = processes.alone()
    try:
        with ocp.StandardCheckpointer(multiprocessing_options=alone) as checkpointer:
            tree = checkpointer.metadata(path).item_metadata.tree
            target = run_checkpoint.on_one_device(tree)
            return jax.device_get(checkpointer.restore(path, target))
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise ValueError(
            f"{path} is truncated or damaged ({run_checkpoint.summary(error)}). "
            "Convert or copy it again."
        ) from error


def _is_orbax(path: pathlib.Path) -> bool:
    return any((path / name).is_file() for name in _ORBAX_NAMES)


def _no_network(path: pathlib.Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"there is no checkpoint folder {path}: expected {JSON_NAME} (of "
        f"jood convert), {run_checkpoint.CONFIG} (--workdir of jood train) "
        "or an Orbax checkpoint in it."
    )


def _sha256(variables: Mapping[str, Any]) -> str:
    flat = traverse_util.flatten_dict(dict(variables), sep="/")
    return fingerprinting.array_digest(**flat)
