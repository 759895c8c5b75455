"""Which wanted class a callee in some file stands for.

In: the wanted classes, the files that are known, a file's imports. Out: (module, qualname) keys and
absolute module names. Knows nothing of arguments; reads no files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Imports:
    """What names of a file stand for."""

    # local name -> dotted origins ('pkg.mod.Class', 'pkg.mod')
    names: Mapping[str, frozenset[str]]
    stars: tuple[ast.ImportFrom, ...]
    # the same as absolute module names
    star_modules: tuple[str, ...]
    # qualnames of the classes defined here
    classes: frozenset[str]


def module_parts(path: Path) -> tuple[str, ...]:
    """The longest dotted name a file could be imported under, in parts."""
    parts = list(path.with_suffix("").parts)
    if parts and parts[-1] == "__init__":
        parts.pop()
    return tuple(re.sub(r"\W", "_", part) for part in parts if part not in {"/", "\\", "."})


def ends_with(parts: tuple[str, ...], tail: tuple[str, ...]) -> bool:
    return bool(tail) and parts[-len(tail) :] == tail


@dataclass(slots=True)
class Modules:
    """All files by the dotted names they may have."""

    by_last: dict[str, list[tuple[tuple[str, ...], Path]]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        parts = module_parts(path)
        if parts:
            self.by_last.setdefault(parts[-1], []).append((parts, path))

    def find(self, module: str) -> Path | None:
        """The file of a module: of several, the one with the shortest path."""
        tail = tuple(re.sub(r"\W", "_", part) for part in module.split("."))
        found = [
            (len(parts), path)
            for parts, path in self.by_last.get(tail[-1], ())
            if ends_with(parts, tail)
        ]
        return min(found, key=lambda item: (item[0], item[1].as_posix()))[1] if found else None


def absolute_module(node: ast.ImportFrom, path: Path, top: Path) -> str | None:
    """'from ..a import b' in the file `path` of a package tree that begins below `top`."""
    if not node.level:
        return node.module
    try:
        parts = list(path.relative_to(top).parts[:-1])
    except ValueError:
        return None
    if node.level - 1 > len(parts):
        return None
    kept = parts[: len(parts) - (node.level - 1)]
    return ".".join([*kept, *(node.module or "").split(".")]).strip(".") or None


def read_imports(tree: ast.Module, path: Path, top: Path) -> Imports:
    names: dict[str, set[str]] = {}
    stars: list[ast.ImportFrom] = []
    star_modules: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.split(".")[0]
                names.setdefault(local, set()).add(alias.name if alias.asname else local)
        elif isinstance(node, ast.ImportFrom):
            module = absolute_module(node, path, top) or ""
            if any(alias.name == "*" for alias in node.names):
                stars.append(node)
                star_modules.append(module)
            else:
                for alias in node.names:
                    names.setdefault(alias.asname or alias.name, set()).add(
                        f"{module}.{alias.name}".strip(".")
                    )
    return Imports(
        {name: frozenset(origins) for name, origins in names.items()},
        tuple(stars),
        tuple(star_modules),
        frozenset(_class_names(tree.body, "")),
    )


def _class_names(body: Collection[ast.stmt], prefix: str) -> list[str]:
    found: list[str] = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            found.append(prefix + node.name)
            found.extend(_class_names(node.body, f"{prefix}{node.name}."))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
            found.extend(_class_names(inner, prefix))
    return found


@dataclass(frozen=True, slots=True)
class Callees:
    """Resolves callees to the wanted classes."""

    by_name: Mapping[str, tuple[Key, ...]]
    modules: Modules
    imports_of: Callable[[Path], Imports | None]

    def resolve(
        self, callee: str, path: Path, imports: Imports, home_of: frozenset[Key]
    ) -> Key | None:
        """The class that `callee` ('C', 'mod.C', 'Outer.Inner') means in the file `path`.

        `home_of` are the classes defined in that very file.
        """
        root, _, rest = callee.partition(".")
        origins = imports.names.get(root)
        if origins is not None:
            return next(
                (
                    key
                    for origin in sorted(origins)
                    if (key := self._of_dotted(f"{origin}.{rest}".strip(".")))
                ),
                None,
            )
        for key in self.by_name.get(callee.rpartition(".")[2], ()):
            if key[1] == callee and key in home_of:
                return key
        if callee in imports.classes:
            return None
        for key in self.by_name.get(callee.rpartition(".")[2], ()):
            if key[1] == callee and any(self._same(m, key, 3) for m in imports.star_modules):
                return key
        return None

    def guess(self, callee: str) -> Key | None:
        """For prose, which often leaves the import out: the only wanted class of that name."""
        found = [key for key in self.by_name.get(callee.rpartition(".")[2], ()) if key[1] == callee]
        return found[0] if len(found) == 1 else None

    def _of_dotted(self, name: str) -> Key | None:
        for key in self.by_name.get(name.rpartition(".")[2], ()):
            if name == key[1]:
                continue
            if name.endswith(f".{key[1]}") and self._same(name[: -len(key[1]) - 1], key, 3):
                return key
        return None

    def _same(self, module: str, key: Key, depth: int) -> bool:
        """Whether `module` exports the class: it is its home, or imports it from there."""
        home = self.modules.find(key[0])
        path = self.modules.find(module) if module else None
        if module == key[0] or (path is not None and path == home):
            return True
        if path is None:
            # an installed or generated name for the same tree: packages above the class's home
            return key[0].startswith(f"{module}.") or module.endswith(f".{key[0]}")
        imports = self.imports_of(path) if depth else None
        if imports is None:
            return False
        head = key[1].split(".")[0]
        for origin in imports.names.get(head, ()):
            if self._same(origin.rpartition(".")[0], key, depth - 1):
                return True
        return any(self._same(m, key, depth - 1) for m in imports.star_modules)
