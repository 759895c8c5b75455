"""Types and annotations become kind expressions, the words of the table.

Takes a type, an annotation or a schema's return type; gives a string such as 'tensor', 'tuple:2',
'tuple(tensor,number)' or 'none|tensor'. It refuses to guess: what it does not know is 'unknown'.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any

import torch

UNKNOWN = "unknown"
OBJECT = "object"

_EXACT: dict[Any, str] = {
    None: "none",
    type(None): "none",
    bool: "bool",
    torch.dtype: "dtype",
    torch.device: "device",
    torch.Size: "size",
    torch.Generator: "generator",
}
# first hit wins: bool is an int and Parameter is a Tensor
_BASES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "bool"),
    ((int, float, complex), "number"),
    (torch.nn.Parameter, "parameter"),
    (torch.Tensor, "tensor"),
    (torch.nn.Module, "module"),
)
_SEQUENCES = (list, Sequence, collections.abc.Iterable, collections.abc.MutableSequence)
_UNIONS = (typing.Union, types.UnionType)

# names that stubs use; whatever else an annotation mentions is looked up in the stub's torch
STUB_NAMES: dict[str, Any] = {
    **{name: getattr(typing, name) for name in ("Any", "Callable", "List", "Tuple", "Optional")},
    **{name: getattr(typing, name) for name in ("Union", "Sequence", "Literal", "NamedTuple")},
    "Tensor": torch.Tensor,
    "TensorBase": torch.Tensor,
    "Parameter": torch.nn.Parameter,
    "Number": int | float | bool,
    "Size": torch.Size,
    "Self": torch.Tensor,
    "torch": torch,
    "_int": int,
    "_float": float,
    "_bool": bool,
    "_complex": complex,
    "_dtype": torch.dtype,
    "_device": torch.device,
    "_size": torch.Size,
    "_layout": torch.layout,
    "Generator": torch.Generator,
    "Module": torch.nn.Module,
}


def read_annotation(text: str, names: dict[str, Any]) -> str:
    """The kind of an annotation's source text; 'unknown' if a name in it cannot be found."""
    try:
        return kind_of_type(eval(text, {**names}))
    except Exception:
        return UNKNOWN


def kind_of_type(wanted: Any) -> str:
    try:
        if wanted in _EXACT:
            return _EXACT[wanted]
    except TypeError:
        return UNKNOWN
    # a decorator-like function returns what it was given
    if isinstance(wanted, typing.TypeVar):
        return UNKNOWN if wanted.__bound__ is None else kind_of_type(wanted.__bound__)
    origin = typing.get_origin(wanted)
    if origin in _UNIONS:
        return unite(kind_of_type(arg) for arg in typing.get_args(wanted))
    if origin is tuple:
        return _kind_of_tuple(typing.get_args(wanted))
    if origin in _SEQUENCES:
        return _kind_of_sequence(origin, typing.get_args(wanted))
    if origin is collections.abc.Callable or wanted is collections.abc.Callable:
        return "callable"
    if isinstance(origin, type):
        return OBJECT
    return _kind_of_class(wanted) if isinstance(wanted, type) else UNKNOWN


def _kind_of_class(wanted: type) -> str:
    for base, kind in _BASES:
        if issubclass(wanted, base):
            return kind
    fields = getattr(wanted, "n_sequence_fields", None)
    if fields is not None and wanted.__module__ == "torch.return_types":
        return f"tuple:{fields}"
    if issubclass(wanted, tuple) and hasattr(wanted, "_fields"):
        try:
            hints = typing.get_type_hints(wanted)
        except Exception:
            return UNKNOWN
        return tuple_of([kind_of_type(hints.get(name, Any)) for name in wanted._fields])
    # a bare container or `object` may hold anything
    return UNKNOWN if wanted in (object, tuple, list) else OBJECT


def _kind_of_tuple(args: tuple[Any, ...]) -> str:
    if len(args) == 2 and args[1] is Ellipsis:
        inner = kind_of_type(args[0])
        return {"tensor": "tuple", UNKNOWN: UNKNOWN}.get(inner, OBJECT)
    return tuple_of([kind_of_type(arg) for arg in args])


def _kind_of_sequence(origin: Any, args: tuple[Any, ...]) -> str:
    inner = kind_of_type(args[0]) if args else UNKNOWN
    if inner == "tensor":
        return "list" if origin is list else UNKNOWN
    return UNKNOWN if UNKNOWN in inner or "tensor" in inner else OBJECT


def tuple_of(items: Sequence[str]) -> str:
    if set(items) == {"tensor"}:
        return f"tuple:{len(items)}"
    if any("tensor" in item or item == UNKNOWN for item in items):
        return f"tuple({','.join(_flatten(item) for item in items)})"
    return OBJECT


def _flatten(kind: str) -> str:
    """A tuple inside a tuple or a union is not described further."""
    return "tuple" if "(" in kind else kind


def unite(kinds: Iterable[str]) -> str:
    """One expression for several possible kinds: 'none|tensor', or the one they share."""
    found = {part for kind in kinds for part in _flatten(kind).split("|")}
    if UNKNOWN in found:
        return UNKNOWN
    # torch's Number is a union of int, float and bool
    if found == {"number", "bool"}:
        return "number"
    return "|".join(sorted(found)) if found else UNKNOWN


def is_plain(kind: str) -> bool:
    """Whether the expression is one kind for certain."""
    return kind != UNKNOWN and "|" not in kind
