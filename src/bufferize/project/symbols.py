"""What a name can stand for, and the bindings of one parsed module.

These hold syntax nodes, so they never leave the analysis rooms.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bufferize.model import SourceFile

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class ImportBinding:
    """`import a.b as c` (name '') or `from a.b import c` (name 'c'); level counts leading dots."""

    module: str
    name: str
    level: int = 0


Binding = ImportBinding | ast.expr | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False, slots=True, repr=False)
class Module:
    """One parsed file: its tree, and each top-level name with all its bindings in order."""

    source: SourceFile
    dotted: str
    tree: ast.Module
    # False for modules of installed packages: read for their classes, never judged
    judged: bool = True
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[ImportBinding] = field(default_factory=list)
    classes: list[ClassInfo] = field(default_factory=list)
    class_by_node: dict[int, ClassInfo] = field(default_factory=dict)
    functions: dict[int, FunctionInfo] = field(default_factory=dict)
    _inner: dict[int, dict[str, ast.ClassDef | ImportBinding]] = field(default_factory=dict)

    def names_in(self, function: FunctionNode) -> dict[str, ast.ClassDef | ImportBinding]:
        """Classes and imports that stand anywhere in a function, by the name they bind."""
        if id(function) not in self._inner:
            found: dict[str, ast.ClassDef | ImportBinding] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.ClassDef):
                    found[node.name] = node
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    found |= dict(import_bindings(node))
            self._inner[id(function)] = found
        return self._inner[id(function)]

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@dataclass(eq=False, slots=True, repr=False)
class FunctionInfo:
    module: Module
    node: FunctionNode
    # the class whose body holds it, None for plain functions
    owner: ClassInfo | None = None
    # names bound in the functions around it (closures), innermost last
    outer: tuple[FunctionNode, ...] = ()

    @property
    def decorators(self) -> frozenset[str]:
        return frozenset(
            dotted_name(d.func if isinstance(d, ast.Call) else d) or ""
            for d in self.node.decorator_list
        )

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(eq=False, slots=True)
class ClassInfo:
    module: Module
    node: ast.ClassDef
    qualname: str
    # functions around the class, innermost last: their names are visible in its bases
    outer: tuple[FunctionNode, ...] = ()
    methods: dict[str, FunctionInfo] = field(default_factory=dict)
    # plain class-level assignments and bare annotations, by name
    attributes: dict[str, ast.stmt] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<class {self.module.dotted}:{self.qualname}>"

    @property
    def is_dataclass(self) -> bool:
        names = (
            dotted_name(d.func if isinstance(d, ast.Call) else d) or ""
            for d in self.node.decorator_list
        )
        return any(name.split(".")[-1] in {"dataclass", "define", "attrs"} for name in names)


@dataclass(frozen=True, slots=True)
class ExternalSymbol:
    """A name of a package that is not part of the project: 'torch.zeros'."""

    name: str


@dataclass(frozen=True, slots=True)
class ModuleSymbol:
    module: Module


@dataclass(frozen=True, slots=True)
class ValueSymbol:
    """A module-level name bound to an expression, to be evaluated in its module."""

    module: Module
    node: ast.expr


Symbol = ExternalSymbol | ModuleSymbol | ValueSymbol | ClassInfo | FunctionInfo


def dotted_name(node: ast.AST) -> str | None:
    """'a.b.c' of a chain of attributes on a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    parts.append(node.id)
    return ".".join(reversed(parts))


def module_of(path: Path) -> tuple[str, Path]:
    """The dotted name a file is imported under, and the folder that must be on sys.path for it."""
    full = path.resolve()
    # a dot in a file's name would read as a package
    parts = [] if full.stem == "__init__" else [full.stem.replace(".", "_")]
    folder = full.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) or full.parent.name, folder


def index_module(source: SourceFile, dotted: str, tree: ast.Module, judged: bool = True) -> Module:
    """Bindings, classes and functions of one parsed file."""
    module = Module(source, dotted, tree, judged)
    for statement in _top_level(tree.body):
        _bind(module, statement)
    _index_definitions(module, tree, "", None, ())
    return module


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that bind at module level, also inside `if`, `try`, `with` and loops."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.For | ast.While | ast.With | ast.Try):
            for name in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(statement, name, ()):
                    yield from _top_level(
                        child.body if isinstance(child, ast.ExceptHandler) else [child]
                    )


def _bind(module: Module, statement: ast.stmt) -> None:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        module.bindings.setdefault(statement.name, []).append(statement)
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        for name, binding in import_bindings(statement):
            if name == "*":
                module.stars.append(binding)
            else:
                module.bindings.setdefault(name, []).append(binding)
    elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            if isinstance(target, ast.Name):
                module.bindings.setdefault(target.id, []).append(statement.value)


def import_bindings(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ImportBinding]]:
    """(local name, what it is bound to) of one import statement."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield (
                alias.asname or alias.name,
                ImportBinding(node.module or "", alias.name, node.level),
            )
        elif alias.asname:
            yield alias.asname, ImportBinding(alias.name, "")
        else:
            head = alias.name.split(".")[0]
            yield head, ImportBinding(head, "")


def _index_definitions(
    module: Module,
    node: ast.AST,
    prefix: str,
    owner: ClassInfo | None,
    outer: tuple[FunctionNode, ...],
) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            info = ClassInfo(module, child, f"{prefix}{child.name}", outer)
            module.classes.append(info)
            module.class_by_node[id(child)] = info
            _index_definitions(module, child, f"{info.qualname}.", info, outer)
            _class_attributes(info)
        elif isinstance(child, FUNCTIONS):
            function = FunctionInfo(module, child, owner, outer)
            module.functions[id(child)] = function
            if owner is not None:
                owner.methods[child.name] = function
            _index_definitions(
                module, child, f"{prefix}{child.name}.<locals>.", None, (*outer, child)
            )
        elif isinstance(child, ast.stmt | ast.ExceptHandler):
            _index_definitions(module, child, prefix, owner, outer)


def _class_attributes(info: ClassInfo) -> None:
    for statement in _top_level(info.node.body):
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            if isinstance(target, ast.Name):
                info.attributes[target.id] = statement
