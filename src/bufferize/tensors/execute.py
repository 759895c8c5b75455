"""Statements: names and attributes flow through branches, loops, `try` and `with`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace

from bufferize.project import ExternalSymbol, ImportBinding
from bufferize.project.symbols import import_bindings
from bufferize.tensors import values as v
from bufferize.tensors.annotations import value_of_annotation
from bufferize.tensors.evaluate import combine, evaluate, symbol_value
from bufferize.tensors.frame import MAX_STEPS, Closure, Frame, SelfRef, Snapshot
from bufferize.tensors.refine import refine
from bufferize.tensors.registrations import delete, write
from bufferize.tensors.values import Kind, Value

_NO_GRAD = frozenset({"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad"})


def execute_block(statements: Sequence[ast.stmt], frame: Frame) -> bool:
    """Run statements in order; whether control may reach what follows them."""
    for statement in statements:
        frame.run.steps += 1
        if frame.run.steps > MAX_STEPS:
            return True
        handler = _HANDLERS.get(type(statement))
        if handler is not None and handler(statement, frame) is False:
            return False
    return True


# -- assignments


def _assign(node: ast.Assign, frame: Frame) -> None:
    value = evaluate(node.value, frame)
    if len(node.targets) > 1:
        for target in node.targets:
            _bind(target, value, node, node.value, "chained", frame)
        return
    target = node.targets[0]
    form = "tuple" if isinstance(target, ast.Tuple | ast.List) else "plain"
    _bind(target, value, node, node.value, form, frame)


def _annotated(node: ast.AnnAssign, frame: Frame) -> None:
    if node.value is None:
        if isinstance(node.target, ast.Name):
            frame.names.setdefault(
                node.target.id, value_of_annotation(node.annotation, frame.module, frame)
            )
        return
    value = evaluate(node.value, frame)
    if value.kinds == {Kind.UNKNOWN}:
        said = value_of_annotation(node.annotation, frame.module, frame)
        value = (
            replace(said, traits=said.traits | value.traits, storage=value.storage)
            if not said.is_unknown
            else value
        )
    _bind(node.target, value, node, node.value, "annotated", frame)


def _augmented(node: ast.AugAssign, frame: Frame) -> None:
    old = evaluate(node.target, frame)
    new = combine(old, evaluate(node.value, frame), node, frame)
    if old.is_tensor:  # in place: the storage stays
        new = replace(new, storage=old.storage)
    _bind(node.target, new, node, None, "augmented", frame)


def bind_target(target: ast.expr, value: Value, frame: Frame) -> None:
    """Bind the target of a loop, `with` or comprehension."""
    _bind(target, value, target, None, "loop", frame)


def _bind(
    target: ast.expr,
    value: Value,
    node: ast.AST,
    expression: ast.expr | None,
    form: str,
    frame: Frame,
) -> None:
    if isinstance(target, ast.Name):
        frame.names[target.id] = value
    elif isinstance(target, ast.Starred):
        _bind(target.value, v.sequence_of(v.element_of(value)), node, None, form, frame)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(target, value, node, expression, form, frame)
    elif isinstance(target, ast.Attribute):
        owner = evaluate(target.value, frame)
        if isinstance(owner.ref, SelfRef):
            receiver = (
                target.value.id if isinstance(target.value, ast.Name) else ast.unparse(target.value)
            )
            write(target.attr, value, node, expression, form, receiver, frame)
    elif isinstance(target, ast.Subscript):
        _bind_item(target, value, frame)


def _unpack(
    target: ast.Tuple | ast.List,
    value: Value,
    node: ast.AST,
    expression: ast.expr | None,
    form: str,
    frame: Frame,
) -> None:
    items: list[Value] | None = None
    if value.items is not None and value.keys is None and len(value.items) == len(target.elts):
        items = list(value.items)
    for place, element in enumerate(target.elts):
        part = items[place] if items is not None else v.element_of(value)
        _bind(element, part, node, None, "tuple" if form in {"plain", "chained"} else form, frame)


def _bind_item(target: ast.Subscript, value: Value, frame: Frame) -> None:
    """`x[index] = value`: what x holds now carries the traits of the value and of the index."""
    base = target.value
    while isinstance(base, ast.Subscript):
        base = base.value
    holder = evaluate(base, frame)
    changed = _with_item(holder, value, evaluate(target.slice, frame))
    if changed is holder:
        return
    if isinstance(base, ast.Name) and frame.lookup(base.id) is not None:
        frame.names[base.id] = changed
    elif isinstance(base, ast.Attribute):
        owner = evaluate(base.value, frame)
        if isinstance(owner.ref, SelfRef) and base.attr in owner.ref.instance.attributes:
            attributes = owner.ref.instance.attributes
            attributes[base.attr] = replace(attributes[base.attr], value=changed)


def _with_item(holder: Value, value: Value, index: Value) -> Value:
    if holder.kinds <= {Kind.TENSOR, Kind.ARRAY} and holder.kinds:
        carried = (value.traits | index.traits) & v.CARRIED
        if Kind.PARAMETER in value.kinds:
            carried |= {v.HISTORY}
        return replace(holder, traits=(holder.traits - {v.UNINITIALISED}) | carried)
    if Kind.MAPPING in holder.kinds:
        if holder.items is not None and holder.keys is not None and index.constant is not ...:
            keys, items = list(holder.keys), list(holder.items)
            if index.constant in keys:
                items[keys.index(index.constant)] = value
            else:
                keys.append(index.constant)
                items.append(value)
            return replace(holder, items=tuple(items), keys=tuple(keys))
        return replace(
            holder, items=None, keys=None, element=v.join_all([*(holder.items or ()), value])
        )
    if Kind.SEQUENCE in holder.kinds:
        return v.sequence_of(
            v.join_all(
                [*(holder.items or ()), *([holder.element] if holder.element else []), value]
            )
        )
    return holder


# -- control flow


def _if(node: ast.If, frame: Frame) -> bool:
    evaluate(node.test, frame)
    before, context = Snapshot.of(frame), frame.context
    frame.context = context.arm(node, "body")
    refine(node.test, True, frame)
    body = execute_block(node.body, frame)
    after = Snapshot.of(frame)
    before.restore(frame)
    frame.context = context.arm(node, "orelse")
    refine(node.test, False, frame)
    orelse = execute_block(node.orelse, frame)
    frame.context = context
    _meet(frame, body, after, orelse)
    return body or orelse


def _meet(frame: Frame, left: bool, left_state: Snapshot, right: bool) -> None:
    """The frame holds the right state; join or replace it with the left one."""
    if left and right:
        left_state.join_into(frame)
    elif left:
        left_state.restore(frame)


def _loop(node: ast.For | ast.AsyncFor | ast.While, frame: Frame) -> bool:
    context = frame.context
    if isinstance(node, ast.While):
        evaluate(node.test, frame)
    frame.context = context.within(in_loop=True, arms=(*context.arms, (id(node), "loop")))
    # twice: the second round sees what the first one left behind
    for _ in range(2):
        before = Snapshot.of(frame)
        if not isinstance(node, ast.While):
            bind_target(node.target, v.element_of(evaluate(node.iter, frame)), frame)
        frame.breaks.append([])
        falls = execute_block(node.body, frame)
        exits = frame.breaks.pop()
        if not falls:
            (exits.pop() if exits else before).restore(frame)
        for state in exits:
            state.join_into(frame)
        before.join_into(frame)  # the loop may not run at all
    frame.context = context
    return execute_block(node.orelse, frame) if node.orelse else True


def _leave_loop(node: ast.stmt, frame: Frame) -> bool:
    if frame.breaks:
        frame.breaks[-1].append(Snapshot.of(frame))
    return False


def _try(node: ast.Try, frame: Frame) -> bool:
    context = frame.context
    before = Snapshot.of(frame)
    frame.context = context.within(in_try=True, arms=(*context.arms, (id(node), "body")))
    falls = execute_block(node.body, frame)
    if falls and node.orelse:
        falls = execute_block(node.orelse, frame)
    result = Snapshot.of(frame)
    for place, handler in enumerate(node.handlers):
        before.restore(frame)
        frame.context = context.arm(node, f"handler{place}")
        if handler.name:
            frame.names[handler.name] = v.OTHER
        if execute_block(handler.body, frame):
            state = Snapshot.of(frame)
            if falls:
                result.restore(frame)
                state.join_into(frame)
                result = Snapshot.of(frame)
            else:
                result, falls = state, True
    result.restore(frame)
    frame.context = context
    return execute_block(node.finalbody, frame) and falls


def _with(node: ast.With | ast.AsyncWith, frame: Frame) -> bool:
    context = frame.context
    for item in node.items:
        value = evaluate(item.context_expr, frame)
        called = (
            item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr
        )
        ref = evaluate(called, frame).ref
        if isinstance(ref, ExternalSymbol) and ref.name in _NO_GRAD:
            frame.context = frame.context.within(no_grad=True)
        if item.optional_vars is not None:
            bind_target(item.optional_vars, value, frame)
    falls = execute_block(node.body, frame)
    frame.context = context
    return falls


def _match(node: ast.Match, frame: Frame) -> bool:
    evaluate(node.subject, frame)
    before, context = Snapshot.of(frame), frame.context
    states: list[Snapshot] = []
    for place, case in enumerate(node.cases):
        before.restore(frame)
        frame.context = context.arm(node, f"case{place}")
        if execute_block(case.body, frame):
            states.append(Snapshot.of(frame))
    frame.context = context
    before.restore(frame)
    last = node.cases[-1]
    exhaustive = (
        isinstance(last.pattern, ast.MatchAs)
        and last.pattern.pattern is None
        and last.guard is None
    )
    if exhaustive and states:
        states.pop().restore(frame)
    for state in states:
        state.join_into(frame)
    return bool(states) or not exhaustive


# -- the rest


def _return(node: ast.Return, frame: Frame) -> bool:
    frame.returned.append(evaluate(node.value, frame))
    instance = frame.instance
    if instance is not None:
        frame.exits.append(instance.copy())
    return False


def _raise(node: ast.Raise, frame: Frame) -> bool:
    return False


def _expression(node: ast.Expr, frame: Frame) -> None:
    value = evaluate(node.value, frame)
    _in_place_call(node.value, value, frame)


def _in_place_call(node: ast.expr, result: Value, frame: Frame) -> None:
    """`nn.init.normal_(w)` and `w.uniform_()`: the name w holds the changed tensor now."""
    if not isinstance(node, ast.Call) or not result.is_tensor:
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if not name.endswith("_") or name.endswith("__"):
        return
    targets = [*node.args[:1], *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
    for target in targets:
        while isinstance(target, ast.Subscript) or (
            isinstance(target, ast.Attribute) and target.attr == "data"
        ):
            target = target.value
        holder = (
            evaluate(target, frame) if isinstance(target, ast.Name | ast.Attribute) else v.UNKNOWN
        )
        if not holder.is_tensor:
            continue
        traits = (holder.traits - {v.UNINITIALISED}) | (result.traits & (v.CARRIED | {v.GRAD}))
        changed = replace(holder, traits=traits)
        if isinstance(target, ast.Name):
            frame.names[target.id] = changed
        elif isinstance(target, ast.Attribute):
            owner = evaluate(target.value, frame)
            if isinstance(owner.ref, SelfRef) and target.attr in owner.ref.instance.attributes:
                attributes = owner.ref.instance.attributes
                attributes[target.attr] = replace(attributes[target.attr], value=changed)


def _assert(node: ast.Assert, frame: Frame) -> None:
    evaluate(node.test, frame)
    refine(node.test, True, frame)


def _delete(node: ast.Delete, frame: Frame) -> None:
    for target in node.targets:
        if isinstance(target, ast.Name):
            frame.names.pop(target.id, None)
        elif isinstance(target, ast.Attribute):
            owner = evaluate(target.value, frame)
            if isinstance(owner.ref, SelfRef):
                delete(target.attr, node, frame)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> None:
    frame.names[node.name] = v.make(Kind.CALLABLE, ref=Closure(node, frame))


def _class(node: ast.ClassDef, frame: Frame) -> None:
    info = frame.module.class_by_node.get(id(node))
    if info is not None:
        frame.names[node.name] = v.make(Kind.CALLABLE, ref=info)


def _import(node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
    for name, binding in import_bindings(node):
        if name != "*":
            symbol = frame.run.project.follow(
                frame.module, ImportBinding(binding.module, binding.name, binding.level)
            )
            frame.names[name] = symbol_value(symbol, frame)


_HANDLERS: dict[type[ast.AST], Callable[..., bool | None]] = {
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.If: _if,
    ast.For: _loop,
    ast.AsyncFor: _loop,
    ast.While: _loop,
    ast.Break: _leave_loop,
    ast.Continue: _leave_loop,
    ast.Try: _try,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Match: _match,
    ast.Return: _return,
    ast.Raise: _raise,
    ast.Expr: _expression,
    ast.Assert: _assert,
    ast.Delete: _delete,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Import: _import,
    ast.ImportFrom: _import,
}
if hasattr(ast, "TryStar"):
    _HANDLERS[ast.TryStar] = _try
