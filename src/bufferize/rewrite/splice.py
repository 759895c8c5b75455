"""Text and changes in, new text out: each statement is cut out and its successors put in its place.

It knows lines, semicolons, one-line suites and trailing comments; what the new statements say is
`statement`'s affair.
"""

from __future__ import annotations

import io
import re
import sys
import token
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass

from bufferize.model import Edit, EditKind, Registration, Span
from bufferize.rewrite.layout import Binding, Call, Piece, render
from bufferize.rewrite.reflow import Style
from bufferize.rewrite.statement import build
from bufferize.rewrite.structure import Place
from bufferize.syntax import NEWLINE

_SPACE = re.compile(r"[ \t\f]*")
_COMMENT = re.compile(r"(?P<gap>[ \t\f]*)(?P<comment>#[^\r\n]*)?(?=\r|\n|\Z)")
# black and formatters like it do not split a line for these
_WITHOUT_WIDTH = re.compile(r"#\s*(?:type:\s*ignore|fmt:\s*skip)")
# says the type of an assignment; a checker refuses it behind a call
_TYPE_COMMENT = re.compile(r"#\s*type:(?!\s*ignore)")


@dataclass(frozen=True, slots=True)
class Change:
    edit: Edit
    place: Place


@dataclass(frozen=True, slots=True)
class Cut:
    """`text[start:end]` gives way to `new`."""

    start: int
    end: int
    new: str


def splice(text: str, changes: Sequence[Change], line_length: int) -> str:
    """`text` with every change made; all that lies outside the statements stays as it is."""
    page = _Page(text, line_length)
    cuts: list[Cut] = []
    for change in changes:
        cuts += page.cuts(change)
    # several statements moved behind one statement keep their order: the sort is stable
    cuts.sort(key=lambda cut: (cut.start, cut.end))
    pieces: list[str] = []
    position = 0
    for cut in cuts:
        # two deletions may both claim the semicolon between them
        if cut.start < position and cut.new:
            raise ValueError("edits overlap")
        pieces += [text[position : cut.start], cut.new]
        position = max(position, cut.end)
    return "".join([*pieces, text[position:]])


class _Page:
    """The geometry of one text."""

    def __init__(self, text: str, width: int) -> None:
        self.text = text
        self.width = width
        self.starts = [0, *(match.end() for match in NEWLINE.finditer(text))]
        found = NEWLINE.search(text)
        self.newline = found.group() if found else "\n"

    def offset(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def cut_text(self, span: Span) -> str:
        start, end = (
            self.offset(span.line, span.column),
            self.offset(span.end_line, span.end_column),
        )
        return NEWLINE.sub("\n", self.text[start:end])

    def indent_of(self, line: int) -> str:
        match = _SPACE.match(self.text, self.starts[line - 1])
        return match.group() if match else ""

    def cuts(self, change: Change) -> list[Cut]:
        edit = change.edit
        start = self.offset(edit.span.line, edit.span.column)
        end = self.offset(edit.span.end_line, edit.span.end_column)
        if edit.kind is EditKind.REPLACE:
            return [self._replace(change, start, end)]
        removal = self._remove(change, start, end)
        if edit.kind is EditKind.DELETE:
            return [removal]
        return [removal, self._insert(change, end)]

    # Putting statements in.

    def _replace(self, change: Change, start: int, end: int) -> Cut:
        comment = self._comment_after(end)
        line = change.edit.span.line
        indent, column = self.indent_of(line), change.edit.span.column
        alone = len(indent) == column and comment is not None
        gap, words = comment.group("gap", "comment") if comment else ("", None)
        if words and _TYPE_COMMENT.match(words):
            gap, words = "", None
        if alone and comment is not None:
            end = comment.end()
        if not alone:
            return Cut(start, end, self._join(self._statements(change, indent, column, None), None))
        statements = self._statements(change, indent, column, gap + (words or ""))
        return Cut(start, end, self._join(statements, indent))

    def _insert(self, change: Change, old_end: int) -> Cut:
        after = change.edit.after
        if after is None:
            raise ValueError("a move without a place to move to")
        indent = self.indent_of(after.line)
        end = self.offset(after.end_line, after.end_column)
        comment = self._comment_after(end)
        moved = self._comment_after(old_end)
        gap, words = moved.group("gap", "comment") if moved else ("", None)
        if len(indent) == after.column and comment is not None:
            tail = gap + words if words and not _TYPE_COMMENT.match(words) else ""
            statements = self._statements(change, indent, len(indent), tail)
            joined = self._join(statements, indent)
            return Cut(comment.end(), comment.end(), self.newline + indent + joined)
        statements = self._statements(change, indent, after.end_column + 2, None)
        return Cut(end, end, "; " + self._join(statements, None))

    def _join(self, statements: Sequence[str], indent: str | None) -> str:
        """One statement a line at `indent`, or all behind each other."""
        between = "; " if indent is None else "\n" + indent
        return between.join(statements).replace("\n", self.newline)

    def _statements(
        self, change: Change, indent: str, column: int, comment: str | None
    ) -> list[str]:
        """The new statements; the comment goes with the first. None: they share their line."""
        width = self.width if comment is not None else sys.maxsize
        style = Style(_unit(indent, change.place.unit), width)
        built = self._build(change.edit)
        rendered: list[str] = []
        for number, new in enumerate(built):
            words = (comment or "") if number == 0 else ""
            room = 0 if _WITHOUT_WIDTH.match(words.lstrip()) else len(words)
            rendered.append(render(new, indent, column, room, style) + words)
            column = len(indent)
        return rendered

    def _build(self, edit: Edit) -> list[Call | Binding]:
        spans = [edit.bind[1]] if edit.bind else []
        spans += [r.value for r in edit.registrations if isinstance(r.value, Span)]
        before, after = self._loose_comments(edit, spans)
        pieces = {
            span: self._piece(edit, span, before.get(span, ()), after.get(span, ()))
            for span in spans
        }
        values = [self._value(each, pieces) for each in edit.registrations]
        return build(edit, values, pieces[edit.bind[1]] if edit.bind else None)

    def _value(self, registration: Registration, pieces: dict[Span, Piece]) -> Piece:
        if isinstance(registration.value, str):
            return Piece(registration.value)
        return pieces[registration.value]

    def _piece(
        self, edit: Edit, span: Span, before: tuple[str, ...], after: tuple[str, ...]
    ) -> Piece:
        own_line = len(self.indent_of(span.line)) == span.column
        indent = self.indent_of(edit.span.line)
        return Piece(self.cut_text(span), span.column, indent, own_line, before, after)

    def _loose_comments(
        self, edit: Edit, spans: Sequence[Span]
    ) -> tuple[dict[Span, tuple[str, ...]], dict[Span, tuple[str, ...]]]:
        """Comments of the statement outside its values: before and behind each value."""
        before: dict[Span, tuple[str, ...]] = {}
        after: dict[Span, tuple[str, ...]] = {}
        if not spans or edit.span.line == edit.span.end_line:
            return before, after
        for line, column, words in self._comments(edit.span):
            place = (line, column)
            if any((s.line, s.column) <= place < (s.end_line, s.end_column) for s in spans):
                continue
            ended = [s for s in spans if (s.end_line, s.end_column) <= place]
            coming = [s for s in spans if (s.line, s.column) > place]
            if coming and not (ended and ended[-1].end_line == line):
                before[coming[0]] = (*before.get(coming[0], ()), words)
            elif ended:
                after[ended[-1]] = (*after.get(ended[-1], ()), words)
        return before, after

    def _comments(self, span: Span) -> list[tuple[int, int, str]]:
        text = self.cut_text(span)
        if "#" not in text:
            return []
        found = []
        for each in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
            if each.type == token.COMMENT:
                line, column = each.start
                column += span.column if line == 1 else 0
                found.append((span.line + line - 1, column, each.string))
        return found

    # Taking statements out.

    def _remove(self, change: Change, start: int, end: int) -> Cut:
        span = change.edit.span
        indent = self.indent_of(span.line)
        comment = self._comment_after(end)
        first = len(indent) == span.column
        if change.place.needs_pass:
            stop = comment.end() if comment and first else end
            return Cut(start, stop, "pass")
        if first and comment is not None:
            return Cut(self.starts[span.line - 1], self._past_newline(comment.end()), "")
        behind = re.compile(r"[ \t\f]*;[ \t\f]*").match(self.text, end)
        if behind is not None:
            rest = self._comment_after(behind.end())
            if rest is not None and first and not rest.group("comment"):
                return Cut(self.starts[span.line - 1], self._past_newline(rest.end()), "")
            return Cut(start, behind.end(), "")
        return Cut(self._before_semicolon(start), end, "")

    def _past_newline(self, offset: int) -> int:
        match = NEWLINE.match(self.text, offset)
        return match.end() if match else offset

    def _before_semicolon(self, start: int) -> int:
        kept = self.text[:start].rstrip(" \t\f")
        return len(kept[:-1].rstrip(" \t\f")) if kept.endswith(";") else start

    def _comment_after(self, end: int) -> re.Match[str] | None:
        """The rest of the line if it is blank or a comment; None if another statement follows."""
        return _COMMENT.match(self.text, end)


def _unit(indent: str, columns: int) -> str:
    return "\t" if indent.endswith("\t") or "\t" in indent else " " * columns
