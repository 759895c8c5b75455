"""An import overlay: changed files are served from memory, everything else from disk.

In: the texts of one world (module name -> file text or absence) and the folders to import from.
Out: a meta-path finder. Nothing is written to the user's tree, no bytecode is read or kept for a
changed file. It refuses to know what is in the texts. Standard library only: it runs in the
interpreter whose packages the user's code needs.
"""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import PurePath
from types import CodeType, ModuleType
from typing import TypedDict


class WorldFile(TypedDict):
    """One changed file as it crosses the pipe; `text` is None where the file is absent."""

    module: str
    path: str
    root: str
    text: str | None
    notebook: bool
    # of a notebook: number, first line and count of lines of each cell
    cells: list[tuple[int, int, int]]


# path -> cells, of the notebooks of the world that is installed
_CELLS: dict[str, list[tuple[int, int, int]]] = {}


def say_place(path: str, line: int) -> str:
    """A place as people look it up: 'm.py:12', 'lesson.ipynb cell 3:12'."""
    return f"{PurePath(path).name}{say_line(_CELLS.get(path, ()), line)}"


def say_line(cells: Iterable[tuple[int, int, int]], line: int) -> str:
    """':12' in a plain file, ' cell 3:12' in a notebook."""
    for number, first, count in cells:
        if first <= line < first + count:
            return f" cell {number}:{line - first + 1}"
    return f":{line}"


class _TextLoader(SourceFileLoader):
    """Loads a module from a text in memory, under the path of the file it stands for."""

    def __init__(self, fullname: str, file: WorldFile) -> None:
        super().__init__(fullname, file["path"])
        self._text = file["text"] or ""
        self._notebook = file["notebook"]

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str) -> CodeType:
        # Straight from the text: the inherited method would consult cached bytecode of the path.
        return compile(self._text, self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        # inspect.getsource asks linecache, which would read the file on disk. An entry without a
        # modification time is never thrown away by linecache.checkcache.
        lines = self._text.splitlines(keepends=True)
        linecache.cache[self.path] = (len(self._text), None, lines, self.path)
        if self._notebook:
            run_definitions(self._text, self.path, vars(module))
        else:
            exec(self.get_code(module.__name__), vars(module))


def run_definitions(text: str, path: str, namespace: dict[str, object]) -> None:
    """Run a notebook's imports, functions and classes, each on its own.

    One that fails (a package that is not installed, a base from a cell that was not run) must not
    stop the others; the class that needed it then fails by itself, with its own error.
    """
    failures: list[str] = []
    for node in ast.parse(text, path).body:
        for statement in _definitions(node):
            code = compile(ast.Module([statement], []), path, "exec", dont_inherit=True)
            try:
                exec(code, namespace)
            except Exception as error:
                last = traceback.format_exception_only(type(error), error)[-1].strip()
                failures.append(f"{say_place(path, statement.lineno)}: {last}")
    namespace["__failed_cells__"] = failures


def _definitions(node: ast.stmt) -> list[ast.stmt]:
    kinds = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, kinds):
        return [node]
    if isinstance(node, ast.Try):
        # `try: import x except ImportError: …` stays whole
        inside = [*node.body, *(s for h in node.handlers for s in h.body), *node.orelse]
        imports = any(isinstance(s, (ast.Import, ast.ImportFrom)) for s in node.body)
        simple = all(isinstance(s, (*kinds, ast.Assign, ast.Pass)) for s in inside)
        return [node] if imports and simple else []
    return []


class Overlay(MetaPathFinder):
    """Serves the files of one world; a module absent in it is absent, whatever lies on disk."""

    def __init__(self, files: Sequence[WorldFile], home: str) -> None:
        # Two scripts of one name in two folders: the one beside the class in question wins.
        ordered = sorted(files, key=lambda file: file["root"] == home)
        self._files: Mapping[str, WorldFile] = {file["module"]: file for file in ordered}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        file = self._files.get(fullname)
        if file is None:
            return self._find_folder(fullname, path)
        if file["text"] is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        where = PurePath(file["path"])
        package = [str(where.parent)] if where.name == "__init__.py" else None
        return spec_from_file_location(
            fullname,
            file["path"],
            loader=_TextLoader(fullname, file),
            submodule_search_locations=package,
        )

    def _find_folder(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """A namespace package whose folder exists only in the other world."""
        inside = [file for name, file in self._files.items() if name.startswith(fullname + ".")]
        if not inside or PathFinder.find_spec(fullname, path) is not None:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        folder = PurePath(inside[0]["root"]).joinpath(*fullname.split("."))
        spec.submodule_search_locations = [str(folder)]
        return spec


def install_overlay(files: Sequence[WorldFile], home: str) -> Callable[[], None]:
    """Make the world importable; gives back the way to take it out again."""
    finder = Overlay(files, home)
    _CELLS.update((file["path"], file["cells"]) for file in files if file["cells"])
    roots = [home, *dict.fromkeys(f["root"] for f in files if f["root"] != home)]
    sys.meta_path.insert(0, finder)
    sys.path[:0] = roots

    def remove() -> None:
        sys.meta_path.remove(finder)
        for root in roots:
            sys.path.remove(root)

    return remove
