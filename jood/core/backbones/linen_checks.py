"""Whether model and variables are what jood can run, said in their owner's words.

Flax's own errors name scopes and collections; here they become what was given to
`jood.Detector` or `jood.observe`, and what to change.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
from typing import Any

from flax import errors as flax_errors

from jood.core.backbones import parts

_EVALUATION = "the defaults of evaluation mode, such as train=False, deterministic=True"


def check(model: Any, variables: Any) -> None:
    """Checks that a network can be run as `model.apply(variables, images)`.

    Args:
      model: Object that should be a Linen module.
      variables: Object that should hold its variables, by collection.

    Raises:
      TypeError: The model is not a Linen module but a class, an nnx module or another
        thing.
      ValueError: The variables have no collection 'params', or the model cannot be
        called with images alone.
    """
    check_model(model)
    _check_variables(variables)
    needed = parts.required_arguments(model)
    if needed:
        raise ValueError(
            f"{type(model).__name__} must be called with images alone, "
            "model.apply(variables, images), but its __call__ also requires "
            f"{', '.join(needed)}. Give such arguments {_EVALUATION}."
        )


def check_class_names(class_names: Any, classes: int | None, head: str | None) -> None:
    """Raises ValueError unless there is one name per class of the head, if any."""
    if class_names is None or classes is None:
        return
    if isinstance(class_names, str):
        raise ValueError(
            f"class_names must be a sequence of names, got the text {class_names!r}."
        )
    if len(class_names) != classes:
        raise ValueError(
            f"class_names must name each of the {classes} classes of the head "
            f"{head!r}, in the order of the logits, got {len(class_names)}: "
            f"{', '.join(map(str, class_names[:8]))}."
        )


@contextlib.contextmanager
def owners_terms(model: Any, variables: Mapping[str, Any]) -> Iterator[None]:
    """Turns Flax's errors about a call in evaluation mode into ones about the model."""
    name = type(model).__name__
    try:
        yield
    except flax_errors.ModifyScopeVariableError as error:
        raise ValueError(
            f"{name} changes its variables when it is called, as BatchNorm does in "
            "training mode; a detector needs evaluation mode. Build the model with "
            f"use_running_average=True or {_EVALUATION}. ({error})"
        ) from None
    except flax_errors.InvalidRngError as error:
        raise ValueError(
            f"{name} draws random numbers when it is called, as Dropout does in "
            "training mode; a detector needs evaluation mode. Build the model with "
            f"{_EVALUATION}. ({error})"
        ) from None
    except (
        flax_errors.ScopeCollectionNotFound,
        flax_errors.ScopeParamNotFoundError,
    ) as error:
        head = getattr(model, "lacks_head", "")
        if head and '"/head"' in str(error):
            raise ValueError(f"the classifier is missing: {head}.") from None
        raise ValueError(
            f"the variables lack what {name} reads. They hold "
            f"{', '.join(map(repr, variables))}; pass all collections that "
            "model.init returned, with the trained values: {'params': ..., "
            f"'batch_stats': ...}}. ({error})"
        ) from None


def check_model(model: Any) -> None:
    """Raises TypeError unless a model is a Linen module; see `check`."""
    if isinstance(model, type):
        raise TypeError(
            f"the model must be a module, got the class {model.__name__}. Pass an "
            f"instance of it: {model.__name__}(...)."
        )
    if any(kind.__module__.startswith("torch.nn") for kind in type(model).__mro__):
        raise TypeError(
            f"the {type(model).__name__} is a PyTorch module: say where its stages and "
            "its head are, jood.torch_backbone(module, stages={'C4': 'layer3'}, "
            "head='fc'), and pass that."
        )
    if not hasattr(model, "apply"):
        raise TypeError(
            "the model must be a Linen module, a flax.nnx module, a jood.Backbone or a "
            f"jood.torch_backbone, got {type(model).__name__}. Of another network "
            "write a JAX function, jood.Backbone(features, head=(kernel, bias)), or "
            "compute the features yourself: jood.fit(component, [jood.Activations.of("
            "penultimate, kernel, bias, stages={'C5': map})])."
        )


def _check_variables(variables: Any) -> None:
    if not isinstance(variables, Mapping):
        hint = " For a TrainState pass {'params': state.params}."
        raise TypeError(
            "variables must be a dict of collections, {'params': ...}, got "
            f"{type(variables).__name__}.{hint * hasattr(variables, 'params')}"
        )
    if "params" not in variables:
        bare = variables and all(isinstance(v, Mapping) for v in variables.values())
        raise ValueError(
            "variables must have the collection 'params', as model.init returns them, "
            f"got the keys {_listed(list(variables))}."
            + " These look like the parameters themselves: pass {'params': params}, "
            "and 'batch_stats' beside it if the network has BatchNorm." * bool(bare)
        )


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(map(str, names[:most])) + ", ..." * (len(names) > most) or "none"
