"""Names of a whole repository: files by dotted name, and what a name stands for in each.

Takes SourceFiles and a search path, gives symbols. Nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from bufferize import discover
from bufferize.errors import UnreadableFile
from bufferize.facts import module_classes
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


class Names:
    """Modules and names of a repository. Parses a file at most once, only when it is asked for."""

    def __init__(self, sources: Iterable[SourceFile], search_path: Sequence[Path] = ()) -> None:
        self._sources = {source.path: source for source in sources}
        self._search_path = tuple(search_path)
        self._modules: dict[Path, Module | None] = {}
        self._by_tail: dict[str, list[Path]] = {}
        self._resolved: dict[tuple[int, str, tuple[int, ...]], Symbol | None] = {}
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

    def is_judged(self, path: Path) -> bool:
        """Whether the file is one of the run's own."""
        return path in self._sources

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

    def method(
        self, cls: ClassInfo, name: str, after: ClassInfo | None = None
    ) -> FunctionInfo | None:
        """The method found along the class's bases: the hierarchy knows them."""
        raise NotImplementedError

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
