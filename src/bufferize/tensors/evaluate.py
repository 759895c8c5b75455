"""Expression -> Value. Follows names, operators, attributes and displays; calls are in `calls`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from bufferize import facts
from bufferize.project import (
    ClassInfo,
    ExternalSymbol,
    FunctionInfo,
    ModuleSymbol,
    Symbol,
    ValueSymbol,
)
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.annotations import value_of_annotation
from bufferize.tensors.frame import Closure, Frame, ObjectRef, SelfRef, storage_of
from bufferize.tensors.values import Bound, Kind, Value

_NUMBERS = frozenset(
    {"math.pi", "math.e", "math.inf", "math.nan", "math.tau", "torch.pi", "torch.inf", "torch.nan"}
)


# fields of the named tuples that torch functions return
_FIELDS = frozenset(
    [
        "values",
        "indices",
        "Q",
        "R",
        "U",
        "S",
        "Vh",
        "V",
        "L",
        "LU",
        "pivots",
        "eigenvalues",
        "eigenvectors",
        "sign",
        "logabsdet",
    ]
)


def evaluate(node: ast.expr | None, frame: Frame) -> Value:
    """What the expression may be. Never raises; what is not understood is UNKNOWN."""
    if node is None:
        return v.NONE
    handler = _handlers().get(type(node))
    return handler(node, frame) if handler else v.UNKNOWN


def _name(node: ast.Name, frame: Frame) -> Value:
    value = frame.lookup(node.id)
    if value is not None:
        return value
    symbol = frame.run.project.resolve(frame.module, node.id, frame.outer)
    return symbol_value(symbol, frame) if symbol else _builtin(node.id)


def _builtin(name: str) -> Value:
    return v.make(Kind.CALLABLE, ref=ExternalSymbol(f"builtins.{name}"))


def symbol_value(symbol: Symbol | None, frame: Frame) -> Value:
    """What a name that resolves to `symbol` holds."""
    if symbol is None:
        return v.UNKNOWN
    if isinstance(symbol, ExternalSymbol):
        return external_value(symbol.name)
    if isinstance(symbol, ClassInfo | FunctionInfo):
        return v.make(Kind.CALLABLE, ref=symbol)
    if isinstance(symbol, ModuleSymbol):
        return v.make(Kind.OTHER, ref=symbol)
    return _global_value(symbol, frame)


def _global_value(symbol: ValueSymbol, frame: Frame) -> Value:
    key = (id(symbol.module), str(id(symbol.node)))
    known = frame.run.globals
    if key not in known:
        known[key] = v.UNKNOWN
        known[key] = evaluate(symbol.node, Frame(frame.run, symbol.module))
    value = known[key]
    return (
        replace(value, storage=value.storage | {f"global:{key[1]}"})
        if value.may_be_tensor
        else value
    )


def external_value(name: str) -> Value:
    """A name of a foreign package that is not called (yet)."""
    if name in _NUMBERS or (
        name.split(".")[0] in {"np", "numpy"} and name.split(".")[-1] in {"pi", "e", "inf", "nan"}
    ):
        return v.NUMBER
    ref = ExternalSymbol(name)
    if (
        name.startswith("torch.")
        and facts.function_returns(name) is None
        and not facts.is_tensor_class(name)
    ):
        return v.make(Kind.OTHER, ref=ref)
    return v.make(Kind.UNKNOWN, ref=ref)


def _constant(node: ast.Constant, frame: Frame) -> Value:
    return v.constant(node.value)


def _attribute(node: ast.Attribute, frame: Frame) -> Value:
    name = dotted_name(node)
    if name is not None and frame.lookup(name.split(".")[0]) is None:
        symbol = frame.run.project.resolve(frame.module, name, frame.outer)
        if symbol is not None:
            return symbol_value(symbol, frame)
    return attribute_of(evaluate(node.value, frame), node.attr, frame, node)


def attribute_of(owner: Value, name: str, frame: Frame, node: ast.AST) -> Value:
    """`owner.name`, by what the owner is."""
    ref = owner.ref
    if isinstance(ref, SelfRef):
        return self_attribute(ref, name, frame)
    if isinstance(ref, ExternalSymbol):
        return external_value(f"{ref.name}.{name}")
    if isinstance(ref, ModuleSymbol | ClassInfo):
        symbol = frame.run.project.member(ref, name)
        if symbol is not None:
            return symbol_value(symbol, frame)
        return class_attribute(ref, name, frame) if isinstance(ref, ClassInfo) else v.UNKNOWN
    if isinstance(ref, ObjectRef):
        return _object_attribute(owner, ref, name, frame)
    if owner.kinds <= {Kind.TENSOR, Kind.PARAMETER, Kind.NONE} and owner.kinds & {
        Kind.TENSOR,
        Kind.PARAMETER,
    }:
        return tensor_attribute(owner, name)
    if owner.kinds == {Kind.ARRAY}:
        if name in {"shape", "size", "ndim", "dtype", "nbytes", "itemsize"}:
            return v.OTHER
        return (
            replace(owner, ref=None)
            if name in {"T", "real", "imag", "flat"}
            else _bound(owner, name)
        )
    if Kind.MODULE in owner.kinds and name in {"weight", "bias"}:
        return v.make(Kind.PARAMETER, storage=frozenset({f"{storage_of(frame, node)}.{name}"}))
    if owner.kinds == {Kind.SEQUENCE} and owner.items and name in _FIELDS:
        return v.join_all(owner.items)
    if owner.kinds & {
        Kind.NUMBER,
        Kind.TEXT,
        Kind.SEQUENCE,
        Kind.MAPPING,
        Kind.UNKNOWN,
        Kind.TENSOR,
    }:
        return _bound(owner, name)
    return v.make(Kind.UNKNOWN, ref=Bound(owner, name))


def _bound(owner: Value, name: str) -> Value:
    return v.make(Kind.UNKNOWN, ref=Bound(owner, name))


def tensor_attribute(owner: Value, name: str) -> Value:
    """A property of a tensor, or a method not yet called."""
    known = facts.attribute_returns(name)
    if known is None or facts.method_returns(name) is not None:
        return v.make(Kind.CALLABLE, ref=Bound(owner, name))
    if known.kind != "tensor":
        return v.NUMBER if known.kind in {"number", "bool"} else v.OTHER
    if name == "grad":
        return v.UNKNOWN
    result = v.view_of(owner)
    if Kind.PARAMETER in owner.kinds or v.GRAD in owner.traits:
        traits = (
            result.traits - {v.GRAD} if name == "data" else (result.traits - {v.GRAD}) | {v.HISTORY}
        )
        result = replace(result, traits=traits | ({v.LOST_PARAMETER} if name == "data" else set()))
    if name == "data":
        result = result.without_traits(v.HISTORY)
    return result.without_traits(v.COMPLEX) if name in {"real", "imag"} else result


def self_attribute(ref: SelfRef, name: str, frame: Frame) -> Value:
    """`self.name` on this path of the construction."""
    found = ref.instance.attributes.get(name)
    if found is not None:
        value = found.value
        if value.may_be_tensor or Kind.PARAMETER in value.kinds:
            return replace(value, storage=value.storage | {f"self.{name}"})
        return value
    project = frame.run.project
    method = project.method(ref.instance.cls, name)
    if method is not None:
        if method.decorators & {"property", "cached_property", "functools.cached_property"}:
            from bufferize.tensors.calls import call_function

            return call_function(method, [v.make(Kind.MODULE, ref=ref)], {}, frame)
        return v.make(Kind.CALLABLE, ref=Bound(v.make(Kind.MODULE, ref=ref), name))
    if name in facts.module_attributes():
        return (
            v.NUMBER
            if name == "training"
            else v.make(Kind.CALLABLE, ref=Bound(v.make(Kind.MODULE, ref=ref), name))
        )
    return class_attribute(ref.instance.cls, name, frame)


def class_attribute(cls: ClassInfo, name: str, frame: Frame) -> Value:
    """A class-level assignment or annotation along the MRO."""
    for base in frame.run.project.mro(cls):
        if isinstance(base, ClassInfo) and name in base.attributes:
            statement = base.attributes[name]
            if isinstance(statement, ast.AnnAssign) and statement.value is None:
                return value_of_annotation(statement.annotation, base.module, frame)
            if isinstance(statement, ast.Assign | ast.AnnAssign):
                value = evaluate(statement.value, Frame(frame.run, base.module))
                return replace(value, storage=value.storage | {f"class:{base.qualname}.{name}"})
    return v.UNKNOWN


def _object_attribute(owner: Value, ref: ObjectRef, name: str, frame: Frame) -> Value:
    method = frame.run.project.method(ref.cls, name)
    if method is not None and "property" not in method.decorators:
        return v.make(Kind.CALLABLE, ref=Bound(owner, name))
    value = class_attribute(ref.cls, name, frame)
    if value.may_be_tensor:
        return replace(value, storage=value.storage | {f"{ref.cls.qualname}.{name}"})
    return value


# -- operators


def _binary(node: ast.BinOp, frame: Frame) -> Value:
    left, right = evaluate(node.left, frame), evaluate(node.right, frame)
    return combine(left, right, node, frame)


def combine(left: Value, right: Value, node: ast.AST, frame: Frame) -> Value:
    """`left op right`."""
    tensors = [x for x in (left, right) if x.kinds & {Kind.TENSOR, Kind.PARAMETER}]
    # one operand that surely is a tensor makes the result one, whatever the other is
    if any(x.kinds <= {Kind.TENSOR, Kind.PARAMETER, Kind.NONE} for x in tensors):
        return _arithmetic(left, right, node, frame)
    traits = (left.traits | right.traits) & v.CARRIED
    kinds = left.kinds | right.kinds
    if tensors:
        return Value(
            frozenset({Kind.TENSOR} | (kinds - {Kind.PARAMETER})),
            traits,
            chain=left.chain or right.chain,
        )
    if Kind.ARRAY in kinds and kinds <= {Kind.ARRAY, Kind.NUMBER, Kind.SEQUENCE}:
        return v.make(Kind.ARRAY, traits=traits)
    if kinds == {Kind.NUMBER}:
        return v.make(Kind.NUMBER, traits=traits)
    if left.kinds == {Kind.TEXT}:
        return v.TEXT
    if Kind.SEQUENCE in kinds and kinds <= {Kind.SEQUENCE, Kind.NUMBER}:
        return _sequence_arithmetic(left, right)
    return v.make(Kind.UNKNOWN, traits=traits)


def _sequence_arithmetic(left: Value, right: Value) -> Value:
    parts = [
        x
        for side in (left, right)
        for x in (side.items or ((side.element,) if side.element else ()))
    ]
    if left.items is not None and right.items is not None:
        return v.sequence((*left.items, *right.items))
    return v.sequence_of(v.join_all(parts)) if parts else v.SEQUENCE


def _arithmetic(left: Value, right: Value, node: ast.AST, frame: Frame) -> Value:
    extra: set[str] = set()
    zero = [v.ZERO_DIM in x.traits or x.kinds == {Kind.NUMBER} for x in (left, right)]
    if all(zero):
        extra.add(v.ZERO_DIM)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        extra.add(v.FLOAT_TABLE)
    result = v.derived([left, right], (frame.module, node), storage_of(frame, node), extra)
    return result.without_traits(v.HISTORY) if frame.context.no_grad else result


def _unary(node: ast.UnaryOp, frame: Frame) -> Value:
    value = evaluate(node.operand, frame)
    if isinstance(node.op, ast.Not):
        return v.NUMBER
    if value.is_tensor or value.kinds == {Kind.PARAMETER}:
        return _arithmetic(value, v.NUMBER if v.ZERO_DIM in value.traits else v.OTHER, node, frame)
    if isinstance(value.constant, int | float) and isinstance(node.op, ast.USub):
        return v.constant(-value.constant)
    return replace(value, constant=..., ref=None)


def _compare(node: ast.Compare, frame: Frame) -> Value:
    sides = [evaluate(x, frame) for x in (node.left, *node.comparators)]
    if any(isinstance(op, ast.Is | ast.IsNot | ast.In | ast.NotIn) for op in node.ops):
        return v.NUMBER
    if any(x.is_tensor for x in sides):
        result = v.derived(sides, (frame.module, node), storage_of(frame, node))
        if all(v.ZERO_DIM in x.traits or x.kinds == {Kind.NUMBER} for x in sides):
            result = result.with_traits(v.ZERO_DIM)
        return result.without_traits(v.COMPLEX, v.HISTORY, v.FLOAT_TABLE)
    if any(x.kinds == {Kind.ARRAY} for x in sides):
        return v.ARRAY
    return v.UNKNOWN if any(x.may_be_tensor for x in sides) else v.NUMBER


def _bool(node: ast.BoolOp, frame: Frame) -> Value:
    operands = [evaluate(x, frame) for x in node.values]
    if isinstance(node.op, ast.Or):  # `x or default`: a None on the left never comes out
        operands = [
            x.without(Kind.NONE) if x.kinds != {Kind.NONE} else x for x in operands[:-1]
        ] + operands[-1:]
        kept = [x for x in operands[:-1] if x.kinds != {Kind.NONE}]
        return v.join_all([*kept, operands[-1]])
    return v.join_all(operands)


def _conditional(node: ast.IfExp, frame: Frame) -> Value:
    from bufferize.tensors.refine import refined

    with refined(node.test, True, frame):
        body = evaluate(node.body, frame)
    with refined(node.test, False, frame):
        orelse = evaluate(node.orelse, frame)
    return v.join(body, orelse)


def _walrus(node: ast.NamedExpr, frame: Frame) -> Value:
    value = evaluate(node.value, frame)
    frame.names[node.target.id] = value
    return value


def _lambda(node: ast.Lambda, frame: Frame) -> Value:
    return v.make(Kind.CALLABLE, ref=Closure(node, frame))


def _call(node: ast.Call, frame: Frame) -> Value:
    from bufferize.tensors.calls import evaluate_call

    return evaluate_call(node, frame)


def _inner(node: ast.Starred | ast.Await, frame: Frame) -> Value:
    return evaluate(node.value, frame)


def _text(node: ast.expr, frame: Frame) -> Value:
    return v.TEXT


@lru_cache(maxsize=1)
def _handlers() -> dict[type[ast.AST], Callable[..., Value]]:
    """Which function evaluates which node. Built at first use: the rooms import each other."""
    from bufferize.tensors import displays

    return {
        ast.Name: _name,
        ast.Constant: _constant,
        ast.Attribute: _attribute,
        ast.BinOp: _binary,
        ast.UnaryOp: _unary,
        ast.Compare: _compare,
        ast.BoolOp: _bool,
        ast.IfExp: _conditional,
        ast.Tuple: displays.display,
        ast.List: displays.display,
        ast.Set: displays.display,
        ast.Dict: displays.mapping,
        ast.Subscript: displays.subscript,
        ast.ListComp: displays.comprehension,
        ast.SetComp: displays.comprehension,
        ast.GeneratorExp: displays.comprehension,
        ast.DictComp: displays.dict_comprehension,
        ast.NamedExpr: _walrus,
        ast.Lambda: _lambda,
        ast.Call: _call,
        ast.Starred: _inner,
        ast.JoinedStr: _text,
        ast.FormattedValue: _text,
        ast.Await: _inner,
    }
