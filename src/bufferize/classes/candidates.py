"""Survey of a project: every class constructed once in the abstract, its tensor sites collected.

A site is one assignment in the source; it may run in the constructors of many concrete classes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from bufferize.classes.looks import looks_like_module
from bufferize.classes.usage import is_used_as_tensor
from bufferize.classes.uses import (
    Use,
    called_on,
    calls_in,
    first_parameter,
    module_uses,
    place,
    reads,
    uses_in,
)
from bufferize.project import ClassInfo, ExternalSymbol, FunctionInfo, Module, Project
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.construct import Construction, construct, run_method
from bufferize.tensors.frame import Write
from bufferize.tensors.summaries import Summaries
from bufferize.tensors.values import Kind, Value

_CONSTRUCTORS = frozenset({"__init__", "__post_init__"})


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A site whose value may be a tensor, with every abstract run that reached it."""

    key: int
    attribute: str
    # the class in whose body the statement stands
    cls: ClassInfo
    writes: tuple[Write, ...]
    # what the site assigns, joined over all runs
    value: Value

    @property
    def write(self) -> Write:
        return self.writes[0]

    @property
    def node(self) -> ast.stmt | ast.Call:
        return self.write.node

    @property
    def form(self) -> str:
        return self.write.form

    @property
    def where(self) -> str:
        return place(self.write.module, self.node)

    @property
    def is_recomputable(self) -> bool:
        """Whether every construction with the same arguments makes the same value."""
        return not self.value.traits & {v.RANDOM, v.LOADED, v.HANDED_IN}

    @property
    def earlier(self) -> frozenset[int]:
        """Keys of the writes that may have set the attribute before on the same path."""
        keys: set[int] = set()
        for write in self.writes:
            if write.earlier is not None:
                keys |= write.earlier.writes
        return frozenset(keys - {self.key})

    @property
    def initialised(self) -> bool:
        """Whether nn.Module.__init__ surely ran before, in every run."""
        return all(write.initialised for write in self.writes)

    @property
    def is_conditional(self) -> bool:
        """Whether the constructor may end without running the site."""
        return any(w.context.arms or w.context.in_try for w in self.writes)


@dataclass(eq=False, slots=True)
class Survey:
    """All that was found in a project, before anything is judged."""

    project: Project
    views: dict[ClassInfo, ClassView] = field(default_factory=dict)
    # every write of every run, by site
    writes: dict[int, list[Write]] = field(default_factory=dict)
    # site -> sites that may run after it on the same attribute
    later: dict[int, set[int]] = field(default_factory=dict)
    summaries: Summaries = field(default_factory=Summaries)
    _seen: set[ClassInfo] = field(default_factory=set)
    _outside: dict[str, list[Use]] | None = None
    _constructed: dict[Module, dict[str, str]] = field(default_factory=dict)
    _mentions: dict[str, tuple[Module, ...]] = field(default_factory=dict)
    _calls: dict[Module, dict[str, list[ast.Call]]] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project) -> Survey:
        survey = cls(project)
        for module in project.judged_modules():
            for info in module.classes:
                survey._construct(info)
        survey._order()
        return survey

    def _construct(self, info: ClassInfo) -> None:
        """Bases first: their constructors' runs are reused by the classes below."""
        if info in self._seen:
            return
        self._seen.add(info)
        certain = self.project.is_module(info)
        if not certain and not looks_like_module(info, self.project):
            return
        for base in self.project.mro(info)[1:]:
            if isinstance(base, ClassInfo):
                self._construct(base)
        construction = construct(self.project, info, self.summaries)
        if not info.module.judged:
            return
        self.views[info] = ClassView(self, info, construction, certain)
        for write in construction.own_writes:
            self.writes.setdefault(write.key, []).append(write)

    def _order(self) -> None:
        for writes in self.writes.values():
            for write in writes:
                for key in write.earlier.writes if write.earlier else ():
                    if key != write.key:
                        self.later.setdefault(key, set()).add(write.key)

    def candidates(self) -> Iterator[Candidate]:
        """Candidates in source order, file by file."""
        for key, writes in self.writes.items():
            write = writes[0]
            if write.owner is None or not write.module.judged or write.owner not in self.views:
                continue
            if write.form in {"register", "parameter", "module", "delete", "augmented", "loop"}:
                continue
            if all(w.earlier is not None and w.earlier.slots == {"buffer"} for w in writes):
                continue  # a new value for a buffer that is there
            value = self._value(writes)
            if value.may_be_tensor or _holds_tensors(value):
                yield Candidate(key, write.attribute, write.owner, tuple(writes), value)

    def _value(self, writes: list[Write]) -> Value:
        """What a site assigns; of a loaded file, what the class takes it for."""
        value = v.join_all(w.value for w in writes)
        loaded = v.LOADED in value.traits and value.kinds <= {Kind.UNKNOWN, Kind.TENSOR}
        owner = writes[0].owner
        if loaded and not value.is_tensor and owner is not None:
            if is_used_as_tensor((owner, *self.project.children(owner)), writes[0].attribute):
                return replace(value, kinds=frozenset({Kind.TENSOR}))
        return value

    def constructed_in(self, module: Module) -> dict[str, str]:
        """`receiver = name(...)` anywhere in the file, by receiver."""
        if module not in self._constructed:
            self._constructed[module] = constructed(module)
        return self._constructed[module]

    def outside(self, attribute: str) -> list[Use]:
        """What any file of the project does to any `x.attribute`."""
        if self._outside is None:
            self._outside = {}
            for module in self.project.judged_modules():
                for name, uses in module_uses(module).items():
                    self._outside.setdefault(name, []).extend(uses)
        return self._outside.get(attribute, [])

    def calls_of(self, name: str, beside: str = "") -> Iterator[tuple[Module, ast.Call]]:
        """Every call of something whose last name is `name`, in files that hold `beside` too."""
        for module in self.modules_with(beside or f"{name}("):
            if f"{name}(" not in module.source.text:
                continue
            if module not in self._calls:
                self._calls[module] = calls_in(module)
            for call in self._calls[module].get(name, ()):
                yield module, call

    def modules_with(self, text: str) -> tuple[Module, ...]:
        """The files of the project in which `text` occurs."""
        if text not in self._mentions:
            self._mentions[text] = tuple(
                m for m in self.project.judged_modules() if text in m.source.text
            )
        return self._mentions[text]


def _holds_tensors(value: Value) -> bool:
    """A list, tuple or dict with a tensor in it."""
    if not value.kinds & {Kind.SEQUENCE, Kind.MAPPING}:
        return False
    parts = [*(value.items or ()), *([value.element] if value.element else [])]
    return any(part.is_tensor or _holds_tensors(part) for part in parts)


@dataclass(eq=False)
class ClassView:
    """One class as the hazards see it: its construction, its relatives, the uses of its attributes."""

    survey: Survey
    cls: ClassInfo
    construction: Construction
    # False where the class only looks like a module
    certain: bool

    @property
    def project(self) -> Project:
        return self.survey.project

    @property
    def module(self) -> Module:
        return self.cls.module

    @cached_property
    def ancestors(self) -> tuple[ClassInfo, ...]:
        """Classes above this one whose source is known, nearest first."""
        return tuple(b for b in self.project.mro(self.cls)[1:] if isinstance(b, ClassInfo))

    @cached_property
    def external_bases(self) -> tuple[str, ...]:
        return tuple(b.name for b in self.project.mro(self.cls) if isinstance(b, ExternalSymbol))

    @cached_property
    def descendants(self) -> tuple[ClassInfo, ...]:
        return self.project.children(self.cls)

    @cached_property
    def family(self) -> tuple[ClassInfo, ...]:
        """The class, what it inherits from and what inherits from it."""
        return (self.cls, *self.ancestors, *self.descendants)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Kinds of the well-known bases: 'metric', 'script', 'lightning' ..."""
        return self.project.module_kinds(self.cls)

    def overrides(self, *names: str) -> FunctionInfo | None:
        """The first of the methods that the class or an ancestor with known source defines."""
        for name in names:
            for base in (self.cls, *self.ancestors):
                if name in base.methods:
                    return base.methods[name]
        return None

    @cached_property
    def family_methods(self) -> tuple[FunctionInfo, ...]:
        """Every method of the family: of the class first, then of its relatives."""
        return tuple(method for cls in self.family for method in cls.methods.values())

    def reached_from(self, *names: str) -> frozenset[str]:
        """These methods and what they call on self, directly or not."""
        return self.reached_by(m for m in self.family_methods if m.name in names)

    def reached_by(self, methods: Iterable[FunctionInfo]) -> frozenset[str]:
        """Names of these methods and of what they call on self, directly or not."""
        names: set[str] = set()
        waiting = list(methods)
        while waiting:
            method = waiting.pop()
            names.add(method.name)
            called = self._self_calls.get(id(method.node), frozenset()) - names
            waiting += [m for m in self.family_methods if m.name in called]
            names |= called
        return frozenset(names)

    @cached_property
    def _self_calls(self) -> dict[int, frozenset[str]]:
        """Names that each method calls on its first parameter or on super()."""
        found: dict[int, frozenset[str]] = {}
        for method in self.family_methods:
            receiver = first_parameter(method.node)
            found[id(method.node)] = frozenset(
                node.func.attr
                for node in ast.walk(method.node)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and _is_receiver(node.func.value, receiver)
            )
        return found

    @cached_property
    def forward_methods(self) -> frozenset[str]:
        """Names of the methods that run in forward."""
        return self.reached_from("forward", "__call__", "training_step") - {"__init__"}

    def is_constructing(self, function: str) -> bool:
        """Whether a method of that name runs while the object is constructed."""
        return function in _CONSTRUCTORS or function in self.construction.called

    @cached_property
    def _own_uses(self) -> dict[str, list[Use]]:
        found: dict[str, list[Use]] = {}
        for cls in self.family:
            for method in cls.methods.values():
                receiver = first_parameter(method.node)
                for use in uses_in(method.node, cls.module, method.name):
                    if use.receiver == receiver:
                        found.setdefault(use.attribute, []).append(use)
        return found

    def uses(self, attribute: str) -> tuple[Use, ...]:
        """What the methods of the family do to `self.attribute`."""
        return tuple(self._own_uses.get(attribute, ()))

    @cached_property
    def _called_later(self) -> frozenset[str]:
        """Methods that may run after construction, also some that the constructor calls, too."""
        calls = {
            name: called_on(first_parameter(method.node), method.node)
            for cls in self.family
            for name, method in cls.methods.items()
        }
        reached = {name for name in calls if not self.is_constructing(name)}
        waiting = list(reached)
        while waiting:
            for name in calls.get(waiting.pop(), ()):
                if name in calls and name not in reached and name not in _CONSTRUCTORS:
                    reached.add(name)
                    waiting.append(name)
        return frozenset(reached)

    def runs_later(self, function: str) -> bool:
        """Whether a method of that name may run on an object that is already built."""
        return function in self._called_later

    def uses_after(self, attribute: str) -> tuple[Use, ...]:
        """The same, in methods that may run after construction."""
        return tuple(u for u in self.uses(attribute) if self.runs_later(u.function))

    def uses_from_outside(self, attribute: str) -> tuple[Use, ...]:
        """What other code does to `model.attribute`, where `model` may be an instance of this class."""
        found = []
        for use in self.survey.outside(attribute):
            # `self` outside the family is an object of another class
            if use.receiver in {"?", "self"} or self._is_own(use):
                continue
            if use.kind in {"register", "parameter"} or not _may_be_instance(use, self):
                continue
            found.append(use)
        return tuple(found)

    def _is_own(self, use: Use) -> bool:
        """Whether the use stands in a class of the family."""
        return any(
            cls.module is use.module
            and cls.node.lineno <= use.line <= (cls.node.end_lineno or cls.node.lineno)
            for cls in self.family
        )

    def updates_itself(self, use: Use) -> bool:
        """Whether an assignment after construction takes the old value in, also through locals."""
        if use.relation != "fresh":
            return use.relation == "itself"
        for other, value in self.values_after(use.attribute):
            if other.node is use.node:
                chain = [node for module, node in value.chain if module is use.module]
                return any(reads(node, use.receiver, use.attribute) for node in chain)
        return False

    @cached_property
    def _later_values(self) -> dict[str, list[tuple[Use, Value]]]:
        found: dict[str, list[tuple[Use, Value]]] = {}
        names = {w.attribute for w in self.construction.writes if w.value.may_be_tensor}
        for cls in self.family:
            for method in cls.methods.values():
                if not self.runs_later(method.name) or method.decorators & {
                    "staticmethod",
                    "classmethod",
                }:
                    continue
                assigned = {
                    u.attribute: u
                    for u in uses_in(method.node, cls.module, method.name)
                    if u.kind == "assign"
                    and u.attribute in names
                    and u.receiver == first_parameter(method.node)
                }
                if assigned:
                    for write in run_method(self.project, self.construction, method):
                        use = assigned.get(write.attribute)
                        if use is not None:
                            found.setdefault(write.attribute, []).append((use, write.value))
        return found

    def values_after(self, attribute: str) -> tuple[tuple[Use, Value], ...]:
        """What methods that run after construction assign to `self.attribute`."""
        return tuple(self._later_values.get(attribute, ()))

    def writes_of(self, attribute: str) -> tuple[Write, ...]:
        """All writes of the attribute while this class is constructed, bases included."""
        return tuple(w for w in self.construction.writes if w.attribute == attribute)

    def writes_in_family(self, attribute: str) -> tuple[Write, ...]:
        """The same for the class and every class below it, run by run."""
        views = [self.survey.views.get(cls) for cls in self.descendants]
        return tuple(w for view in [self, *views] if view for w in view.writes_of(attribute))

    def constructions_of(self, candidate: Candidate) -> tuple[Construction, ...]:
        """The constructions that reach the site: of the class itself, or of classes below it."""
        concrete = dict.fromkeys(write.concrete for write in candidate.writes)
        views = [self.survey.views.get(cls) for cls in concrete]
        return tuple(view.construction for view in views if view is not None)

    def class_level(self, attribute: str) -> tuple[ClassInfo, ast.AST, str] | None:
        """(class, node, 'assignment' | 'annotation' | 'property' | 'method') that has the name already."""
        for base in (self.cls, *self.ancestors):
            method = base.methods.get(attribute)
            if method is not None:
                is_property = any(
                    "property" in d or d.endswith((".setter", ".getter")) for d in method.decorators
                )
                return base, method.node, "property" if is_property else "method"
            statement = base.attributes.get(attribute)
            if statement is not None:
                bare = isinstance(statement, ast.AnnAssign) and statement.value is None
                if not bare:
                    return base, statement, "assignment"
        return None


def _is_receiver(node: ast.expr, receiver: str | None) -> bool:
    """`self` or `super()`."""
    if isinstance(node, ast.Name):
        return node.id == receiver
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _may_be_instance(use: Use, view: ClassView) -> bool:
    """Whether the receiver of a use elsewhere may hold an instance of the class.

    By what the receiver is bound to in that file; where that cannot be told, by whether the file
    knows the class at all: it defines it, or imports it under some name.
    """
    mine = {view.cls, *view.descendants}
    bound = view.survey.constructed_in(use.module).get(use.receiver)
    if bound is not None:
        symbol = view.project.resolve(use.module, bound)
        if isinstance(symbol, ClassInfo | ExternalSymbol):
            return symbol in mine
    return any(_is_known(cls, use.module, view.project) for cls in mine)


def _is_known(cls: ClassInfo, module: Module, project: Project) -> bool:
    if cls.module is module:
        return True
    if cls.node.name not in module.source.text:
        return False
    return any(
        project.resolve(module, name) is cls
        for name, bindings in module.bindings.items()
        if name == cls.node.name or any(getattr(b, "name", "") == cls.node.name for b in bindings)
    )


def constructed(module: Module) -> dict[str, str]:
    """Names bound to the result of a call, and the dotted name that is called."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = dotted_name(node.value.func)
            for target in node.targets:
                receiver = dotted_name(target)
                if called and receiver:
                    found[receiver] = called
    return found
