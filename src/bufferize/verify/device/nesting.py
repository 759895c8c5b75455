"""Tensors inside nested values.

In: any value. Out: the same nesting with each tensor replaced, or the tensors with their paths.
Refuses to know what is done with the tensors.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

Replace = Callable[[torch.Tensor], torch.Tensor]


def map_tensors(replace: Replace, value: object, device: torch.device) -> object:
    """`value` with its tensors replaced; one tensor met twice is replaced once.

    Objects of other types that know how to move themselves are asked to, the rest stay as they are.
    """
    return _Mapper(replace, device).visit(value)


class _Mapper:
    def __init__(self, replace: Replace, device: torch.device) -> None:
        self._replace = replace
        self._device = device
        # id -> (original, replacement): the original is kept so that its id is not used again
        self._seen: dict[int, tuple[object, object]] = {}

    def visit(self, value: object) -> object:
        if value is None or isinstance(value, (str, bytes, int, float, complex, type)):
            return value
        if id(value) not in self._seen:
            self._seen[id(value)] = (value, self._copy(value))
        return self._seen[id(value)][1]

    def _copy(self, value: object) -> object:
        if isinstance(value, torch.Tensor):
            return self._replace(value)
        # the batch sizes of a packed sequence live on the CPU on every device: it knows
        if isinstance(value, (PackedSequence, torch.nn.Module)):
            return value.to(self._device)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, tuple):
            items = [self.visit(item) for item in value]
            make: Any = type(value)
            return make(*items) if hasattr(value, "_fields") else _retype(value, items)
        if isinstance(value, (list, set, frozenset)):
            return _retype(value, [self.visit(item) for item in value])
        if dataclasses.is_dataclass(value):
            return self._dataclass(value)
        return value.to(self._device) if callable(getattr(value, "to", None)) else value  # type: ignore[attr-defined]

    def _mapping(self, value: Mapping[object, object]) -> object:
        items = {key: self.visit(item) for key, item in value.items()}
        if type(value) is dict:
            return items
        # subclasses keep their own state (default factories, fields that mirror the keys)
        try:
            copied = copy.copy(value)
            for key, item in items.items():
                copied[key] = item  # type: ignore[index]
        except Exception:
            return items
        return copied

    def _dataclass(self, value: object) -> object:
        copied = copy.copy(value)
        for field in dataclasses.fields(value):  # type: ignore[arg-type]
            if hasattr(value, field.name):
                # also into frozen ones, and past fields that the constructor does not take
                object.__setattr__(copied, field.name, self.visit(getattr(value, field.name)))
        return copied


def _retype(value: object, items: list[object]) -> object:
    try:
        return type(value)(items)  # type: ignore[call-arg]
    except TypeError:
        return tuple(items) if isinstance(value, tuple) else items


def tensors_in(value: object, path: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor in containers and dataclasses, with its dotted path; modules are not entered."""
    yield from _tensors_in(value, path, set())


def _tensors_in(value: object, path: str, seen: set[int]) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if isinstance(value, (str, bytes, torch.nn.Module, type)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        parts = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = [(str(index), item) for index, item in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        parts = [(name, getattr(value, name, None)) for name in names]
    else:
        return
    for name, item in parts:
        yield from _tensors_in(item, f"{path}.{name}", seen)
