"""Look-ups in the tables of torch and numpy.

Takes fully qualified names, gives what is known or None. Each table is read when first asked for.
It refuses to import torch or numpy: everything stands in the JSON files beside it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bufferize.facts.returns import Returns, parse_entry


def function_returns(qualname: str) -> Returns | None:
    """What calling a function or class of torch gives; None for a name the table lacks."""
    if qualname.startswith("torch.Tensor."):
        return _method_called_on_class(qualname.rpartition(".")[2])
    entry = _torch()["functions"].get(qualname)
    if entry is not None:
        return _parse(entry)
    return _parse("module") if qualname in module_classes() else None


def method_returns(name: str) -> Returns | None:
    """What a method of torch.Tensor gives. Argument positions count without self."""
    entry = _torch()["methods"].get(name)
    return None if entry is None else _parse(entry)


def attribute_returns(name: str) -> Returns | None:
    """What reading an attribute or property of a tensor gives."""
    entry = _torch()["attributes"].get(name)
    return None if entry is None else _parse(entry)


def constant_kind(qualname: str) -> str | None:
    """The kind of a constant such as torch.float32 or torch.pi."""
    found: str | None = _torch()["constants"].get(qualname)
    return found


def is_tensor_class(qualname: str) -> bool:
    """Whether calling the class gives a tensor: torch.Tensor, torch.cuda.FloatTensor ..."""
    return qualname in _tensor_classes()


def module_classes() -> frozenset[str]:
    """Every nn.Module subclass that torch itself has, by every public dotted path."""
    return frozenset(_modules()["classes"])


def module_attributes() -> frozenset[str]:
    """Names nn.Module defines itself: register_buffer refuses each of them."""
    return frozenset(_modules()["attributes"])


def numpy_returns(qualname: str) -> Returns | None:
    """What a function of numpy or scipy gives: 'array', 'number', 'tuple' (of arrays) ..."""
    entry = _numpy().get(qualname)
    return None if entry is None else _parse(entry)


def torch_version() -> str:
    """The torch that the table was generated from."""
    return str(_torch()["torch"])


def _method_called_on_class(name: str) -> Returns | None:
    """torch.Tensor.max(x, dim) has one argument more than x.max(dim)."""
    entry = _torch()["methods"].get(name)
    return None if entry is None else _shift(_parse(entry))


def _shift(returns: Returns) -> Returns:
    moved = (replace(v, position=v.position + 1) for v in returns.variants)
    return replace(returns, variants=tuple(moved))


@cache
def _parse(entry: str) -> Returns:
    return parse_entry(entry)


@cache
def _torch() -> dict[str, Any]:
    return read_table("torch.json")


@cache
def _modules() -> dict[str, frozenset[str]]:
    return {key: frozenset(names) for key, names in read_table("modules.json").items()}


@cache
def _numpy() -> dict[str, str]:
    return read_table("numpy.json")


@cache
def _tensor_classes() -> frozenset[str]:
    return frozenset(_torch()["tensor_classes"])


def read_table(name: str) -> dict[str, Any]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
