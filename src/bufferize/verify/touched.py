"""Which statements of a class a rewrite touched, so that the proof can see that they ran.

In: a file's two texts and a class. Out: the old statements that are gone or changed. It refuses to
run anything: text and trees only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from bufferize.model import Cell

# These leave no trace when they run.
_SILENT = (ast.Pass, ast.Global, ast.Nonlocal, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the old text; of a compound one, its header."""

    first: int
    last: int
    text: str
    # as people look it up, without the file's name: 'line 12', 'cell 3:12'
    where: str


def find_touched(
    before: str | None, after: str | None, cls: str, cells: Sequence[Cell] = ()
) -> tuple[Statement, ...]:
    """Statements inside the methods of `cls` that the new text does not have."""
    scope = find_class(before, cls)
    if scope is None or before is None or after is None:
        return ()
    lines = before.splitlines()
    gone = _find_gone(before, after)
    return tuple(
        Statement(first, last, lines[first - 1].strip(), _say_where(first, cells))
        for first, last in sorted(_spans_in(scope))
        if not gone.isdisjoint(range(first, last + 1))
    )


def _say_where(line: int, cells: Sequence[Cell]) -> str:
    for cell in cells:
        if cell.line <= line < cell.line + cell.lines:
            return f"cell {cell.number}:{line - cell.line + 1}"
    return f"line {line}"


def find_class(text: str | None, cls: str) -> ast.ClassDef | None:
    """The class of that qualified name, None where there is none or the text cannot be read."""
    tree = _parse(text or "")
    for name in cls.split("."):
        tree = _find_class(tree, name)
    return tree if isinstance(tree, ast.ClassDef) else None


@lru_cache(maxsize=8)
def _parse(text: str) -> ast.AST | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _find_class(scope: ast.AST | None, name: str) -> ast.ClassDef | None:
    """The last class of that name: a notebook may define it twice."""
    found = [n for n in ast.walk(scope) if isinstance(n, ast.ClassDef)] if scope else []
    return next((node for node in reversed(found) if node.name == name), None)


@lru_cache(maxsize=8)
def _find_gone(before: str, after: str) -> frozenset[int]:
    gone: set[int] = set()
    old, new = before.splitlines(), after.splitlines()
    for kind, start, end, _, _ in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind in ("replace", "delete"):
            gone.update(range(start + 1, end + 1))
    return frozenset(gone)


def _spans_in(scope: ast.AST) -> Iterator[tuple[int, int]]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for function in (node for node in ast.walk(scope) if isinstance(node, functions)):
        for node in ast.walk(function):
            if isinstance(node, ast.stmt) and not _is_silent(node):
                yield node.lineno, _last_line(node)


def _is_silent(node: ast.stmt) -> bool:
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, _SILENT)


def _last_line(node: ast.stmt) -> int:
    body: list[ast.stmt] = getattr(node, "body", [])
    if isinstance(body, list) and body:
        return max(node.lineno, body[0].lineno - 1)
    return node.end_lineno or node.lineno
