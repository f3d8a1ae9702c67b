"""Hearing the calls of some submodules of an nnx module.

Linen has method interceptors; nnx modules are plain objects, and `module(x)` looks up
`__call__` in the class. So a module that is listened to gets, for the time of a run, a
subclass of its class whose `__call__` reports the call. That is done to a copy
(`nnx.merge`) and never to the user's module; names, attributes and `isinstance` stay as
they are.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import contextvars
import functools
from typing import Any

# (call, its arguments and keyword arguments) -> the module's output.
Hook = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
_HOOKS: contextvars.ContextVar[Mapping[int, Hook]] = contextvars.ContextVar(
    "jood_nnx_hooks"
)


@contextlib.contextmanager
def heard(modules: Mapping[str, Any], hook: Callable[[str], Hook]) -> Iterator[None]:
    """Hands every call of some modules to a hook, in the block.

    Calls within `nnx.jit` or `nnx.remat`, which make modules anew, are not heard.

    Args:
      modules: the modules of a copy of a network, by path.
      hook: path -> what is done instead of a call of the module.
    """
    classes = [(module, type(module)) for module in modules.values()]
    hooks = {id(module): hook(path) for path, module in modules.items()}
    for module, kind in classes:
        # mypy does not see that a class is hashable (functools.cache wants that).
        object.__setattr__(module, "__class__", _telling(kind))  # type: ignore[arg-type]
    token = _HOOKS.set(hooks)
    try:
        yield
    finally:
        _HOOKS.reset(token)
        for module, kind in classes:
            object.__setattr__(module, "__class__", kind)


@functools.cache  # nnx registers every class for good: one for each of the user's
def _telling(kind: type) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        plain = functools.partial(kind.__call__, self)
        hook = _HOOKS.get({}).get(id(self))
        return plain(*args, **kwargs) if hook is None else hook(plain, args, kwargs)

    body = {"__call__": call, "__module__": kind.__module__, "__doc__": kind.__doc__}
    # nnx keeps this on every class of its modules; the type of any class lacks it.
    pytree = {"pytree": kind._pytree__is_pytree}  # type: ignore[attr-defined]
    return type(kind)(kind.__name__, (kind,), body, **pytree)
