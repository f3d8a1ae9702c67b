"""Whether model and variables are what jood can run, said in their owner's words.

Flax's own errors name scopes and collections; here they become what was given to
`jood.Detector` or `jood.observe`, and what to change.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import inspect
from typing import Any

from flax import errors as flax_errors

_EVALUATION = "the defaults of evaluation mode, such as train=False, deterministic=True"


def check(model: Any, variables: Any) -> None:
    """Checks that a network can be run as `model.apply(variables, images)`.

    Args:
      model: What should be a Linen module.
      variables: What should be its variables, by collection.

    Raises:
      TypeError: The model is no Linen module but a class, an nnx module or another
        thing.
      ValueError: The variables have no collection 'params', or the model cannot be
        called with images alone.
    """
    _check_model(model)
    _check_variables(variables)
    needed = _required_arguments(model)
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
        raise ValueError(
            f"the variables lack what {name} reads. They hold "
            f"{', '.join(map(repr, variables))}; pass all collections that "
            "model.init returned, with the trained values: {'params': ..., "
            f"'batch_stats': ...}}. ({error})"
        ) from None


def _check_model(model: Any) -> None:
    if isinstance(model, type):
        raise TypeError(
            f"the model must be a Linen module, got the class {model.__name__}. Pass "
            f"an instance of it: {model.__name__}(...)."
        )
    origins = [kind.__module__.split(".") for kind in type(model).__mro__]
    features = (
        "compute the features yourself: jood.fit(component, [jood.Activations.of("
        "penultimate, kernel, bias, stages={'C5': map})])"
    )
    if any(origin[:2] == ["flax", "nnx"] for origin in origins):
        raise TypeError(
            f"{type(model).__name__} is a flax.nnx module, but a Detector runs Linen "
            f"modules (flax.linen.Module). Write it as a Linen module, or {features}."
        )
    if not hasattr(model, "apply"):
        raise TypeError(
            "the model must be a Linen module (flax.linen.Module), got "
            f"{type(model).__name__}. Of another network {features}."
        )


def _check_variables(variables: Any) -> None:
    if not isinstance(variables, Mapping):
        hint = " Of a TrainState pass {'params': state.params}."
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


def _required_arguments(model: Any) -> list[str]:
    """Names of what `__call__` needs beside the images."""
    try:
        signature = inspect.signature(type(model).__call__)
    except (TypeError, ValueError, AttributeError):
        return []
    others = list(signature.parameters.values())[2:]  # after self and the images
    passing = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in others if p.default is p.empty and p.kind not in passing]
