"""Type annotation -> Value."""

from __future__ import annotations

import ast

from bufferize import facts
from bufferize.project import ClassInfo, ExternalSymbol, Module
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.frame import Frame, ObjectRef
from bufferize.tensors.values import Gives, Kind, Value

_PLAIN = {
    "int": v.NUMBER,
    "float": v.NUMBER,
    "bool": v.NUMBER,
    "complex": v.NUMBER,
    "str": v.TEXT,
    "bytes": v.TEXT,
}
_SEQUENCES = frozenset(
    [
        "List",
        "list",
        "Tuple",
        "tuple",
        "Sequence",
        "Iterable",
        "Iterator",
        "Collection",
        "Set",
        "set",
        "FrozenSet",
    ]
)
_MAPPINGS = frozenset(["Dict", "dict", "Mapping", "MutableMapping", "OrderedDict", "DefaultDict"])
_TENSOR_NAMES = frozenset(
    [
        "Tensor",
        "FloatTensor",
        "LongTensor",
        "BoolTensor",
        "IntTensor",
        "HalfTensor",
        "DoubleTensor",
        "ByteTensor",
    ]
)
_JAXTYPES = frozenset(
    ["Float", "Int", "Bool", "Shaped", "Num", "Complex", "Inexact", "UInt", "Integer", "Real"]
)


def value_of_annotation(node: ast.expr | None, module: Module, frame: Frame) -> Value:
    """What a name annotated with `node` may hold; UNKNOWN where the annotation does not tell."""
    if node is None:
        return v.UNKNOWN
    if isinstance(node, ast.Constant):
        if node.value is None:
            return v.NONE
        return _parsed(node.value, module, frame) if isinstance(node.value, str) else v.UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = (value_of_annotation(x, module, frame) for x in (node.left, node.right))
        return v.join_all(sides)
    if isinstance(node, ast.Subscript):
        return _subscripted(node, module, frame)
    name = dotted_name(node)
    return _named(name, module, frame) if name else v.UNKNOWN


def _parsed(text: str, module: Module, frame: Frame) -> Value:
    try:
        return value_of_annotation(ast.parse(text, mode="eval").body, module, frame)
    except (SyntaxError, ValueError):
        return v.UNKNOWN


def _subscripted(node: ast.Subscript, module: Module, frame: Frame) -> Value:
    last = (dotted_name(node.value) or "").split(".")[-1]
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if last == "Optional":
        return v.join(value_of_annotation(parts[0], module, frame), v.NONE)
    if last == "Union":
        return v.join_all(value_of_annotation(x, module, frame) for x in parts)
    if last in {"Final", "Annotated", "ClassVar", "InitVar", "Required", "NotRequired"} | _JAXTYPES:
        return value_of_annotation(parts[0], module, frame)
    if last == "Callable" and len(parts) == 2:
        result = value_of_annotation(parts[1], module, frame)
        return v.make(Kind.CALLABLE, ref=Gives(result)) if result.is_tensor else v.CALLABLE
    if last in {"Type", "type", "Callable"}:
        return v.CALLABLE
    if last == "Literal":
        return v.join_all(
            v.constant(x.value) if isinstance(x, ast.Constant) else v.UNKNOWN for x in parts
        )
    if last in {"Tuple", "tuple"} and not any(
        isinstance(x, ast.Constant) and x.value is ... for x in parts
    ):
        return v.sequence(tuple(value_of_annotation(x, module, frame) for x in parts))
    if last in _SEQUENCES:
        return v.sequence_of(value_of_annotation(parts[0], module, frame))
    if last in _MAPPINGS:
        return v.make(Kind.MAPPING, element=value_of_annotation(parts[-1], module, frame))
    return value_of_annotation(node.value, module, frame)


def _named(name: str, module: Module, frame: Frame) -> Value:
    last = name.split(".")[-1]
    symbol = frame.run.project.resolve(module, name, frame.outer if module is frame.module else ())
    if isinstance(symbol, ExternalSymbol):
        return _external(symbol.name)
    if isinstance(symbol, ClassInfo):
        if frame.run.project.is_module(symbol):
            return v.MODULE
        return v.make(Kind.OTHER, ref=ObjectRef(symbol))
    if name in _PLAIN:
        return _PLAIN[name]
    if last in _SEQUENCES:
        return v.SEQUENCE
    return v.MAPPING if last in _MAPPINGS else v.UNKNOWN


def _external(name: str) -> Value:
    last = name.split(".")[-1]
    if facts.is_tensor_class(name) or (name.startswith("torch.") and last in _TENSOR_NAMES):
        return v.tensor()
    if name in {"torch.nn.Parameter", "torch.nn.parameter.Parameter"}:
        return v.make(Kind.PARAMETER, traits=frozenset({v.GRAD}))
    if name in facts.module_classes():
        return v.MODULE
    if name.startswith("torch."):
        return v.make(Kind.OTHER, ref=ExternalSymbol(f"{name}()"))
    if last in {"ndarray", "NDArray"}:
        return v.ARRAY
    if last == "Any":
        return v.UNKNOWN
    if last in _SEQUENCES:
        return v.SEQUENCE
    return v.MAPPING if last in _MAPPINGS else v.UNKNOWN
