"""Puts the tables together: every name, its sources, its corrections, one entry.

Takes an installed torch; gives the two tables as plain data and the list of disagreements.
It refuses to read or write files.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from bufferize.facts.generate.corrections import KINDS, REMOVED, flags_to_add, flags_to_drop
from bufferize.facts.generate.kinds import OBJECT, UNKNOWN, kind_of_type
from bufferize.facts.generate.names import (
    function_modules,
    members,
    private_members,
    public_modules,
)
from bufferize.facts.generate.schemas import Schema, read_schemas
from bufferize.facts.generate.stubs import (
    Overloads,
    read_attributes,
    read_functions,
    read_methods,
)
from bufferize.facts.generate.votes import (
    Ballot,
    Sources,
    count_votes,
    read_doc,
    read_runtime_annotation,
    schema_flags,
)

Table = dict[str, Any]

# python functions of these modules carry the name of the operator they call
_NAMED_AS_OPERATORS = ("torch.functional", "torch.nn.functional", "torch._tensor", "torch._VF")
_TENSOR_KINDS = ("tensor", "tuple", "list", "unknown", "array")
_TYPES = "Float Double Half BFloat16 Byte Char Short Int Long Bool"
_PLACES = ("torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse")
_PARAMETER_CLASSES = (torch.nn.Parameter, torch.nn.Buffer)


@dataclass(frozen=True)
class Built:
    torch: Table
    modules: Table
    disagreements: tuple[str, ...]


@dataclass(frozen=True)
class _Facts:
    """The sources, read once."""

    schemas: dict[str, Schema]
    functions: Overloads
    methods: Overloads
    attributes: dict[str, str]


def build_tables() -> Built:
    facts = _Facts(read_schemas(), read_functions(), read_methods(), read_attributes())
    doubts: list[str] = []
    table = {
        "torch": torch.__version__.partition("+")[0],
        "functions": {**REMOVED, **_build_functions(facts, doubts)},
        "methods": _build_methods(facts, doubts),
        "attributes": _build_attributes(facts),
        "constants": _build_constants(),
        "tensor_classes": _find_tensor_classes(),
    }
    modules = {"attributes": sorted(dir(torch.nn.Module())), "classes": _find_module_classes()}
    return Built(table, modules, tuple(sorted(doubts)))


def _build_functions(facts: _Facts, doubts: list[str]) -> dict[str, str]:
    objects: dict[int, Any] = {}
    names: dict[int, list[str]] = {}
    for module in function_modules():
        for name, value in members(module):
            if callable(value) and not _is_module_class(value) and _is_of_torch(value):
                objects[id(value)] = value
                names.setdefault(id(value), []).append(f"{module.__name__}.{name}")
    entries: dict[str, str] = {}
    for key, value in objects.items():
        entry = _judge_callable(value, names[key], facts, doubts)
        if entry is not None:
            entries.update(dict.fromkeys(names[key], entry))
    return entries


def _judge_callable(value: Any, names: list[str], facts: _Facts, doubts: list[str]) -> str | None:
    if isinstance(value, type):
        kind = "tensor" if _makes_tensors(value) else kind_of_type(value)
        flags = frozenset({"factory", "uninitialised"} if kind == "tensor" else ())
        ballot = Ballot(OBJECT if kind == UNKNOWN or kind.startswith("tuple") else kind, flags)
    else:
        ballot = count_votes(_gather(value, names, facts))
    return _settle(ballot, names, doubts)


def _gather(value: Any, names: list[str], facts: _Facts) -> Sources:
    overloads = next((facts.functions[n] for n in names if n in facts.functions), [])
    own = getattr(value, "__name__", "")
    home = getattr(value, "__module__", None) or ""
    is_builtin = isinstance(value, types.BuiltinFunctionType | types.BuiltinMethodType)
    # boolean_dispatch leaves F.max_pool2d with the name of its wrapper
    operator = own if own != "fn" else names[0].rpartition(".")[2]
    named = is_builtin or home in _NAMED_AS_OPERATORS
    return Sources(
        overloads=tuple(overloads),
        annotation=read_runtime_annotation(value),
        schema=facts.schemas.get(operator) if named else None,
        doc=read_doc(value),
    )


def _settle(ballot: Ballot, names: list[str], doubts: list[str]) -> str | None:
    """The entry for one object, corrections applied; None if nothing is known."""
    correction = next((KINDS[name][0] for name in names if name in KINDS), None)
    head = correction or "; ".join((ballot.kind, *ballot.variants))
    if correction is None and ballot.disagreement:
        doubts.append(f"{names[0]}: {ballot.disagreement}; the table has {head}")
    kind, _, variants = head.partition("; ")
    flags = set(ballot.flags).union(*(flags_to_add(name) for name in names))
    flags -= set().union(*(flags_to_drop(name) for name in names))
    if not kind.startswith(_TENSOR_KINDS) and not variants and "tensor" not in kind:
        flags &= {"random", "loads"}
    if kind == UNKNOWN and not flags and correction is None:
        return None
    flags |= _flags_from_name(names, kind)
    entry = " ".join((kind, *sorted(flags)))
    return f"{entry}; {variants}" if variants else entry


def _flags_from_name(names: Iterable[str], kind: str) -> set[str]:
    if not kind.startswith("tensor"):
        return set()
    bare = {name.rpartition(".")[2] for name in names}
    is_like = any(name.endswith("_like") or name.startswith("new_") for name in bare)
    return {"like"} if is_like else set()


def _build_methods(facts: _Facts, doubts: list[str]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for name in sorted({*dir(torch.Tensor), *facts.methods}):
        value = getattr(torch.Tensor, name, None)
        if not callable(value) or isinstance(value, type) or _is_private(name):
            continue
        schema = facts.schemas.get(name)
        sources = Sources(
            overloads=tuple(facts.methods.get(name, ())),
            annotation=read_runtime_annotation(value),
            schema=schema,
            doc=read_doc(value),
        )
        entry = _settle(count_votes(sources), [f"Tensor.{name}"], doubts)
        if entry is not None:
            entries[name] = entry
    return entries


def _build_attributes(facts: _Facts) -> dict[str, str]:
    """Attributes are looked at on a real tensor; the stub adds those that were None there."""
    example = torch.zeros(2, 2)
    entries: dict[str, str] = {}
    for name in sorted({*dir(torch.Tensor), *facts.attributes}):
        if name.startswith("_") or callable(getattr(torch.Tensor, name, None)):
            continue
        corrected = KINDS.get(f"Tensor.{name}", (UNKNOWN, ""))[0]
        kind = corrected if corrected != UNKNOWN else facts.attributes.get(name, UNKNOWN)
        if kind == UNKNOWN:
            kind = _observe(example, name)
        if kind == UNKNOWN:
            continue
        flags = schema_flags(facts.schemas.get(name)) if kind == "tensor" else frozenset()
        if name in ("T", "H", "mT", "mH", "data", "real", "imag"):
            flags |= {"view"}
        entries[name] = " ".join((kind, *sorted(flags)))
    return entries


def _observe(example: torch.Tensor, name: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = getattr(example, name)
    except Exception:
        return UNKNOWN
    return UNKNOWN if value is None else kind_of_type(type(value))


def _build_constants() -> dict[str, str]:
    found: dict[str, str] = {}
    for module in (torch, torch.fft, torch.linalg, torch.cuda, torch.nn, torch.jit):
        for name, value in members(module):
            kind = kind_of_type(type(value))
            if not callable(value) and kind in ("dtype", "number", OBJECT):
                found[f"{module.__name__}.{name}"] = kind
    # numbers carry no __module__, so `members` finds them in packages only
    return found


def _find_tensor_classes() -> list[str]:
    found = {
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name, value in members(module)
        if isinstance(value, type) and _makes_tensors(value)
    }
    # the documentation has torch.cuda.FloatTensor and its like, not every build has them
    return sorted(found | {f"{place}.{t}Tensor" for place in _PLACES for t in _TYPES.split()})


def _find_module_classes() -> list[str]:
    return sorted(
        {
            f"{module.__name__}.{name}"
            for module in public_modules()
            for name, value in [*members(module), *private_members(module)]
            if _is_module_class(value) and value.__module__.startswith("torch.")
        }
    )


def _makes_tensors(cls: type) -> bool:
    if type(cls).__name__ == "tensortype":
        return True
    return issubclass(cls, torch.Tensor) and not issubclass(cls, _PARAMETER_CLASSES)


def _is_module_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, torch.nn.Module)


def _is_of_torch(value: Any) -> bool:
    home = getattr(value, "__module__", None)
    return home is None or home.split(".")[0] in ("torch", "functorch")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))
