"""One new statement as text: on one line if it fits, else one argument a line, comments kept.

Takes pieces of text with the positions they were cut from; knows nothing of what they mean.
"""

from __future__ import annotations

import token
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bufferize.rewrite.reflow import TRAILING_COMMA, Style, reflow
from bufferize.rewrite.tokens import Token, has_magic_comma, join, split_tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """One expression as it stood in the file, or as it was made (then on one line)."""

    text: str
    # column where its first line began, indentation of the statement it was cut from
    column: int = 0
    indent: str = ""
    # nothing but indentation stood before it on its line
    own_line: bool = False
    # comments that stood before it and after it, outside its own text
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def is_bare(self) -> bool:
        return not self.before and not self.after


@dataclass(frozen=True, slots=True)
class Call:
    """`head` opens a bracket, `tail` closes it; the arguments stand between."""

    head: str
    arguments: tuple[Piece, ...]
    tail: str = ")"


@dataclass(frozen=True, slots=True)
class Binding:
    """`head` ends in `= `; `value` may run over lines only inside brackets."""

    head: str
    value: Piece


def render(new: Call | Binding, indent: str, column: int, room: int, style: Style) -> str:
    """The statement's text from its first character on, which stands at `column`.

    Further lines start from `indent`; `room` columns after its end are taken by a comment.
    """
    if isinstance(new, Binding):
        return _render_binding(new, indent, column, room, style)
    flat = [_flat(piece, style) for piece in new.arguments]
    if all(text is not None for text in flat):
        line = new.head + ", ".join(text for text in flat if text is not None) + new.tail
        if column + len(line) + room <= style.width:
            return line
    inner = indent + style.unit
    lines = [new.head]
    for piece in new.arguments:
        lines += [inner + comment for comment in piece.before]
        lines += _element(piece, inner, style)
    return "\n".join([*lines, indent + new.tail])


def _render_binding(new: Binding, indent: str, column: int, room: int, style: Style) -> str:
    value = new.value
    flat = _flat(value, style)
    if flat is not None and column + len(new.head + flat) + room <= style.width:
        return new.head + flat
    if not value.is_bare or value.own_line or _breaks_outside_brackets(value.text):
        inner = indent + style.unit
        wrapped = [inner + comment for comment in value.before]
        wrapped += _element(value, inner, style, comma="")
        return "\n".join([new.head + "(", *wrapped, indent + ")"])
    if flat is not None and "\n" not in value.text:
        named = Token(new.head.rstrip(), token.NAME, "")
        tokens = _spaced(split_tokens(value.text))
        lines = reflow((named, *tokens), " " * column, style, inside=False)
        return "\n".join([lines[0].lstrip(), *_move(lines[1:], column, indent)])
    return new.head + _shift(value, column + len(new.head), indent)


def _spaced(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    return (replace(tokens[0], gap=" "), *tokens[1:])


def _move(lines: Sequence[str], column: int, indent: str) -> list[str]:
    return [indent + line[column:] for line in lines]


def _element(piece: Piece, indent: str, style: Style, comma: str = ",") -> list[str]:
    """The lines of one argument that stands on lines of its own."""
    comment = "  " + piece.after[0] if piece.after else ""
    after = [indent + each for each in piece.after[1:]]
    if "\n" not in piece.text:
        line = indent + piece.text + comma
        if len(line) <= style.width:
            return [line + comment, *after]
    if _is_exploded_cleanly(piece, style):
        tokens = split_tokens(piece.text)
        ending = (TRAILING_COMMA,) if comma else ()
        lines = reflow((*tokens, *ending), indent, style)
    else:
        lines = [indent + _shift(piece, len(indent), indent) + comma]
    return [*lines[:-1], lines[-1] + comment, *after]


def _flat(piece: Piece, style: Style) -> str | None:
    """The piece on one line, None if it has to keep its lines."""
    if not piece.is_bare:
        return None
    if "\n" not in piece.text:
        return piece.text
    if not _is_exploded_cleanly(piece, style):
        return None
    tokens = split_tokens(piece.text)
    return None if has_magic_comma(tokens) else join(tokens)


def _breaks_outside_brackets(text: str) -> bool:
    depth = 0
    for each in split_tokens(text):
        if each.breaks and depth == 0:
            return True
        depth += each.opens - each.closes
    return False


def _is_exploded_cleanly(piece: Piece, style: Style) -> bool:
    """Whether the lines follow from a formatter's rules, so that they may be laid out anew.

    Lines broken and aligned by hand, comments and long strings keep the layout they have.
    """
    tokens = split_tokens(piece.text)
    if any(each.kind == token.COMMENT or "\n" in each.text for each in tokens):
        return False
    if "\\\n" in piece.text:
        return False
    indents = {each.line: each.column for each in tokens if each.breaks}
    indents[0] = piece.column if piece.own_line else len(piece.indent)
    opened_on: list[int] = []
    for before, each in zip((None, *tokens), tokens, strict=False):
        if each.closes:
            line = opened_on.pop()
            # a bracket over several lines ends on a line of its own
            if each.line != line and not (each.breaks and each.column == indents[line]):
                return False
        elif each.breaks:
            home = indents[opened_on[-1]] + len(style.unit) if opened_on else piece.column
            if each.column != home or not (opened_on or piece.own_line):
                return False
        elif before is not None and before.opens and _bracket_breaks(tokens, each):
            return False
        if each.opens:
            opened_on.append(each.line)
    return True


def _bracket_breaks(tokens: Sequence[Token], first: Token) -> bool:
    """Whether the bracket whose content begins with `first`, on its line, ends on another line."""
    depth = 0
    for each in tokens[tokens.index(first) :]:
        depth += each.opens - each.closes
        if depth < 0:
            return each.line != first.line
    return False


def _shift(piece: Piece, column: int, indent: str) -> str:
    """The text with its further lines moved as far as its first line or its statement moved."""
    parts = piece.text.split("\n")
    inside = _lines_inside_strings(piece.text)
    movable = [
        part
        for number, part in enumerate(parts)
        if number and number not in inside and part.strip()
    ]
    aligned = bool(movable) and all(_width(part) >= piece.column for part in movable)
    moved = [parts[0]]
    for number, part in enumerate(parts[1:], 1):
        if number in inside or not part.strip():
            moved.append(part)
        elif aligned:
            moved.append(_move_by(part, column - piece.column))
        elif part.startswith(piece.indent):
            moved.append(indent + part[len(piece.indent) :])
        else:
            moved.append(part)
    return "\n".join(moved)


def _width(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _move_by(line: str, columns: int) -> str:
    if columns >= 0:
        return line[: _width(line)] + " " * columns + line[_width(line) :]
    return line[: _width(line) + columns] + line[_width(line) :]


def _lines_inside_strings(text: str) -> frozenset[int]:
    """Numbers from 0 of the lines that begin inside a string."""
    held: set[int] = set()
    for each in split_tokens(text):
        held.update(range(each.line + 1, each.line + 1 + each.text.count("\n")))
    return frozenset(held)
