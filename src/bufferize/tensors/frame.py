"""The state of one abstract run: names, the object under construction, a statement's context."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bufferize.project import ClassInfo, FunctionInfo, Module, Project
from bufferize.tensors.values import Kind, Value, join, make

if TYPE_CHECKING:
    from bufferize.tensors.summaries import Summaries


@dataclass(frozen=True, slots=True)
class Attribute:
    """What `self.x` holds on this path, and the plain writes that may have set it before."""

    value: Value
    # keys of the Writes on this path, first to last joined
    writes: frozenset[int] = frozenset()
    # how the name may be registered on this path: 'plain', 'buffer', 'parameter', 'module'
    slots: frozenset[str] = frozenset({"plain"})


def join_attributes(left: Attribute, right: Attribute) -> Attribute:
    return Attribute(
        join(left.value, right.value), left.writes | right.writes, left.slots | right.slots
    )


@dataclass(slots=True)
class Instance:
    """The object under construction: one per concrete class, flow-sensitive."""

    cls: ClassInfo
    attributes: dict[str, Attribute] = field(default_factory=dict)
    # False until nn.Module.__init__ surely ran on this path
    initialised: bool = False

    def copy(self) -> Instance:
        return Instance(self.cls, dict(self.attributes), self.initialised)

    def join(self, other: Instance) -> None:
        for name, attribute in other.attributes.items():
            mine = self.attributes.get(name)
            self.attributes[name] = join_attributes(mine, attribute) if mine else attribute
        self.initialised = self.initialised and other.initialised

    def replace_with(self, other: Instance) -> None:
        self.attributes = other.attributes
        self.initialised = other.initialised


@dataclass(frozen=True, slots=True, eq=False)
class SelfRef:
    """The receiver of the constructor that runs."""

    instance: Instance


@dataclass(frozen=True, slots=True, eq=False)
class ObjectRef:
    """An instance of a class of the project that is not under construction."""

    cls: ClassInfo


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A local function or lambda with the names around it."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    frame: Frame


@dataclass(frozen=True, slots=True)
class Context:
    """Where a statement stands: the branches around it, loops, with-blocks."""

    # (id of the branching statement, arm): sites in different arms of one `if` exclude each other
    arms: tuple[tuple[int, str], ...] = ()
    in_loop: bool = False
    in_try: bool = False
    no_grad: bool = False

    def within(self, **changes: object) -> Context:
        return replace(self, **changes)  # type: ignore[arg-type]

    def arm(self, node: ast.AST, name: str) -> Context:
        return replace(self, arms=(*self.arms, (id(node), name)))


@dataclass(slots=True)
class Frame:
    """One function (or module level) being run."""

    run: Run
    module: Module
    function: FunctionInfo | None = None
    # the class in whose body the function stands: where super() starts
    owner: ClassInfo | None = None
    names: dict[str, Value] = field(default_factory=dict)
    around: Frame | None = None
    context: Context = field(default_factory=Context)
    returned: list[Value] = field(default_factory=list)
    # keys of sites: the call path from the constructor, for readers
    path: tuple[str, ...] = ()
    # states at `break` and `continue`, one list per loop around
    breaks: list[list[Snapshot]] = field(default_factory=list)
    # the object's state at each `return`
    exits: list[Instance] = field(default_factory=list)

    @property
    def instance(self) -> Instance | None:
        """The object under construction, when the first parameter stands for it."""
        for value in self.names.values():
            if isinstance(value.ref, SelfRef):
                return value.ref.instance
        return self.around.instance if self.around else None

    def lookup(self, name: str) -> Value | None:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.around
        return None

    @property
    def outer(self) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
        if self.function is None:
            return self.around.outer if self.around else ()
        return (*self.function.outer, self.function.node)


@dataclass(slots=True)
class Snapshot:
    """Names and attributes at one point, to be joined or restored."""

    names: dict[str, Value]
    instance: Instance | None

    @classmethod
    def of(cls, frame: Frame) -> Snapshot:
        instance = frame.instance
        return cls(dict(frame.names), instance.copy() if instance else None)

    def restore(self, frame: Frame) -> None:
        frame.names = dict(self.names)
        instance = frame.instance
        if instance is not None and self.instance is not None:
            instance.replace_with(self.instance.copy())

    def join_into(self, frame: Frame) -> None:
        for name, value in self.names.items():
            mine = frame.names.get(name)
            # a name bound on one path only: what it holds where it is bound
            frame.names[name] = join(mine, value) if mine is not None else value
        instance = frame.instance
        if instance is not None and self.instance is not None:
            instance.join(self.instance)


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """One run of a statement that sets an attribute of the object under construction."""

    key: int
    attribute: str
    value: Value
    node: ast.stmt | ast.Call
    # the expression assigned, None where it is part of a larger one (tuple unpacking)
    expression: ast.expr | None
    # 'plain', 'annotated', 'chained', 'tuple', 'setattr', 'augmented', 'register', 'parameter',
    # 'module' or 'delete'
    form: str
    module: Module
    owner: ClassInfo | None
    function: FunctionInfo | None
    receiver: str
    context: Context
    initialised: bool
    earlier: Attribute | None
    concrete: ClassInfo
    # the name's Python source where it is no literal, else ''
    dynamic: str = ""
    # flag of a hand-written registration
    persistent: bool | None = None


@dataclass(slots=True)
class Run:
    """What all frames of one abstract run share."""

    project: Project
    writes: list[Write] = field(default_factory=list)
    # names of methods the constructor called on self
    called: set[str] = field(default_factory=set)
    memo: dict[object, Value] = field(default_factory=dict)
    stack: list[int] = field(default_factory=list)
    steps: int = 0
    # what module-level names hold, evaluated once
    globals: dict[tuple[int, str], Value] = field(default_factory=dict)
    # what the run looked up on self: (name, class behind which super() starts, function found)
    lookups: set[tuple[str, ClassInfo | None, FunctionInfo | None]] = field(default_factory=set)
    # writes of base constructors whose run was reused
    inherited: list[Write] = field(default_factory=list)
    summaries: Summaries | None = None


MAX_DEPTH = 12
MAX_STEPS = 60_000


def storage_of(frame: Frame, node: ast.AST) -> str:
    """A name for the storage that the expression creates."""
    return f"{id(frame.module):x}:{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"


def self_value(instance: Instance) -> Value:
    return make(Kind.MODULE, ref=SelfRef(instance))
