"""One expression too long for its line is split as black splits it, so that black leaves it alone.

Takes tokens and an indentation, gives lines. The rules: brackets already exploded by a trailing
comma stay so; else split at the delimiters of highest priority, else at the last bracket.
"""

from __future__ import annotations

import token
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from bufferize.rewrite.tokens import (
    Token,
    follows_operand,
    has_magic_comma,
    is_display,
    is_magic_comma,
    join,
    partners,
)

COMPREHENSION, COMMA, TERNARY, LOGIC, STRING, COMPARISON, DOT = 20, 18, 16, 14, 12, 10, 1
_OPERATORS = {
    **dict.fromkeys(("<", ">", "==", "!=", "<=", ">="), COMPARISON),
    **{"|": 9, "^": 8, "&": 7, "<<": 6, ">>": 6, "+": 5, "-": 5},
    **{"*": 4, "/": 4, "//": 4, "%": 4, "@": 4, "**": 2},
}
OPENING, CLOSING = Token("(", token.OP, ""), Token(")", token.OP, "")
TRAILING_COMMA = Token(",", token.OP, "")

Line = tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """How the surroundings are written: one level of indentation, line length."""

    unit: str
    width: int


def reflow(
    line: Line, indent: str, style: Style, inside: bool = True, must_split: bool = False
) -> list[str]:
    """The lines of one expression. `inside` brackets it may break at operators and commas."""
    flat = indent + join(line)
    if not must_split and len(flat) <= style.width and not has_magic_comma(line):
        return [flat]
    if inside:
        line = _parenthesize_condition(line)
        parts = _split_at_delimiters(line)
        if parts:
            return [text for part in parts for text in reflow(part, indent, style)]
    brackets = _split_at_bracket(line, indent, style)
    if brackets is None:
        return [flat]
    head, body, tail = brackets
    explode = _explodes_at_once(line, len(head) - 1, body)
    return [
        *reflow(head, indent, style, False),
        *(reflow(body, indent + style.unit, style, True, explode) if body else ()),
        *reflow(tail, indent, style, False),
    ]


def _explodes_at_once(line: Line, opening: int, body: Line) -> bool:
    priorities = _priorities(body[:-1] if body and body[-1].text == "," else body)
    if max(priorities.values(), default=0) != COMMA:
        return False
    return body[-1].text == "," or is_display(line, opening)


# Splitting at delimiters.


def _parenthesize_condition(line: Line) -> Line:
    """`a if b else c` among other arguments, or behind a keyword, gets parentheses to split in."""
    end = len(line) - (line[-1].text == ",")
    start = 2 if len(line) > 2 and line[1].text == "=" else 0
    priorities = _priorities(line[start:end])
    if max(priorities.values(), default=0) != TERNARY or (not start and end == len(line)):
        return line
    inner = (replace(line[start], gap=""), *line[start + 1 : end])
    return (*line[:start], OPENING, *inner, CLOSING, *line[end:])


def _split_at_delimiters(line: Line) -> list[Line]:
    priorities = _priorities(line)
    priorities.pop(len(line) - 1, None)
    if not priorities:
        return []
    highest = max(priorities.values())
    chosen = [index for index, priority in priorities.items() if priority == highest]
    if highest == DOT and len(chosen) == 1:
        return []
    # the delimiter is the last token of its line: a comma, or the token before an operator
    cuts = [0, *(index + 1 for index in chosen), len(line)]
    parts = [line[a:b] for a, b in pairwise(cuts) if a < b]
    if highest == COMMA and parts[-1][-1].text != ",":
        parts[-1] = (*parts[-1], TRAILING_COMMA)
    return parts


def _priorities(line: Line) -> dict[int, int]:
    """Index of each token after which the line may break, with the priority of that break."""
    found: dict[int, int] = {}
    depth = 0
    # depths at which `for ... in` and `lambda ...:` hold their targets together
    held: list[tuple[str, int]] = []
    for index, each in enumerate(line):
        before = line[index - 1] if index else None
        if each.closes:
            depth -= 1
        if held and held[-1] == (each.text, depth):
            held.pop()
        elif depth == 0 and not held:
            if each.text == ",":
                found[index] = COMMA
            elif before is not None:
                priority = _break_before(line, index, before)
                if priority:
                    found[index - 1] = max(priority, found.get(index - 1, 0))
        if each.opens:
            depth += 1
        elif each.kind == token.NAME and each.text in ("for", "lambda"):
            held.append(("in" if each.text == "for" else ":", depth))
    return found


def _break_before(line: Line, index: int, before: Token) -> int:
    each = line[index]
    if each.kind == token.STRING:
        return STRING if before.kind == token.STRING else 0
    if each.kind == token.NAME:
        return _break_before_word(line, index, before)
    if each.text == ".":
        return DOT if before.closes else 0
    return _OPERATORS.get(each.text, 0) if follows_operand(before) else 0


def _break_before_word(line: Line, index: int, before: Token) -> int:
    word = line[index].text
    if word in ("for", "async"):
        return 0 if before.text == "async" else COMPREHENSION
    if word in ("and", "or"):
        return LOGIC
    if word == "if":
        return TERNARY if _has_else(line, index) else COMPREHENSION
    if word == "else":
        return TERNARY
    if word == "is" or (word == "in" and before.text != "not"):
        return COMPARISON
    following = line[index + 1].text if index + 1 < len(line) else ""
    return COMPARISON if word == "not" and following == "in" and before.text != "is" else 0


def _has_else(line: Line, index: int) -> bool:
    depth = 0
    for each in line[index + 1 :]:
        depth += each.opens - each.closes
        if depth < 0 or (depth == 0 and each.text in (",", "for", "if")):
            return False
        if depth == 0 and each.text == "else":
            return True
    return False


# Splitting at brackets.


def _split_at_bracket(line: Line, indent: str, style: Style) -> tuple[Line, Line, Line] | None:
    """Head, body and tail of the last bracket pair; of an earlier one if the head is too long."""
    pairs = partners(line)
    first: tuple[Line, Line, Line] | None = None
    for omit in _trailers_to_omit(line, pairs, indent, style):
        split = _split_once(line, pairs, omit)
        if split is None:
            break
        first = first or split
        if len(indent + join(split[0])) <= style.width:
            return split
    return first or _split_once(line, pairs, frozenset())


def _split_once(
    line: Line, pairs: dict[int, int], omit: frozenset[int]
) -> tuple[Line, Line, Line] | None:
    for closing in range(len(line) - 1, -1, -1):
        if closing not in pairs or closing in omit:
            continue
        opening = pairs[closing]
        if opening + 1 == closing:
            continue
        # a bracket passed over on the way belongs to the tail with all that it holds
        if any(pairs.get(later, closing) < closing for later in range(closing + 1, len(line))):
            continue
        return line[: opening + 1], line[opening + 1 : closing], line[closing:]
    return None


def _trailers_to_omit(
    line: Line, pairs: dict[int, int], indent: str, style: Style
) -> Iterator[frozenset[int]]:
    """Sets of closing brackets to pass over, growing while what follows them fits one line."""
    if not has_magic_comma(line):
        yield frozenset()
    omit: set[int] = set()
    inner: set[int] = set()
    length = len(indent)
    opening, closing = -1, -1
    for index in range(len(line) - 1, -1, -1):
        length += len(line[index].text) + (len(line[index].gap) if index else 0)
        if length > style.width:
            return
        if index == opening:
            opening = -1
        elif index in pairs and opening >= 0:
            if is_magic_comma(line, pairs[index], index):
                return
            inner.add(index)
        elif index in pairs:
            if pairs[index] == index - 1:
                inner.add(index)
                continue
            if closing >= 0:
                omit |= {closing} | inner
                inner.clear()
                yield frozenset(omit)
            if is_magic_comma(line, pairs[index], index):
                return
            opening, closing = pairs[index], index
