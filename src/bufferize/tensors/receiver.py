"""Calls on the object under construction: `self.method(...)` and `super().method(...)`.

Base constructors and idle methods run once; `summaries` says when a run speaks for others.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from bufferize.project import ClassInfo, FunctionInfo
from bufferize.tensors import values as v
from bufferize.tensors.calls import call_function, evaluate_arguments, stepped
from bufferize.tensors.frame import Frame, Instance, ObjectRef, SelfRef, join_attributes
from bufferize.tensors.registrations import register
from bufferize.tensors.summaries import Lookup, Summary
from bufferize.tensors.values import Kind, Value

_REGISTRARS = frozenset({"register_buffer", "register_parameter", "add_module", "register_module"})
_RETURN_SELF = frozenset({"to", "cuda", "cpu", "eval", "train", "float", "requires_grad_"})


def call_self(
    owner: Value,
    name: str,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    """`self.name(...)` while self is constructed: the method runs on the same object."""
    assert isinstance(owner.ref, SelfRef)
    instance = owner.ref.instance
    method = frame.run.project.method(instance.cls, name)
    if name in _REGISTRARS:
        register(name, positional, keywords, node, frame)
        return v.NONE
    frame.run.lookups.add((name, None, method))
    if method is None:
        return owner if name in _RETURN_SELF else v.UNKNOWN
    frame.run.called.add(name)
    if "staticmethod" in method.decorators:
        return stepped(call_function(method, positional, keywords, frame, node), node, frame)
    if "classmethod" in method.decorators:
        first = v.make(Kind.CALLABLE, ref=instance.cls)
        value = call_function(method, [first, *positional], keywords, frame, node)
        return stepped(value, node, frame)
    idle = _reuse_idle(method, instance, frame)
    if idle is not None:
        return idle
    trace = _Trace.start(frame, instance)
    value = call_function(method, [owner, *positional], keywords, frame, node)
    _remember_idle(method, trace, value, frame)
    return stepped(value, node, frame)


@dataclass(slots=True)
class _Trace:
    """What a run had done before a call, to tell afterwards what the call did."""

    instance: Instance
    writes: int
    attributes: dict[str, object]
    lookups: set[Lookup]
    called: set[str]

    @classmethod
    def start(cls, frame: Frame, instance: Instance) -> _Trace:
        """The run's record starts empty until `stop`."""
        run = frame.run
        trace = cls(instance, len(run.writes), dict(instance.attributes), run.lookups, run.called)
        run.lookups, run.called = set(), set()
        return trace

    def stop(self, frame: Frame) -> tuple[frozenset[Lookup], frozenset[str]]:
        run = frame.run
        lookups, called = frozenset(run.lookups), frozenset(run.called)
        self.lookups |= lookups
        self.called |= called
        run.lookups, run.called = self.lookups, self.called
        return lookups, called


def _reuse_idle(method: FunctionInfo, instance: Instance, frame: Frame) -> Value | None:
    run = frame.run
    summary = run.summaries.idle.get(id(method.node)) if run.summaries else None
    if summary is None or not summary.fits(instance.cls, run.project):
        return None
    run.lookups |= summary.lookups
    run.called |= summary.called
    return summary.value


def _remember_idle(method: FunctionInfo, trace: _Trace, value: Value, frame: Frame) -> None:
    """A method that set nothing and gave nothing of interest need not run again."""
    lookups, called = trace.stop(frame)
    run = frame.run
    idle = (
        len(run.writes) == trace.writes
        and trace.instance.attributes == trace.attributes
        and not value.may_be_tensor
        and value.kinds <= {Kind.NONE, Kind.UNKNOWN, Kind.NUMBER, Kind.TEXT}
        and id(method.node) not in run.stack
    )
    if idle and run.summaries is not None:
        run.summaries.idle[id(method.node)] = Summary(lookups, called, value)


# -- super()


def super_receiver(function: ast.expr, frame: Frame) -> Value | None:
    """The self that `super().name` speaks of; None for any other expression."""
    if not isinstance(function, ast.Attribute):
        return None
    target = function.value
    called = target.func if isinstance(target, ast.Call) else None
    if not (isinstance(called, ast.Name) and called.id == "super"):
        return None
    current: Frame | None = frame
    while current is not None:
        for value in current.names.values():
            if isinstance(value.ref, SelfRef | ObjectRef):
                return value
        current = current.around
    return None


def call_super(node: ast.Call, owner: Value, frame: Frame) -> Value:
    """`super().name(...)`."""
    assert isinstance(node.func, ast.Attribute)
    name, ref, project = node.func.attr, owner.ref, frame.run.project
    positional, keywords = evaluate_arguments(node, frame)
    cls = ref.instance.cls if isinstance(ref, SelfRef) else None
    cls = ref.cls if isinstance(ref, ObjectRef) else cls
    if cls is None:
        return v.UNKNOWN
    method = project.method(cls, name, after=frame.owner)
    if isinstance(ref, SelfRef):
        frame.run.lookups.add((name, frame.owner, method))
        if method is None:
            return _call_foreign_base(name, cls, ref.instance, positional, keywords, node, frame)
        if name == "__init__":
            return _call_constructor(method, owner, ref.instance, positional, keywords, node, frame)
    if method is None:
        return v.UNKNOWN
    return call_function(method, [owner, *positional], keywords, frame, node)


def _call_foreign_base(
    name: str,
    cls: ClassInfo,
    instance: Instance,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    project = frame.run.project
    if name == "__init__" and (project.is_module(cls) or project.unresolved(cls)):
        instance.initialised = True
    elif name in _REGISTRARS:
        register(name, positional, keywords, node, frame)
    return v.UNKNOWN


def _call_constructor(
    method: FunctionInfo,
    owner: Value,
    instance: Instance,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    """A base constructor: run it, or take over what its own class's construction showed."""
    run = frame.run
    summary = run.summaries.constructors.get(id(method.node)) if run.summaries else None
    if summary is None or summary.attributes is None or not summary.fits(instance.cls, run.project):
        return call_function(method, [owner, *positional], keywords, frame, node)
    for name, attribute in summary.attributes.items():
        mine = instance.attributes.get(name)
        instance.attributes[name] = (
            replace(attribute, writes=attribute.writes | mine.writes)
            if mine is not None and frame.context.arms == ()
            else join_attributes(mine, attribute)
            if mine is not None
            else attribute
        )
    instance.initialised |= summary.initialised
    run.inherited += summary.writes
    run.lookups |= summary.lookups
    run.called |= summary.called
    return v.NONE
