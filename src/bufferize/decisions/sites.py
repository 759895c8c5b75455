"""Candidate -> Site: positions in code points, notebook cells, and the words of the chain."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from bufferize.classes import Candidate, ClassView
from bufferize.model import Site, SourceFile, Span
from bufferize.project import Module

_NEWLINE = re.compile(r"\r\n|\r|\n")


@lru_cache(maxsize=64)
def lines_of(source: SourceFile) -> tuple[str, ...]:
    """The lines as Python counts them: form feeds and other separators end none."""
    return tuple(_NEWLINE.split(source.text))


def span_of(node: ast.stmt | ast.expr, source: SourceFile) -> Span:
    """ast counts columns in UTF-8 bytes; people and editors count characters."""
    lines = lines_of(source)
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return Span(
        node.lineno,
        _characters(lines[node.lineno - 1], node.col_offset),
        end_line,
        _characters(lines[end_line - 1], end_column),
    )


def text_of(node: ast.expr, source: SourceFile) -> str:
    """The node's own source text."""
    span, lines = span_of(node, source), lines_of(source)
    if span.line == span.end_line:
        return lines[span.line - 1][span.column : span.end_column]
    inner = lines[span.line : span.end_line - 1]
    first, last = lines[span.line - 1][span.column :], lines[span.end_line - 1][: span.end_column]
    return "\n".join([first, *inner, last])


def _characters(line: str, offset: int) -> int:
    return offset if line.isascii() else len(line.encode("utf-8")[:offset].decode("utf-8"))


def site_of(candidate: Candidate) -> Site:
    module = candidate.write.module
    source = module.source
    span = span_of(candidate.node, source)
    cell = source.cell_at(span.line)
    return Site(
        source.name,
        module.dotted,
        candidate.cls.qualname,
        candidate.attribute,
        span,
        cell.number if cell else None,
        span.line - cell.line + 1 if cell else None,
    )


def chain_of(candidate: Candidate, view: ClassView) -> tuple[str, ...]:
    """From the assignment to the call that made the tensor, then why the class is a module."""
    steps = [_step(candidate.write.module, candidate.node)]
    for module, node in candidate.value.chain:
        step = _step(module, node)
        if step not in steps:
            steps.append(step)
    bases = view.project.base_chain(candidate.cls)
    return (
        *steps,
        f"{' -> '.join(bases)}" if view.certain else "the class only looks like a module",
    )


def _step(module: Module, node: ast.AST) -> str:
    source = module.source
    line = getattr(node, "lineno", 1)
    cell = source.cell_at(line)
    where = (
        f"{source.name} cell {cell.number}:{line - cell.line + 1}"
        if cell
        else f"{source.name}:{line}"
    )
    if not isinstance(node, ast.stmt | ast.expr):
        return f"{where}: {getattr(node, 'arg', '')}"
    span = span_of(node, source)
    text = lines_of(source)[span.line - 1][
        span.column : span.end_column if span.line == span.end_line else None
    ]
    return f"{where}: {text.strip()}{' ...' if span.end_line > span.line else ''}"
