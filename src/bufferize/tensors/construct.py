"""Class -> Construction: one abstract run of its constructor and all it calls on self."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from bufferize.project import ClassInfo, FunctionInfo, Project
from bufferize.tensors import values as v
from bufferize.tensors.annotations import value_of_annotation
from bufferize.tensors.calls import call_function
from bufferize.tensors.execute import execute_block
from bufferize.tensors.frame import Attribute, Frame, Instance, Run, Write, self_value
from bufferize.tensors.parameters import parameter_value
from bufferize.tensors.summaries import Summaries, Summary
from bufferize.tensors.values import Kind, Value


@dataclass(frozen=True, slots=True, eq=False)
class Construction:
    """What constructing one concrete class does to its object."""

    cls: ClassInfo
    instance: Instance
    # all writes to its object, those of base constructors first
    writes: tuple[Write, ...]
    # the writes that were seen in this run for the first time
    own_writes: tuple[Write, ...]
    # methods the constructor calls on self, directly or not
    called: frozenset[str]


def construct(project: Project, cls: ClassInfo, summaries: Summaries | None = None) -> Construction:
    """Run the constructor of `cls` with what its signature tells of the arguments."""
    run = Run(project, summaries=summaries)
    instance = Instance(cls)
    frame = Frame(run, cls.module, owner=cls)
    owner = self_value(instance)
    constructor = project.method(cls, "__init__")
    if constructor is None:
        instance.initialised = True
        _fields(project, cls, instance, frame)
    elif constructor.owner is cls or summaries is None:
        call_function(constructor, [owner, *arguments_of(constructor, frame)], {}, frame)
    else:
        _inherit(project, constructor, owner, instance, frame)
    if cls.is_dataclass or constructor is None:
        post = project.method(cls, "__post_init__")
        if post is not None:
            call_function(post, [owner, *arguments_of(post, frame)], {}, frame)
    if summaries is not None and constructor is not None and constructor.owner is cls:
        _summarise(constructor, run, instance, summaries)
    writes = (*run.inherited, *run.writes)
    return Construction(cls, instance, writes, tuple(run.writes), frozenset(run.called))


def _inherit(
    project: Project, constructor: FunctionInfo, owner: Value, instance: Instance, frame: Frame
) -> None:
    """The class has no constructor of its own: a base class's runs, or has run already."""
    summaries = frame.run.summaries
    summary = summaries.constructors.get(id(constructor.node)) if summaries else None
    if summary is None or summary.attributes is None or not summary.fits(instance.cls, project):
        call_function(constructor, [owner, *arguments_of(constructor, frame)], {}, frame)
        return
    instance.attributes = dict(summary.attributes)
    instance.initialised = summary.initialised
    frame.run.inherited += summary.writes
    frame.run.called |= summary.called


def _summarise(
    constructor: FunctionInfo, run: Run, instance: Instance, summaries: Summaries
) -> None:
    summaries.constructors[id(constructor.node)] = Summary(
        frozenset(run.lookups),
        frozenset(run.called),
        v.NONE,
        dict(instance.attributes),
        (*run.inherited, *run.writes),
        instance.initialised,
    )


def arguments_of(function: FunctionInfo, frame: Frame) -> list[Value]:
    """Values of a method's parameters behind self, from annotations and defaults alone."""
    args = function.node.args
    inner = Frame(frame.run, function.module, function, function.owner)
    parameters = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(parameters) - len(args.defaults)) + list(args.defaults)
    pairs = list(zip(parameters, defaults, strict=True))[1:]
    return [parameter_value(p, d, inner, handed_in=True) for p, d in pairs]


def _fields(project: Project, cls: ClassInfo, instance: Instance, frame: Frame) -> None:
    """A dataclass sets its fields before __post_init__ runs."""
    for base in reversed(project.mro(cls)):
        if not isinstance(base, ClassInfo) or not base.is_dataclass:
            continue
        instance.initialised = False
        for name, statement in base.attributes.items():
            if isinstance(statement, ast.AnnAssign):
                value = value_of_annotation(statement.annotation, base.module, frame)
                if value.kinds & {Kind.TENSOR, Kind.ARRAY}:
                    value = replace(
                        value,
                        traits=value.traits | {v.HANDED_IN},
                        storage=frozenset({f"argument {name}"}),
                    )
                instance.attributes[name] = Attribute(value)


def run_method(
    project: Project, construction: Construction, method: FunctionInfo
) -> tuple[Write, ...]:
    """Writes of a method that runs later on the constructed object, with unknown arguments."""
    run = Run(project)
    instance = construction.instance.copy()
    frame = Frame(run, method.module, method, method.owner)
    names = method.node.args.posonlyargs + method.node.args.args
    if not names:
        return ()
    inner = Frame(run, method.module, method, method.owner)
    inner.names = dict(
        zip(
            [a.arg for a in names],
            [self_value(instance), *arguments_of(method, frame)],
            strict=True,
        )
    )
    for extra in method.node.args.kwonlyargs:
        inner.names[extra.arg] = parameter_value(extra, None, inner, handed_in=False)
    execute_block(method.node.body, inner)
    return tuple(run.writes)
