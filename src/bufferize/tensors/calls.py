"""Call -> Value: the project's functions by their body, methods by their owner, torch by table."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from bufferize import facts
from bufferize.project import ClassInfo, ExternalSymbol, FunctionInfo
from bufferize.project.index import external_base
from bufferize.tensors import values as v
from bufferize.tensors.annotations import value_of_annotation
from bufferize.tensors.builtins import call_builtin, call_container_method
from bufferize.tensors.evaluate import evaluate
from bufferize.tensors.frame import (
    MAX_DEPTH,
    MAX_STEPS,
    Closure,
    Frame,
    ObjectRef,
    SelfRef,
    storage_of,
)
from bufferize.tensors.parameters import bind, bind_parameters
from bufferize.tensors.torchcalls import call_numpy, call_tensor_method, call_torch
from bufferize.tensors.values import Bound, Choice, Gives, Kind, Partial, Value

Arguments = tuple[list[Value], dict[str, Value]]
_NO_GRAD = frozenset({"torch.no_grad", "torch.inference_mode"})


def evaluate_call(node: ast.Call, frame: Frame) -> Value:
    """What the call gives; methods of the object under construction run on it."""
    frame.run.steps += 1
    if frame.run.steps > MAX_STEPS:
        return v.UNKNOWN
    from bufferize.tensors.receiver import call_super, super_receiver

    owner = super_receiver(node.func, frame)
    if owner is not None:
        return call_super(node, owner, frame)
    function = evaluate(node.func, frame)
    arguments, keywords = evaluate_arguments(node, frame)
    return call_value(function, arguments, keywords, node, frame)


def evaluate_arguments(node: ast.Call, frame: Frame) -> Arguments:
    positional: list[Value] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            spread = evaluate(argument.value, frame)
            positional += spread.items if spread.items is not None else (v.element_of(spread),)
        else:
            positional.append(evaluate(argument, frame))
    return positional, {k.arg or "**": evaluate(k.value, frame) for k in node.keywords}


def call_value(
    function: Value,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    """Call whatever `function` stands for."""
    ref = function.ref
    if isinstance(ref, ExternalSymbol):
        return _call_external(ref.name, positional, keywords, node, frame)
    if isinstance(ref, ClassInfo):
        return _call_class(ref, positional, keywords, node, frame)
    if isinstance(ref, FunctionInfo):
        return stepped(call_function(ref, positional, keywords, frame, node), node, frame)
    if isinstance(ref, Closure):
        return stepped(_call_closure(ref, positional, keywords, frame), node, frame)
    if isinstance(ref, Partial):
        merged = {**dict(ref.keywords), **keywords}
        return call_value(ref.function, [*ref.arguments, *positional], merged, node, frame)
    if isinstance(ref, Bound):
        return _call_bound(ref, positional, keywords, node, frame)
    if isinstance(ref, Gives):
        storage = frozenset({storage_of(frame, node)})
        return replace(ref.result, storage=storage, chain=((frame.module, node),))
    if isinstance(ref, Choice):
        return v.join_all(call_value(f, positional, keywords, node, frame) for f in ref.options)
    if isinstance(ref, ObjectRef):
        return _call_object(function, ref, positional, keywords, node, frame)
    if function.kinds == {Kind.MODULE}:
        return _call_module([function, *positional], node, frame)
    return v.UNKNOWN


def _call_object(
    owner: Value,
    ref: ObjectRef,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    """An instance of a class of the project is called: a module runs its forward."""
    name = "forward" if frame.run.project.is_module(ref.cls) else "__call__"
    method = frame.run.project.method(ref.cls, name)
    if method is None:
        return v.UNKNOWN
    value = call_function(method, [owner, *positional], keywords, frame, node)
    return stepped(value, node, frame)


def stepped(value: Value, node: ast.Call, frame: Frame) -> Value:
    return value.with_chain((frame.module, node)) if value.may_be_tensor else value


def _call_module(operands: list[Value], node: ast.Call, frame: Frame) -> Value:
    if any(x.may_be_tensor for x in operands):
        result = v.derived(operands, (frame.module, node), storage_of(frame, node), {v.HISTORY})
        return result.without_traits(v.HISTORY) if frame.context.no_grad else result
    return v.UNKNOWN


def _call_external(
    name: str, positional: list[Value], keywords: dict[str, Value], node: ast.Call, frame: Frame
) -> Value:
    root = name.split(".")[0]
    if name.endswith(".__init__"):
        return _explicit_init(name, positional)
    if root == "builtins":
        return call_builtin(name.partition(".")[2], positional, keywords, node, frame)
    if name in {"functools.partial"} and positional:
        partial = Partial(positional[0], tuple(positional[1:]), tuple(keywords.items()))
        return v.make(Kind.CALLABLE, ref=partial)
    if root == "torch":
        return call_torch(name, positional, keywords, node, frame)
    if root in {"numpy", "scipy", "np"}:
        return call_numpy(name, positional, node, frame)
    if root in {"random", "secrets", "uuid"}:
        return v.make(Kind.NUMBER, traits=frozenset({v.RANDOM}))
    if root == "math":
        return v.make(Kind.NUMBER, traits=v.carried(positional))
    if name in {"copy.deepcopy", "copy.copy"} and positional:
        return replace(positional[0], storage=frozenset({storage_of(frame, node)}))
    if root == "einops" and positional and positional[0].is_tensor:
        return v.derived(positional[:1], (frame.module, node), storage_of(frame, node))
    return v.make(Kind.UNKNOWN, traits=v.carried(positional))


def _explicit_init(name: str, positional: list[Value]) -> Value:
    """`nn.Module.__init__(self)` instead of super().__init__()."""
    base = external_base(name.rpartition(".")[0])
    if positional and isinstance(positional[0].ref, SelfRef) and base is not None:
        positional[0].ref.instance.initialised |= base.is_module
    return v.NONE


def _call_class(
    cls: ClassInfo,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    project = frame.run.project
    if project.is_module(cls):
        return v.make(Kind.MODULE, ref=ObjectRef(cls))
    names = {b.name for b in project.mro(cls) if isinstance(b, ExternalSymbol)}
    if any(facts.is_tensor_class(n) for n in names):
        return v.tensor((frame.module, node), storage=(storage_of(frame, node),))
    if project.unresolved(cls):
        return v.make(Kind.UNKNOWN, ref=ObjectRef(cls))
    return v.make(Kind.OTHER, ref=ObjectRef(cls))


def _call_bound(
    bound: Bound, positional: list[Value], keywords: dict[str, Value], node: ast.Call, frame: Frame
) -> Value:
    owner, name = bound.owner, bound.name
    if isinstance(owner.ref, SelfRef):
        from bufferize.tensors.receiver import call_self

        return call_self(owner, name, positional, keywords, node, frame)
    if isinstance(owner.ref, ObjectRef):
        method = frame.run.project.method(owner.ref.cls, name)
        if method is not None:
            first = [] if "staticmethod" in method.decorators else [owner]
            return stepped(
                call_function(method, [*first, *positional], keywords, frame, node), node, frame
            )
        return v.UNKNOWN
    tensors = {Kind.TENSOR, Kind.PARAMETER, Kind.NONE}
    if owner.kinds & {Kind.TENSOR, Kind.PARAMETER} and owner.kinds <= tensors:
        return call_tensor_method(owner, name, positional, keywords, node, frame)
    if owner.may_be_tensor and owner.kinds <= {*tensors, Kind.UNKNOWN}:
        value = call_tensor_method(owner, name, positional, keywords, node, frame)
        return replace(value, kinds=value.kinds | {Kind.UNKNOWN})
    return call_container_method(owner, name, positional, node, frame)


# -- functions of the project


def call_function(
    function: FunctionInfo,
    positional: list[Value],
    keywords: Mapping[str, Value],
    frame: Frame,
    site: ast.AST | None = None,
) -> Value:
    """Run the body with these arguments. Recursion ends in what the annotation promises."""
    run = frame.run
    node = function.node
    constructing = bool(positional) and isinstance(positional[0].ref, SelfRef)
    promised = value_of_annotation(node.returns, function.module, frame)
    if id(node) in run.stack or len(run.stack) > MAX_DEPTH or run.steps > MAX_STEPS:
        return promised
    key = (
        None
        if constructing
        else (id(node), tuple(positional), tuple(sorted(keywords.items(), key=lambda k: k[0])))
    )
    if key is not None and key in run.memo:
        return _renamed(run.memo[key], positional, site, frame)
    inner = Frame(run, function.module, function, function.owner, path=(*frame.path, function.name))
    inner.context = frame.context.within(arms=frame.context.arms if constructing else ())
    inner.names = bind_parameters(function, positional, dict(keywords), inner)
    value = _run_body(node, inner, promised)
    if key is not None:
        run.memo[key] = value
    return _renamed(value, positional, site, frame)


def _run_body(node: ast.FunctionDef | ast.AsyncFunctionDef, inner: Frame, promised: Value) -> Value:
    from bufferize.tensors.execute import execute_block

    if any(d in _NO_GRAD for d in _decorator_names(node, inner)):
        inner.context = inner.context.within(no_grad=True)
    run = inner.run
    run.stack.append(id(node))
    try:
        falls = execute_block(node.body, inner)
    finally:
        run.stack.pop()
    _join_exits(inner, falls)
    if _is_generator(node):
        return v.sequence_of(v.UNKNOWN)
    returned = [*inner.returned, *([v.NONE] if falls else [])]
    value = v.join_all(returned) if returned else promised
    return v.filled(value, promised)


def _join_exits(inner: Frame, falls: bool) -> None:
    """After a body with early returns, the object is in any of the states it was left in."""
    instance = inner.instance
    if instance is None or not inner.exits:
        return
    states = inner.exits if falls else inner.exits[:-1]
    if not falls:
        instance.replace_with(inner.exits[-1].copy())
    for state in states:
        instance.join(state)


@lru_cache(maxsize=16384)
def _is_generator(node: ast.AST) -> bool:
    stack: list[ast.AST] = list(getattr(node, "body", ()))
    while stack:
        current = stack.pop()
        if isinstance(current, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(
            current, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
        ):
            stack += ast.iter_child_nodes(current)
    return False


def _decorator_names(node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> list[str]:
    names = []
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        value = evaluate(target, Frame(frame.run, frame.module))
        if isinstance(value.ref, ExternalSymbol):
            names.append(value.ref.name)
    return names


def _renamed(
    value: Value, positional: Sequence[Value], site: ast.AST | None, frame: Frame
) -> Value:
    """Each call of a helper makes storage of its own: tell the sites apart."""
    if site is None or not (value.may_be_tensor or value.items or value.element):
        return value
    given: set[str] = set()
    for argument in positional:
        given |= argument.storage
    return rename_storage(value, given, f"@{storage_of(frame, site)}")


def rename_storage(value: Value, kept: set[str], suffix: str) -> Value:
    """Fresh storage names get the call site's suffix; those that came in or live elsewhere stay."""

    def rename(name: str) -> str:
        fresh = name not in kept and not name.startswith(
            ("self.", "global:", "class:", "entry of", "argument")
        )
        return name + suffix if fresh and suffix not in name else name

    items = value.items and tuple(rename_storage(x, kept, suffix) for x in value.items)
    element = value.element and rename_storage(value.element, kept, suffix)
    return replace(
        value, storage=frozenset(map(rename, value.storage)), items=items, element=element
    )


def _call_closure(
    closure: Closure, positional: list[Value], keywords: dict[str, Value], frame: Frame
) -> Value:
    node, around = closure.node, closure.frame
    if id(node) in frame.run.stack or len(frame.run.stack) > MAX_DEPTH:
        return v.UNKNOWN
    inner = Frame(
        frame.run,
        around.module,
        around.function,
        around.owner,
        {},
        around,
        frame.context,
        path=frame.path,
    )
    inner.names = bind(node.args, positional, keywords, inner)
    if isinstance(node, ast.Lambda):
        frame.run.stack.append(id(node))
        try:
            return evaluate(node.body, inner)
        finally:
            frame.run.stack.pop()
    return _run_body(node, inner, value_of_annotation(node.returns, around.module, around))
