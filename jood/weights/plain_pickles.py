"""Reads a pickle of plain tensors with an interpreter that can call nothing.

A pickle is a program for a stack machine which may import and call anything. This one
knows the few instructions that dicts of PyTorch's tensors need. It builds dicts,
lists, tuples, numbers, texts and records of tensors; whatever else a pickle asks for
raises `NotPlainError` before anything happens.
"""

from collections.abc import Callable
import pickletools
from typing import IO, Any, NamedTuple


class NotPlainError(ValueError):
    """A file holds more than plain tensors, is damaged, or is something else."""


class Storage(NamedTuple):
    """Numbers that tensors share.

    Attributes:
      kind: PyTorch's name of their type, such as 'torch FloatStorage'.
      key: Key under which the file holds them.
      size: Number of them.
    """

    kind: str
    key: str
    size: int


class StoredTensor(NamedTuple):
    """A view of a storage; offset and strides count its numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name(NamedTuple):
    """A function or class that a pickle names, as 'module name'."""

    name: str


_MARK = object()  # where the items of a collection begin on the stack


def read(file: IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Reads one pickle, of protocol 2 or 3.

    Args:
      file: It is read up to the end of the pickle.
      storages: Gets the storages that the pickle names, by key.

    Returns:
      The pickled object, with a `StoredTensor` for each tensor.

    Raises:
      NotPlainError: It asks for something else.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    storages = {} if storages is None else storages
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name == "STOP":
            break
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            stack.append(argument)
        elif name in _SHORT_TUPLES:
            stack.append(tuple(_popped(stack, _SHORT_TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_Name(str(argument)))
        elif name == "BINPERSID":
            storage = _storage(*_expect(tuple, stack.pop()))
            storages[storage.key] = storage
            stack.append(storage)
        elif name in _COLLECT:
            _COLLECT[name](stack)
        elif name != "PROTO":
            raise NotPlainError(f"it has the instruction {name}.")
    (content,) = stack
    return content


def _popped(stack: list[Any], count: int) -> list[Any]:
    items = stack[len(stack) - count :]
    if len(items) < count:
        raise NotPlainError("its stack is too short.")
    del stack[len(stack) - count :]
    return items


def _above_mark(stack: list[Any]) -> list[Any]:
    """Pops what lies above the last mark, and the mark."""
    place = max(i for i, item in enumerate(stack) if item is _MARK)
    return _popped(stack, len(stack) - place)[1:]


def _expect(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise NotPlainError(f"it has a {type(value).__name__} for a {kind.__name__}.")
    return value


def _set_items(stack: list[Any], items: list[Any]) -> None:
    target = _expect(dict, stack[-1])
    target.update(zip(items[::2], items[1::2], strict=True))


def _extend(stack: list[Any], items: list[Any]) -> None:
    _expect(list, stack[-1]).extend(items)


def _build(stack: list[Any]) -> None:
    """Takes the attributes of a dict off the stack, which are versions of layers."""
    _, target = stack.pop(), stack[-1]
    _expect(dict, target)


def _reduce(stack: list[Any]) -> None:
    """Does what a call of one of a few functions would."""
    function, arguments = _popped(stack, 2)
    name = _expect(_Name, function).name
    if name not in _CALLS:
        raise NotPlainError(f"it calls {name}.")
    stack.append(_CALLS[name](*_expect(tuple, arguments)))


def _storage(
    tag: str, kind: _Name, key: str, place: str, size: int, *_: Any
) -> Storage:
    del place  # the device that it was on
    if tag != "storage":
        raise NotPlainError(f"it has a {tag}.")
    return Storage(_expect(_Name, kind).name, _expect(str, key), _expect(int, size))


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> StoredTensor:
    return StoredTensor(
        _expect(Storage, storage),
        _expect(int, offset),
        tuple(_expect(int, side) for side in _expect(tuple, shape)),
        tuple(_expect(int, step) for step in _expect(tuple, strides)),
    )


_CALLS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": dict,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_COLLECT: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE": lambda stack: stack.append(tuple(_above_mark(stack))),
    "SETITEM": lambda stack: _set_items(stack, _popped(stack, 2)),
    "SETITEMS": lambda stack: _set_items(stack, _above_mark(stack)),
    "APPEND": lambda stack: _extend(stack, _popped(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _above_mark(stack)),
    "BUILD": _build,
    "REDUCE": _reduce,
}
