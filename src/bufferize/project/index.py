"""The project: files in the run plus installed source, resolved lazily by name.

Takes SourceFiles and a search path, gives symbols. Refuses to know what a tensor is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from bufferize import discover
from bufferize.errors import UnreadableFile
from bufferize.facts import KnownBase, known_base, module_classes
from bufferize.model import SourceFile
from bufferize.project.symbols import (
    Binding,
    ClassInfo,
    ExternalSymbol,
    FunctionInfo,
    FunctionNode,
    ImportBinding,
    Module,
    ModuleSymbol,
    Symbol,
    ValueSymbol,
    dotted_name,
    index_module,
    module_of,
)
from bufferize.syntax import parse_python

# packages whose own source is never read: their facts are tables
OPAQUE = frozenset(
    {"torch", "numpy", "scipy", "typing", "abc", "collections", "dataclasses", "functools", "math"}
)
_DEPTH = 12


class Project:
    """Names of a whole repository. Parses a file at most once, and only when it is asked for."""

    def __init__(self, sources: Iterable[SourceFile], search_path: Sequence[Path] = ()) -> None:
        self._sources = {source.path: source for source in sources}
        self._search_path = tuple(search_path)
        self._modules: dict[Path, Module | None] = {}
        self._by_tail: dict[str, list[Path]] = {}
        self._mro: dict[ClassInfo, tuple[ClassInfo | ExternalSymbol, ...]] = {}
        self._resolved: dict[tuple[int, str, tuple[int, ...]], Symbol | None] = {}
        self._children: dict[ClassInfo, list[ClassInfo]] | None = None
        self.failures: dict[Path, UnreadableFile] = {}
        for path in self._sources:
            tail = path.parent.name if path.name == "__init__.py" else path.stem
            self._by_tail.setdefault(tail, []).append(path)

    # -- modules

    def module_at(self, path: Path) -> Module | None:
        """The parsed module at `path`; None when it cannot be read (see `failures`)."""
        if path not in self._modules:
            self._modules[path] = self._parse(path)
        return self._modules[path]

    def judged_modules(self) -> Iterator[Module]:
        for path in self._sources:
            module = self.module_at(path)
            if module is not None:
                yield module

    def _parse(self, path: Path) -> Module | None:
        source = self._sources.get(path)
        judged = source is not None
        try:
            source = source or discover.read_source(path, str(path))
            tree = parse_python(source)
        except UnreadableFile as error:
            if judged:
                self.failures[path] = error
            return None
        return index_module(source, module_of(path)[0], tree, judged)

    def find_module(self, dotted: str, importer: Module | None = None) -> Module | None:
        """A module by its absolute dotted name: of the run's files, else of installed packages."""
        if not dotted or dotted.split(".")[0] in OPAQUE:
            return None
        path = self._own_path(dotted.split("."), importer) or self._installed_path(dotted)
        return self.module_at(path) if path else None

    def _own_path(self, parts: list[str], importer: Module | None) -> Path | None:
        """The run's file whose path ends in the dotted name; the nearest to the importer wins."""
        found = []
        for path in self._by_tail.get(parts[-1], ()):
            names = list(
                path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts
            )
            if names[-len(parts) :] == parts:
                found.append(path)
        if len(found) > 1 and importer is not None:
            home = importer.path.parts
            found.sort(key=lambda p: (-_common(p.parts, home), len(p.parts)))
        # a bare name is a file of the project only beside the importer or at a root: `import utils`
        if len(parts) == 1 and found and importer is not None:
            beside = [p for p in found if _importable(p, importer)]
            return beside[0] if beside else None
        return found[0] if found else None

    def _installed_path(self, dotted: str) -> Path | None:
        return _installed(self._search_path, dotted)

    def _relative(self, importer: Module, binding: ImportBinding) -> Path | None:
        folder = importer.path.parent
        for _ in range(binding.level - 1):
            folder = folder.parent
        return (
            self._file(folder.joinpath(*binding.module.split(".")))
            if binding.module
            else self._file(folder)
        )

    def _file(self, stem: Path) -> Path | None:
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if path in self._sources or path in self._modules or path.is_file():
                return path
        return None

    # -- names

    def resolve(
        self, module: Module, name: str, outer: Sequence[FunctionNode] = ()
    ) -> Symbol | None:
        """What the dotted `name` stands for in `module`; `outer` are the functions around it."""
        key = (id(module), name, tuple(map(id, outer)))
        if key not in self._resolved:
            self._resolved[key] = self._resolve(module, name.split("."), tuple(outer), 0)
        return self._resolved[key]

    def _resolve(
        self, module: Module, parts: list[str], outer: tuple[FunctionNode, ...], depth: int
    ) -> Symbol | None:
        if depth > _DEPTH:
            return None
        symbol = self._local(module, parts[0], outer, depth)
        symbol = symbol or self.lookup(module, parts[0], depth + 1)
        for part in parts[1:]:
            if symbol is None:
                return None
            symbol = self.member(symbol, part, depth + 1)
        return symbol

    def _local(
        self, module: Module, name: str, outer: tuple[FunctionNode, ...], depth: int
    ) -> Symbol | None:
        for function in reversed(outer):
            bound = module.names_in(function).get(name)
            if isinstance(bound, ast.ClassDef):
                return module.class_by_node.get(id(bound))
            if bound is not None:
                return self._follow(module, bound, depth + 1)
        return None

    def lookup(self, module: Module, name: str, depth: int = 0) -> Symbol | None:
        """What `name` stands for at the top level of `module`."""
        if depth > _DEPTH:
            return None
        bindings = module.bindings.get(name)
        if bindings:
            return self._best(module, bindings, depth)
        for star in module.stars:
            target = self._target(module, star)
            if target is not None and not name.startswith("_"):
                symbol = self.lookup(target, name, depth + 1)
                if symbol is not None:
                    return symbol
            elif target is None and _star_exports(star.module, name):
                return ExternalSymbol(f"{star.module}.{name}")
        return None

    def _best(self, module: Module, bindings: list[Binding], depth: int) -> Symbol | None:
        """The last binding that can be followed; a constant fallback in an `except` loses."""
        result: Symbol | None = None
        for binding in bindings:
            symbol = self._bound(module, binding, depth)
            if symbol is None:
                continue
            fallback = isinstance(symbol, ValueSymbol) and isinstance(symbol.node, ast.Constant)
            if not (fallback and result is not None):
                result = symbol
        return result

    def _bound(self, module: Module, binding: Binding, depth: int) -> Symbol | None:
        if isinstance(binding, ImportBinding):
            return self._follow(module, binding, depth + 1)
        if isinstance(binding, ast.ClassDef):
            return module.class_by_node.get(id(binding))
        if isinstance(binding, ast.FunctionDef | ast.AsyncFunctionDef):
            return module.functions.get(id(binding))
        name = dotted_name(binding)
        if name and name.split(".")[0] in module.bindings:  # alias = other.name
            return self._resolve(module, name.split("."), (), depth + 1) or ValueSymbol(
                module, binding
            )
        return ValueSymbol(module, binding)

    def _target(self, module: Module, binding: ImportBinding) -> Module | None:
        if binding.level:
            path = self._relative(module, binding)
            return self.module_at(path) if path else None
        return self.find_module(binding.module, module)

    def _follow(self, module: Module, binding: ImportBinding, depth: int) -> Symbol | None:
        if not binding.name:
            target = self.find_module(binding.module, module)
            return ModuleSymbol(target) if target else ExternalSymbol(binding.module)
        target = self._target(module, binding)
        if target is None:
            if binding.level:
                return None
            own = self.find_module(f"{binding.module}.{binding.name}", module)
            return ModuleSymbol(own) if own else ExternalSymbol(f"{binding.module}.{binding.name}")
        if target is not module:
            symbol = self.lookup(target, binding.name, depth + 1)
            if symbol is not None:
                return symbol
        return self._submodule(target, binding.name) or _absolute(binding, target)

    def follow(self, module: Module, binding: ImportBinding) -> Symbol | None:
        """What an import statement inside a function binds."""
        return self._follow(module, binding, 0)

    def _submodule(self, package: Module, name: str) -> Symbol | None:
        if not package.is_package:
            return None
        path = self._file(package.path.parent / name)
        module = self.module_at(path) if path else None
        return ModuleSymbol(module) if module else None

    def member(self, symbol: Symbol, name: str, depth: int = 0) -> Symbol | None:
        """`symbol.name`."""
        if isinstance(symbol, ExternalSymbol):
            longer = f"{symbol.name}.{name}"
            module = self.find_module(longer)
            return ModuleSymbol(module) if module else ExternalSymbol(longer)
        if isinstance(symbol, ModuleSymbol):
            return self.lookup(symbol.module, name, depth) or self._submodule(symbol.module, name)
        if isinstance(symbol, ClassInfo):
            nested = f"{symbol.qualname}.{name}"
            inner = next((c for c in symbol.module.classes if c.qualname == nested), None)
            return inner or self.method(symbol, name)
        return None

    # -- classes

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


@lru_cache(maxsize=4096)
def _installed(search_path: tuple[Path, ...], dotted: str) -> Path | None:
    relative = Path(*dotted.split("."))
    for folder in search_path:
        for path in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if path.is_file():
                return path
    return None


def _absolute(binding: ImportBinding, target: Module) -> ExternalSymbol | None:
    return ExternalSymbol(f"{target.dotted}.{binding.name}") if not target.judged else None


def _star_exports(module: str, name: str) -> bool:
    """Whether `from torch... import *` brings `name`, as far as the tables know."""
    from bufferize import facts

    if module.split(".")[0] not in {"torch"}:
        return False
    full = f"{module}.{name}"
    return (
        full in module_classes()
        or facts.function_returns(full) is not None
        or full in {"torch.nn.Parameter"}
    )


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count


def _importable(path: Path, importer: Module) -> bool:
    """`import name` reaches a file beside the importer, or a top-level package above it."""
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    return folder == importer.path.parent or folder in importer.path.parents or folder.name == "src"


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
