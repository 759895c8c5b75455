"""One class as the hazards see it: its construction, its relatives, the uses of its attributes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bufferize.classes.candidates import Candidate
from bufferize.classes.relations import reads
from bufferize.classes.uses import Use
from bufferize.project import ClassInfo, ExternalSymbol, FunctionInfo, Module, Project
from bufferize.tensors.construct import Construction, run_method
from bufferize.tensors.frame import Write
from bufferize.tensors.values import Value

if TYPE_CHECKING:
    from bufferize.classes.survey import Survey

_CONSTRUCTORS = frozenset({"__init__", "__post_init__"})


@dataclass(eq=False)
class ClassView:
    """One class as the hazards see it: its construction, relatives and attribute uses."""

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

    @cached_property
    def _methods_by_name(self) -> dict[str, list[FunctionInfo]]:
        found: dict[str, list[FunctionInfo]] = {}
        for method in self.family_methods:
            found.setdefault(method.name, []).append(method)
        return found

    def reached_by(self, methods: Iterable[FunctionInfo]) -> frozenset[str]:
        """Names of these methods and of what they call on self, directly or not."""
        waiting = list(methods)
        names = {method.name for method in waiting}
        while waiting:
            called = self.survey.self_calls(waiting.pop()) - names
            names |= called
            for name in called:
                waiting += self._methods_by_name.get(name, ())
        return frozenset(names)

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
        for method in self.family_methods:
            for use in self.survey.method_uses(method):
                found.setdefault(use.attribute, []).append(use)
        return found

    def uses(self, attribute: str) -> tuple[Use, ...]:
        """What the methods of the family do to `self.attribute`."""
        return tuple(self._own_uses.get(attribute, ()))

    @cached_property
    def _called_later(self) -> frozenset[str]:
        """Methods that may run after construction, also some that the constructor calls, too."""
        later = [
            m
            for m in self.family_methods
            # some constructors run forward once, to learn a shape
            if not self.is_constructing(m.name) or m.name in {"forward", "__call__"}
        ]
        return self.reached_by(later) - _CONSTRUCTORS

    def runs_later(self, function: str) -> bool:
        """Whether a method of that name may run on an object that is already built."""
        return function in self._called_later

    def uses_after(self, attribute: str) -> tuple[Use, ...]:
        """The same, in methods that may run after construction."""
        return tuple(u for u in self.uses(attribute) if self.runs_later(u.function))

    def uses_from_outside(self, attribute: str) -> tuple[Use, ...]:
        """What other code does to `model.attribute`, if `model` may be of this class."""
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

    def takes_arguments(self, use: Use) -> bool:
        """Whether what is written comes from the arguments of the method that writes it."""
        for method in self.family_methods:
            if method.name == use.function and method.module is use.module:
                args = method.node.args
                names = {a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs][1:]}
                values = [n for n in (use.value, use.node) if isinstance(n, ast.expr)]
                used = {n.id for v in values for n in ast.walk(v) if isinstance(n, ast.Name)}
                return bool(names & used)
        return False

    @cached_property
    def _later_values(self) -> dict[str, list[tuple[Use, Value]]]:
        found: dict[str, list[tuple[Use, Value]]] = {}
        names = {w.attribute for w in self.construction.writes if w.value.may_be_tensor}
        for method in self.family_methods:
            if not self.runs_later(method.name):
                continue
            if method.decorators & {"staticmethod", "classmethod"}:
                continue
            assigned = {
                use.attribute: use
                for use in self.survey.method_uses(method)
                if use.kind == "assign" and use.attribute in names
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
        """(class, node, 'assignment' | 'property' | 'method') that has the name already."""
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
