"""Displays, subscripts and comprehensions -> Value."""

from __future__ import annotations

import ast
from dataclasses import replace

from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.evaluate import evaluate
from bufferize.tensors.frame import Frame, storage_of
from bufferize.tensors.values import Kind, Value


def display(node: ast.Tuple | ast.List | ast.Set, frame: Frame) -> Value:
    if any(isinstance(x, ast.Starred) for x in node.elts):
        parts = [
            v.element_of(evaluate(x.value, frame))
            if isinstance(x, ast.Starred)
            else evaluate(x, frame)
            for x in node.elts
        ]
        return v.sequence_of(v.join_all(parts))
    return v.sequence(tuple(evaluate(x, frame) for x in node.elts))


def mapping(node: ast.Dict, frame: Frame) -> Value:
    keys = tuple(key.value if isinstance(key, ast.Constant) else ... for key in node.keys)
    items = tuple(evaluate(x, frame) for x in node.values)
    if ... in keys:
        return v.make(Kind.MAPPING, element=v.join_all(items))
    return v.make(Kind.MAPPING, items=items, keys=keys)


def subscript(node: ast.Subscript, frame: Frame) -> Value:
    value, index = evaluate(node.value, frame), evaluate(node.slice, frame)
    return item_of(value, index, node, frame)


def item_of(value: Value, index: Value, node: ast.Subscript, frame: Frame) -> Value:
    if value.is_tensor or value.kinds == {Kind.PARAMETER}:
        return _tensor_item(value, index, node, frame)
    if value.kinds == {Kind.ARRAY}:
        return v.make(Kind.ARRAY, traits=value.traits & v.CARRIED)
    if value.items is not None:
        if value.keys is not None:
            if index.constant in value.keys:
                return _entry(value.items[value.keys.index(index.constant)], node, frame)
        elif isinstance(index.constant, int) and -len(value.items) <= index.constant < len(
            value.items
        ):
            return _entry(value.items[index.constant], node, frame)
        elif isinstance(node.slice, ast.Slice):
            return v.sequence_of(v.element_of(value))
    if value.kinds & {Kind.SEQUENCE, Kind.MAPPING} and (value.items or value.element):
        if isinstance(node.slice, ast.Slice):
            return replace(value, items=None, element=v.element_of(value))
        return _entry(v.element_of(value), node, frame)
    if value.kinds == {Kind.TEXT}:
        return v.TEXT
    return v.make(Kind.UNKNOWN, traits=value.traits & v.CARRIED)


def _entry(value: Value, node: ast.Subscript, frame: Frame) -> Value:
    """An entry of a list or dict: it stays reachable there when the container is an attribute."""
    name = dotted_name(node.value)
    if value.may_be_tensor and name is not None and "." in name:
        return replace(value, storage=value.storage | {f"entry of {name}"})
    return value


def _tensor_item(value: Value, index: Value, node: ast.Subscript, frame: Frame) -> Value:
    fancy = index.may_be_tensor or (
        index.kinds & {Kind.SEQUENCE, Kind.ARRAY} and not isinstance(node.slice, ast.Tuple)
    )
    if fancy:
        result = v.derived([value], (frame.module, node), storage_of(frame, node))
    else:
        result = v.view_of(value).with_chain((frame.module, node))
        if Kind.PARAMETER in value.kinds or v.GRAD in value.traits:
            result = result.with_traits(v.HISTORY)
    return result.without_traits(v.HISTORY) if frame.context.no_grad else result


def comprehension(node: ast.ListComp | ast.SetComp | ast.GeneratorExp, frame: Frame) -> Value:
    inner = _frame_of(node.generators, frame)
    return v.sequence_of(evaluate(node.elt, inner))


def dict_comprehension(node: ast.DictComp, frame: Frame) -> Value:
    inner = _frame_of(node.generators, frame)
    return v.make(Kind.MAPPING, element=evaluate(node.value, inner))


def _frame_of(generators: list[ast.comprehension], frame: Frame) -> Frame:
    from bufferize.tensors.execute import bind_target

    inner = Frame(frame.run, frame.module, frame.function, frame.owner, {}, frame, frame.context)
    for generator in generators:
        bind_target(generator.target, v.element_of(evaluate(generator.iter, inner)), inner)
    return inner
