"""Values become JSON that compares: dtype, shape and a hash of the bytes; never a repr.

In: any value of the user's program. Out: plain lists, dicts, strings and numbers that are equal
exactly when the values are: NaN equals itself, float32 zeros differ from float64 zeros. It refuses
to know which of two values is the old one. Standard library and torch only; runs in the child.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import random
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

# Description of one value, as json.dumps takes it.
Described = Any

_BOOKKEEPING = frozenset(vars(nn.Module())) - {"training"}
_MOST_NODES = 20_000
_DEEPEST = 12


class Memo:
    """Values under way, so that cycles end, and a budget, so that huge graphs do."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.alive: list[object] = []
        self.depth = 0

    def enter(self, value: object) -> int | None:
        """Remember `value`; its number if it was met before."""
        if id(value) in self.seen:
            return self.seen[id(value)]
        self.seen[id(value)] = len(self.seen)
        self.alive.append(value)
        return None


def describe(value: object, memo: Memo | None = None) -> Described:
    """What can be compared of `value`. Never raises; unknown objects count by their type."""
    memo = memo or Memo()
    if value is None or isinstance(value, (bool, int, str)):
        return [type(value).__name__, str(value)]
    if isinstance(value, torch.Tensor):
        return describe_tensor(value)
    if isinstance(value, (float, complex, bytes)):
        return [type(value).__name__, repr(value)]
    if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
        return ["torch", str(value)]
    number = memo.enter(value)
    if number is not None:
        return ["again", number]
    if len(memo.seen) > _MOST_NODES or memo.depth > _DEEPEST:
        return ["and more"]
    memo.depth += 1
    try:
        return _describe_inside(value, memo)
    except Exception as error:
        return [_type_name(value), "opaque", type(error).__name__]
    finally:
        memo.depth -= 1


def _describe_inside(value: object, memo: Memo) -> Described:
    name = _type_name(value)
    if isinstance(value, nn.Module):
        return [name, _describe_map(dict(members(value)), memo)]
    if isinstance(value, Mapping):
        return [name, [[describe(k, memo), describe(v, memo)] for k, v in value.items()]]
    if isinstance(value, (list, tuple)):
        return [name, [describe(item, memo) for item in value]]
    if isinstance(value, (set, frozenset)):
        return [name, sorted((describe(item, memo) for item in value), key=str)]
    if isinstance(value, functools.partial):
        return [name, [describe(x, memo) for x in (value.func, value.args, value.keywords)]]
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        return [name, f"{value.__module__}.{value.__qualname__}"]
    if isinstance(value, types.MethodType):
        return [name, value.__func__.__qualname__]
    if isinstance(value, types.ModuleType):
        return [name, value.__name__]
    if isinstance(value, torch.Generator):
        return [name, describe_tensor(value.get_state())]
    if _is_array(value):
        return [name, *_describe_array(value)]
    inside = getattr(value, "__dict__", None)
    return [name, _describe_map(dict(inside), memo)] if inside else [name]


def _describe_map(inside: dict[str, object], memo: Memo) -> Described:
    return {str(key): describe(inside[key], memo) for key in sorted(inside, key=str)}


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def _describe_array(value: Any) -> list[Described]:
    if value.dtype.hasobject:
        return [str(value.dtype), list(value.shape)]
    return [str(value.dtype), list(value.shape), _hash(value.tobytes())]


def describe_tensor(value: torch.Tensor) -> Described:
    """Dtype, shape, device, gradient flag and content of a tensor."""
    with torch.no_grad():
        return {
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "device": value.device.type,
            "requires_grad": value.requires_grad,
            "layout": str(value.layout).removeprefix("torch."),
            "bytes": fingerprint(value),
        }


def fingerprint(value: torch.Tensor) -> str:
    """A hash of the elements in logical order, with every NaN made the same NaN."""
    plain = value.detach()
    if plain.device.type == "meta":
        return "meta"
    if plain.layout != torch.strided or plain.is_quantized:
        return _fingerprint_exotic(plain)
    plain = plain.to("cpu").resolve_conj().resolve_neg()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    if plain.is_floating_point() and plain.element_size() > 1 and bool(plain.isnan().any()):
        plain = torch.where(plain.isnan(), torch.full_like(plain, float("nan")), plain)
    plain = plain.contiguous()
    # string_at needs no numpy, which a CPU build of torch may lack
    return _hash(ctypes.string_at(plain.data_ptr(), plain.numel() * plain.element_size()))


def _fingerprint_exotic(value: torch.Tensor) -> str:
    if value.is_quantized:
        return fingerprint(value.int_repr())
    if value.is_sparse:
        whole = value.coalesce()
        return fingerprint(whole.indices()) + fingerprint(whole.values())
    return fingerprint(value.to_dense())


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def members(module: nn.Module) -> Iterator[tuple[str, object]]:
    """What `module` holds by name, registered or not, without torch's own bookkeeping."""
    for name, value in vars(module).items():
        if name not in _BOOKKEEPING:
            yield name, value
    yield from module._parameters.items()
    yield from module._buffers.items()


def kind_of(module: nn.Module, name: str) -> str:
    if name in module._parameters:
        return "parameter"
    if name in module._buffers:
        transient = name in module._non_persistent_buffers_set
        return "non-persistent buffer" if transient else "persistent buffer"
    return "plain"


def describe_attributes(module: nn.Module) -> dict[str, dict[str, Described]]:
    """Every attribute of the module and its submodules: how it is held, and its value."""
    found: dict[str, dict[str, Described]] = {}
    for prefix, inner in module.named_modules():
        for name, value in members(inner):
            path = f"{prefix}.{name}" if prefix else name
            found[path] = {"kind": kind_of(inner, name), "value": describe(value)}
    return found


def find_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor attribute by path, also those in lists, tuples and dicts."""
    found: dict[str, torch.Tensor] = {}
    for prefix, inner in module.named_modules():
        for name, value in members(inner):
            found.update(_tensors_in(value, f"{prefix}.{name}" if prefix else name, 4))
    return found


def _tensors_in(value: object, path: str, depth: int) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif depth and isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _tensors_in(item, f"{path}[{index}]", depth - 1)
    elif depth and isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors_in(item, f"{path}[{key!r}]", depth - 1)


def describe_sharing(tensors: Mapping[str, torch.Tensor]) -> list[list[str]]:
    """Groups of attributes that lie in one storage; a lone attribute makes no group."""
    groups: dict[tuple[str, int], list[str]] = {}
    for path, tensor in tensors.items():
        try:
            pointer = tensor.untyped_storage().data_ptr()
        except (RuntimeError, NotImplementedError):
            continue
        if pointer:
            groups.setdefault((str(tensor.device), pointer), []).append(path)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def describe_randomness() -> str:
    """Where the random streams stand: torch's, the standard library's and numpy's."""
    state = [fingerprint(torch.get_rng_state()), str(hash(random.getstate()))]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        state.append(str(describe(numpy.random.get_state())))
    return _hash("".join(state).encode())


def find_own_tensors(value: object) -> Iterator[torch.Tensor]:
    """The tensors of an output or an argument, however nested, in order, each once."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen or isinstance(item, (nn.Module, type, types.ModuleType)):
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            yield item
        elif isinstance(item, Mapping):
            waiting[:0] = list(item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting[:0] = list(item)
        elif hasattr(item, "__dict__"):
            waiting[:0] = list(vars(item).values())
