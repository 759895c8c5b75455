"""What a test tells about the names in it: `x is None`, `isinstance(x, Tensor)` ..."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.frame import Frame, SelfRef, Snapshot
from bufferize.tensors.values import Kind, Value


def refine(test: ast.expr, truth: bool, frame: Frame) -> None:
    """Narrow names and attributes in place, given that `test` came out as `truth`."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        refine(test.operand, not truth, frame)
    elif isinstance(test, ast.BoolOp):
        if isinstance(test.op, ast.And) is truth:
            for part in test.values:
                refine(part, truth, frame)
        else:
            _one_of(test.values, truth, frame)
    elif isinstance(test, ast.Compare) and len(test.ops) == 1:
        _compare(test, truth, frame)
    elif isinstance(test, ast.Call):
        _call(test, truth, frame)
    elif truth:
        _narrow(test, frame, lambda value: value.without(Kind.NONE))


def _one_of(parts: list[ast.expr], truth: bool, frame: Frame) -> None:
    """`a and b` is false: a is false, or a is true and b is false."""
    before = Snapshot.of(frame)
    states = []
    for place, part in enumerate(parts):
        before.restore(frame)
        for earlier in parts[:place]:
            refine(earlier, not truth, frame)
        refine(part, truth, frame)
        states.append(Snapshot.of(frame))
    for state in states[:-1]:
        state.join_into(frame)


def _compare(test: ast.Compare, truth: bool, frame: Frame) -> None:
    right = test.comparators[0]
    if not (isinstance(right, ast.Constant) and right.value is None):
        return
    operator = test.ops[0]
    if not isinstance(operator, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
        return
    is_none = isinstance(operator, ast.Is | ast.Eq) is truth
    _narrow(test.left, frame, lambda value: v.NONE if is_none else value.without(Kind.NONE))


def _call(test: ast.Call, truth: bool, frame: Frame) -> None:
    name = dotted_name(test.func) or ""
    if name.split(".")[-1] in {"exists", "is_tensor"} and len(test.args) == 1:
        if name.split(".")[-1] == "exists":  # the usual one-line helper: x is not None
            _narrow(test.args[0], frame, lambda value: value.without(Kind.NONE) if truth else value)
        elif truth:
            _narrow(test.args[0], frame, lambda value: value.only({Kind.TENSOR}))
        else:
            _narrow(test.args[0], frame, lambda value: value.without(Kind.TENSOR))
    elif name == "isinstance" and len(test.args) == 2:
        kinds = _classes(test.args[1], frame)
        if kinds and truth:
            _narrow(test.args[0], frame, lambda value: value.only(kinds))
        elif kinds and not truth:
            _narrow(test.args[0], frame, lambda value: value.without(*kinds))


def _classes(node: ast.expr, frame: Frame) -> set[Kind]:
    from bufferize.tensors.annotations import value_of_annotation

    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    kinds: set[Kind] = set()
    for part in parts:
        kinds |= value_of_annotation(part, frame.module, frame).kinds
    return set() if Kind.UNKNOWN in kinds else kinds


def _narrow(node: ast.expr, frame: Frame, change: object) -> None:
    assert callable(change)
    if isinstance(node, ast.NamedExpr):
        node = node.target
    if isinstance(node, ast.Name):
        value = frame.lookup(node.id)
        if value is not None and not isinstance(value.ref, SelfRef):
            frame.names[node.id] = _kept(change(value), value)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = frame.lookup(node.value.id)
        if owner is not None and isinstance(owner.ref, SelfRef):
            attributes = owner.ref.instance.attributes
            if node.attr in attributes:
                old = attributes[node.attr]
                attributes[node.attr] = replace(old, value=_kept(change(old.value), old.value))


def _kept(new: Value, old: Value) -> Value:
    return (
        replace(new, traits=new.traits | old.traits, chain=new.chain or old.chain)
        if new.may_be_tensor
        else new
    )


@contextmanager
def refined(test: ast.expr, truth: bool, frame: Frame) -> Iterator[None]:
    """`refine` for the arms of a conditional expression, undone afterwards."""
    names = dict(frame.names)
    refine(test, truth, frame)
    try:
        yield
    finally:
        frame.names = names
