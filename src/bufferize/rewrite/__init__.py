"""Text and edits in, new bytes out. It alone builds and changes Python code.

Each edit names a statement by position. Its new statements are built with libcst, laid out and
spliced in; everything outside the statement stays byte for byte. It decides nothing: which
statement, which name and which flag stand in the edit.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import replace

from bufferize.model import Edit, Registration, SourceFile, Span
from bufferize.notebooks import read_cells, replace_cells
from bufferize.rewrite.splice import Change, splice
from bufferize.rewrite.structure import Place, find_places

__all__ = ["apply_edits"]


def apply_edits(source: SourceFile, edits: Sequence[Edit], line_length: int) -> tuple[bytes, str]:
    """The new bytes and the new Python text; ValueError if an edit names no statement.

    Of a notebook only the cells that hold edits change; the text is line-aligned with the new ones.
    """
    if not edits:
        return source.data, source.text
    places = find_places(source.text, edits)
    if source.cells is None:
        text = splice(source.text, _changes(edits, places, 0), line_length)
        return _encode(text, source), text
    sources = {}
    for cell in source.cells:
        held = [edit for edit in edits if source.cell_at(edit.span.line) == cell]
        if held:
            changes = _changes(held, places, cell.line - 1)
            new = splice(cell.source, changes, line_length)
            # a cell's last line has no newline: none is left where that line was deleted
            sources[cell.number] = new if cell.source.endswith("\n") else new.rstrip("\r\n")
    data = replace_cells(source.data, sources)
    return data, read_cells(data)[0]


def _encode(text: str, source: SourceFile) -> bytes:
    if source.encoding == "utf-8-sig":
        return codecs.BOM_UTF8 + text.encode("utf-8")
    return text.encode(source.encoding)


def _changes(
    edits: Sequence[Edit], places: dict[Span, Place], lines_before: int
) -> tuple[Change, ...]:
    """The edits of one text with their places, counted from that text's first line."""
    return tuple(Change(_shift_edit(edit, lines_before), places[edit.span]) for edit in edits)


def _shift_edit(edit: Edit, lines: int) -> Edit:
    return replace(
        edit,
        span=_shift(edit.span, lines),
        after=_shift(edit.after, lines) if edit.after else None,
        bind=(edit.bind[0], _shift(edit.bind[1], lines)) if edit.bind else None,
        registrations=tuple(_shift_registration(each, lines) for each in edit.registrations),
    )


def _shift_registration(registration: Registration, lines: int) -> Registration:
    if isinstance(registration.value, str):
        return registration
    return replace(registration, value=_shift(registration.value, lines))


def _shift(span: Span, lines: int) -> Span:
    return Span(span.line - lines, span.column, span.end_line - lines, span.end_column)
