"""Finds ways to build and call classes in what their repository already says.

In: the classes wanted, the files of the tree, the settings. Out: for each class its cases, best
first: those of the configuration, then calls in tests, scripts, notebooks, docstrings and
documentation. Works on text alone: imports neither torch nor anything of the user's.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bufferize.model import Case, SourceFile
from bufferize.settings import Settings
from bufferize.verify.callees import Callees, Imports, Key, Modules, absolute_module, read_imports
from bufferize.verify.examples import python_of
from bufferize.verify.mining import Mined, Page, mine_page
from bufferize.verify.placement import on_cpu
from bufferize.verify.scopes import Scope, read_scopes

MOST_CASES = 8
MOST_DOCUMENTS = 200
MOST_BYTES = 1 << 20
WORD = re.compile(r"[^\W\d]\w*")
FOLDERS_OF_PROSE = ("docs", "doc", "examples")


def mine_cases(
    wanted: Collection[Key], sources: Sequence[SourceFile], root: Path, settings: Settings
) -> dict[Key, tuple[Case, ...]]:
    """Cases for every wanted (module, qualname), best first, at most `MOST_CASES` mined ones."""
    reader = Reader(wanted, sources, root)
    mined: dict[Key, list[Mined]] = {key: [] for key in wanted}
    for page in reader.pages():
        for found in mine_page(page, reader.callees):
            mined[found.key].append(found)
    return {
        key: (*_configured(key, settings), *_best(mined[key], reader.homes.get(key)))
        for key in sorted(wanted)
    }


def _configured(key: Key, settings: Settings) -> tuple[Case, ...]:
    return tuple(
        replace(case, source="configuration")
        for case in settings.cases.get(f"{key[0]}:{key[1]}", ())
    )


def _best(found: Sequence[Mined], home: Path | None) -> tuple[Case, ...]:
    ranked = sorted(found, key=lambda item: _rank(item, home))
    unique: dict[tuple[str, ...], Case] = {}
    for item in ranked:
        same = (item.case.construct, *item.case.setup, *item.case.inputs)
        unique.setdefault(same, item.case)
    return tuple(unique.values())[:MOST_CASES]


def _rank(item: Mined, home: Path | None) -> tuple[int, int, int, str, int]:
    ready = 0 if item.is_literal or item.case.inputs else 1
    return (
        ready,
        _distance(item.path, home) if home else 0,
        0 if item.case.inputs else 1,
        item.path.as_posix(),
        item.line,
    )


def _distance(path: Path, home: Path) -> int:
    """Steps through the folders from one file to the other."""
    shared = 0
    for ours, theirs in zip(path.parts, home.parts, strict=False):
        if ours != theirs:
            break
        shared += 1
    return len(path.parts) + len(home.parts) - 2 * shared


@dataclass(frozen=True, slots=True)
class _Parsed:
    tree: ast.Module
    scope: Scope
    imports: Imports


class Reader:
    """Parses each file that names a wanted class, once."""

    def __init__(self, wanted: Collection[Key], sources: Sequence[SourceFile], root: Path) -> None:
        self.root = root.resolve()
        self.sources = {source.path.resolve(): source for source in sources}
        self.modules = Modules()
        for path in self.sources:
            self.modules.add(path)
        self.homes = {key: home for key in wanted if (home := self.modules.find(key[0]))}
        self.tops = {home: _top(home, key[0]) for key, home in self.homes.items()}
        self.parsed: dict[Path, _Parsed | None] = {}
        by_name: dict[str, tuple[Key, ...]] = {}
        for key in sorted(wanted):
            last = key[1].rpartition(".")[2]
            by_name[last] = (*by_name.get(last, ()), key)
        self.callees = Callees(by_name, self.modules, self._imports_of)
        self.names = frozenset(by_name)

    def pages(self) -> Iterator[Page]:
        for path, source in self.sources.items():
            if not self.names_one(source.text):
                continue
            parsed = self.parse(path)
            if parsed is None:
                continue
            yield self._page(path, source, parsed)
            if not source.is_notebook:
                yield from self._docstrings(path, source, parsed)
        yield from self._documents()

    def names_one(self, text: str) -> bool:
        if len(self.names) <= 20:
            return any(name in text for name in self.names)
        return not self.names.isdisjoint(WORD.findall(text))

    def _imports_of(self, path: Path) -> Imports | None:
        parsed = self.parse(path)
        return parsed.imports if parsed else None

    def parse(self, path: Path) -> _Parsed | None:
        if path not in self.parsed:
            source = self.sources.get(path)
            self.parsed[path] = _parse(source.text, path, self._top_of(path)) if source else None
        return self.parsed[path]

    def _top_of(self, path: Path) -> Path:
        """The folder that a file's package tree is imported from."""
        above = [top for top in self.tops.values() if top in path.parents]
        return max(above, key=lambda top: len(top.parts), default=self.root)

    def home_of(self, path: Path) -> frozenset[Key]:
        return frozenset(key for key, home in self.homes.items() if home == path)

    def _page(self, path: Path, source: SourceFile, parsed: _Parsed) -> Page:
        home_of = self.home_of(path)
        return Page(
            path=path,
            name=source.name,
            scope=parsed.scope,
            imports=parsed.imports,
            home_of=home_of,
            is_notebook=source.is_notebook,
            namespace=frozenset(),
            absolute=lambda node: absolute_module(node, path, self._top_of(path)),
            where=lambda line: _where(source, line),
        )

    def _docstrings(self, path: Path, source: SourceFile, parsed: _Parsed) -> Iterator[Page]:
        given = frozenset(n for s in parsed.scope.steps if s.imported for n in s.binds)
        for node in ast.walk(parsed.tree):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                continue
            text = node.value.value
            if not isinstance(text, str) or not self.names_one(text):
                continue
            page = self._prose(path, source.name, text, node.lineno - 1)
            if page is not None:
                # examples in a docstring take the names of their module for granted
                yield replace(page, namespace=given, home_of=self.home_of(path), is_prose=True)

    def _documents(self) -> Iterator[Page]:
        for path in _documents(self.root):
            try:
                text = path.read_bytes()[:MOST_BYTES].decode("utf-8", "replace")
            except OSError:
                continue
            if self.names_one(text):
                name = path.relative_to(self.root).as_posix()
                if page := self._prose(path, name, text, 0):
                    yield page

    def _prose(self, path: Path, name: str, text: str, first: int) -> Page | None:
        parsed = _parse(python_of(text), path, self._top_of(path))
        if parsed is None or not parsed.tree.body:
            return None
        return Page(
            path=path,
            name=name,
            scope=parsed.scope,
            imports=parsed.imports,
            home_of=frozenset(),
            is_notebook=False,
            namespace=frozenset(),
            absolute=lambda node: absolute_module(node, path, self._top_of(path)),
            where=lambda line: f"{name}:{first + line}",
            is_prose=True,
        )


def _parse(text: str, path: Path, top: Path) -> _Parsed | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = on_cpu(ast.parse(text))
            imports = read_imports(tree, path, top)
            return _Parsed(tree, read_scopes(tree), imports)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # discovery has already reported a file that cannot be parsed
        return None


def _top(home: Path, module: str) -> Path:
    """The folder that holds the first part of `module`."""
    depth = len(module.split(".")) + (1 if home.name == "__init__.py" else 0)
    return home.parents[min(depth, len(home.parents)) - 1]


def _where(source: SourceFile, line: int) -> str:
    cell = source.cell_at(line)
    if cell is None:
        return f"{source.name}:{line}"
    return f"{source.name} cell {cell.number}:{line - cell.line + 1}"


def _documents(root: Path) -> list[Path]:
    """README files, and pages below the folders of documentation, a bounded number."""
    found = sorted(p for p in root.glob("README*") if p.suffix.lower() in {".md", ".rst", ".txt"})
    for folder in FOLDERS_OF_PROSE:
        for suffix in ("md", "rst"):
            for path in (root / folder).rglob(f"*.{suffix}"):
                found.append(path)
                if len(found) >= MOST_DOCUMENTS:
                    return found
    return found
