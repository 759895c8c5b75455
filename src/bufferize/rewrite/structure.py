"""Where the statements of edits stand: which blocks lose everything, how deep one level indents.

Takes text and edits, gives one `Place` per edit; knows nothing of what is written there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bufferize.model import Edit, EditKind, Span
from bufferize.syntax import NEWLINE, parse_text


@dataclass(frozen=True, slots=True)
class Place:
    # the statement leaves its block empty: `pass` has to stand there
    needs_pass: bool
    # columns from a block's header to its body
    unit: int


def find_places(text: str, edits: Sequence[Edit]) -> dict[Span, Place]:
    """One place per edit, by span; ValueError if a span is not exactly one statement."""
    lines = NEWLINE.split(text)
    wanted = {edit.span: edit for edit in edits}
    places: dict[Span, Place] = {}
    tree = parse_text(text)
    for block, unit in _blocks(tree):
        spans = [_span(statement, lines) for statement in block]
        held = [span for span in spans if span in wanted]
        leaving = [span for span in held if wanted[span].kind is not EditKind.REPLACE]
        for span in held:
            last = len(leaving) == len(spans) and span == leaving[-1] and block is not tree.body
            places[span] = Place(last, unit)
    for span in wanted:
        if span not in places:
            raise ValueError(f"no statement at line {span.line}, column {span.column}")
    return places


def _blocks(tree: ast.Module) -> Iterator[tuple[list[ast.stmt], int]]:
    """Every list of statements with its depth of indentation below its header."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block:
                yield block, _unit(node, block[0])
                pending += block
        for field in ("handlers", "cases"):
            pending += getattr(node, field, ())


def _unit(header: ast.AST, first: ast.stmt) -> int:
    """Columns by which `first` is indented, 4 where it stands on the header's own line."""
    column: int | None = getattr(header, "col_offset", None)
    if column is None or getattr(header, "lineno", None) == first.lineno:
        return 4
    return max(first.col_offset - column, 1)


def _span(node: ast.stmt, lines: Sequence[str]) -> Span:
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return Span(
        node.lineno,
        _code_points(lines[node.lineno - 1], node.col_offset),
        end_line,
        _code_points(lines[end_line - 1], end_column),
    )


def _code_points(line: str, column: int) -> int:
    """ast counts UTF-8 bytes, spans count code points."""
    if line.isascii():
        return column
    return len(line.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))
