"""Project -> Survey: every class constructed once in the abstract, its tensor sites collected.

A site is one assignment in the source; it may run in the constructors of many concrete classes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bufferize.classes.candidates import Candidate, holds_tensors
from bufferize.classes.looks import looks_like_module
from bufferize.classes.usage import is_used_as_tensor
from bufferize.classes.uses import (
    Use,
    called_on,
    calls_in,
    first_parameter,
    module_uses,
    uses_in,
)
from bufferize.classes.view import ClassView
from bufferize.project import ClassInfo, FunctionInfo, Module, Project
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.construct import construct
from bufferize.tensors.frame import Write
from bufferize.tensors.summaries import Summaries
from bufferize.tensors.values import Kind, Value


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
    _outside: dict[str, tuple[Use, ...]] = field(default_factory=dict)
    _module_uses: dict[Module, dict[str, list[Use]]] = field(default_factory=dict)
    _method_uses: dict[FunctionInfo, tuple[Use, ...]] = field(default_factory=dict)
    _self_calls: dict[FunctionInfo, frozenset[str]] = field(default_factory=dict)
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
            if value.may_be_tensor or holds_tensors(value):
                yield Candidate(key, write.attribute, write.owner, tuple(writes), value)

    def _value(self, writes: list[Write]) -> Value:
        """What a site assigns; of a loaded file, what the class takes it for."""
        value = v.join_all(w.value for w in writes)
        loaded = v.LOADED in value.traits and value.kinds <= {Kind.UNKNOWN, Kind.TENSOR}
        owner = writes[0].owner
        if not loaded or value.is_tensor or owner is None:
            return value
        classes = (owner, *self.project.children(owner))
        if is_used_as_tensor(classes, writes[0].attribute):
            return replace(value, kinds=frozenset({Kind.TENSOR}))
        return value

    def constructed_in(self, module: Module) -> dict[str, str]:
        """`receiver = name(...)` anywhere in the file, by receiver."""
        if module not in self._constructed:
            self._constructed[module] = constructed(module)
        return self._constructed[module]

    def outside(self, attribute: str) -> tuple[Use, ...]:
        """What any file of the project does to any `x.attribute`."""
        if attribute not in self._outside:
            found: list[Use] = []
            for module in self.modules_with(f".{attribute}"):
                if module not in self._module_uses:
                    self._module_uses[module] = module_uses(module)
                found += self._module_uses[module].get(attribute, ())
            self._outside[attribute] = tuple(found)
        return self._outside[attribute]

    def method_uses(self, method: FunctionInfo) -> tuple[Use, ...]:
        """What a method does to attributes of its own receiver."""
        if method not in self._method_uses:
            receiver = first_parameter(method.node)
            uses = uses_in(method.node, method.module, method.name)
            self._method_uses[method] = tuple(u for u in uses if u.receiver == receiver)
        return self._method_uses[method]

    def self_calls(self, method: FunctionInfo) -> frozenset[str]:
        """Names of the methods that a method calls on its own receiver."""
        if method not in self._self_calls:
            receiver = first_parameter(method.node)
            self._self_calls[method] = called_on(receiver, method.node)
        return self._self_calls[method]

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
