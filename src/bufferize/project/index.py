"""The project: files in the run plus installed source, resolved lazily by name.

Takes SourceFiles and a search path, gives symbols. Refuses to know what a tensor is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from bufferize.facts import KnownBase, known_base
from bufferize.model import SourceFile
from bufferize.project.names import Names
from bufferize.project.symbols import (
    ClassInfo,
    ExternalSymbol,
    FunctionInfo,
    ValueSymbol,
    dotted_name,
)

# packages whose own source is never read: their facts are tables
OPAQUE = frozenset(
    {"torch", "numpy", "scipy", "typing", "abc", "collections", "dataclasses", "functools", "math"}
)
_DEPTH = 12


class Project(Names):
    """A repository's names and class hierarchy: who inherits from whom, across files."""

    def __init__(self, sources: Iterable[SourceFile], search_path: Sequence[Path] = ()) -> None:
        super().__init__(sources, search_path)
        self._mro: dict[ClassInfo, tuple[ClassInfo | ExternalSymbol, ...]] = {}
        self._children: dict[ClassInfo, list[ClassInfo]] | None = None

    def bases(self, cls: ClassInfo) -> tuple[ClassInfo | ExternalSymbol | None, ...]:
        """What each base expression resolves to; None where it cannot be told."""
        return tuple(self._base(cls, base) for base in cls.node.bases)

    def _base(self, cls: ClassInfo, node: ast.expr) -> ClassInfo | ExternalSymbol | None:
        while isinstance(node, ast.Subscript):  # Generic[T]
            node = node.value
        if isinstance(node, ast.Call):
            return self._base_factory(cls, node)
        name = dotted_name(node)
        if name is None:
            return None
        symbol = self.resolve(cls.module, name, cls.outer)
        if symbol is cls:
            return None
        if isinstance(symbol, ValueSymbol):
            return self._base_value(cls, symbol)
        if symbol is None and "." not in name and name not in cls.module.bindings:
            return ExternalSymbol(f"builtins.{name}") if name in _BUILTINS else None
        return symbol if isinstance(symbol, ClassInfo | ExternalSymbol) else None

    def _base_factory(self, cls: ClassInfo, node: ast.Call) -> ClassInfo | ExternalSymbol | None:
        """`class A(with_metaclass(Meta, Base))` and `class A(make_base(...))`."""
        for argument in node.args:
            base = (
                self._base(cls, argument)
                if isinstance(argument, ast.Name | ast.Attribute)
                else None
            )
            if base is not None and self.is_module(base):
                return base
        return None

    def _base_value(self, cls: ClassInfo, symbol: ValueSymbol) -> ClassInfo | ExternalSymbol | None:
        """`Base = A if ... else B`: act only where both are modules."""
        node = symbol.node
        if isinstance(node, ast.IfExp):
            names = [dotted_name(node.body), dotted_name(node.orelse)]
            found = [self.resolve(symbol.module, name) for name in names if name]
            modules = [
                f for f in found if isinstance(f, ClassInfo | ExternalSymbol) and self.is_module(f)
            ]
            return modules[0] if len(modules) == 2 else None
        return None

    def mro(self, cls: ClassInfo) -> tuple[ClassInfo | ExternalSymbol, ...]:
        """Linearised bases, the class itself first; unresolved bases are left out."""
        if cls not in self._mro:
            self._mro[cls] = (cls,)  # breaks cycles
            lists: list[list[ClassInfo | ExternalSymbol]] = [
                list(self.mro(b)) if isinstance(b, ClassInfo) else [b]
                for b in self.bases(cls)
                if b is not None
            ]
            direct = [line[0] for line in lists]
            self._mro[cls] = (cls, *_merge([*lists, direct]))
        return self._mro[cls]

    def unresolved(self, cls: ClassInfo) -> tuple[str, ...]:
        """Texts of the bases in the hierarchy that lead to no class and no known name."""
        texts = []
        for ancestor in self.mro(cls):
            if isinstance(ancestor, ClassInfo):
                pairs = zip(ancestor.node.bases, self.bases(ancestor), strict=True)
                for node, base in pairs:
                    if base is None or (
                        isinstance(base, ExternalSymbol) and external_base(base.name) is None
                    ):
                        texts.append(ast.unparse(node))
        return tuple(texts)

    def is_module(self, cls: ClassInfo | ExternalSymbol) -> bool:
        """Whether the class surely is an nn.Module."""
        line = self.mro(cls) if isinstance(cls, ClassInfo) else (cls,)
        known = [external_base(base.name) for base in line if isinstance(base, ExternalSymbol)]
        return any(base is not None and base.is_module for base in known)

    def module_kinds(self, cls: ClassInfo) -> frozenset[str]:
        """Kinds of the well-known bases: 'metric', 'script', 'lightning' ..."""
        line = self.mro(cls)
        known = [external_base(base.name) for base in line if isinstance(base, ExternalSymbol)]
        return frozenset(base.kind for base in known if base is not None)

    def base_chain(self, cls: ClassInfo) -> tuple[str, ...]:
        """The names from the class to the base that makes it a module."""
        chain = [cls.qualname]
        current = cls
        for _ in range(_DEPTH):
            found = [b for b in self.bases(current) if b is not None and self.is_module(b)]
            if not found:
                break
            step = found[0]
            if isinstance(step, ExternalSymbol):
                return (*chain, step.name)
            chain.append(step.qualname)
            current = step
        return tuple(chain)

    def children(self, cls: ClassInfo) -> tuple[ClassInfo, ...]:
        """Every judged class below `cls`, however deep."""
        if self._children is None:
            self._children = {}
            for module in self.judged_modules():
                for info in module.classes:
                    for ancestor in self.mro(info)[1:]:
                        if isinstance(ancestor, ClassInfo):
                            self._children.setdefault(ancestor, []).append(info)
        return tuple(self._children.get(cls, ()))

    def method(
        self, cls: ClassInfo, name: str, after: ClassInfo | None = None
    ) -> FunctionInfo | None:
        """The method found along the MRO; `after` starts behind that class, as super() does."""
        line = self.mro(cls)
        if after is not None and after in line:
            line = line[line.index(after) + 1 :]
        for base in line:
            if isinstance(base, ClassInfo) and name in base.methods:
                return base.methods[name]
        return None


_BUILTINS = frozenset(
    [
        "object",
        "Exception",
        "ValueError",
        "RuntimeError",
        "dict",
        "list",
        "tuple",
        "set",
        "str",
        "int",
        "float",
        "bytes",
        "type",
        "property",
    ]
)


@lru_cache(maxsize=4096)
def external_base(name: str) -> KnownBase | None:
    """What is known of a base class that is not part of the project."""
    if name.startswith("builtins."):
        return KnownBase(name, "builtins", "not-module")
    return known_base(name)


def _merge(lists: list[list[ClassInfo | ExternalSymbol]]) -> list[ClassInfo | ExternalSymbol]:
    """C3; where the order is inconsistent, plain depth-first order."""
    result: list[ClassInfo | ExternalSymbol] = []
    lists = [line for line in lists if line]
    while lists:
        for line in lists:
            head = line[0]
            if not any(head in other[1:] for other in lists):
                break
        else:
            head = lists[0][0]
        result.append(head)
        lists = [[x for x in line if x != head] for line in lists]
        lists = [line for line in lists if line]
    return result
