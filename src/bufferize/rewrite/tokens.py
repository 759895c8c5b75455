"""The text of one expression as tokens, with the gaps between them. Knows nothing of statements."""

from __future__ import annotations

import io
import token
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OPENING, CLOSING = frozenset("([{"), frozenset(")]}")
# Keywords after which an operand begins: an operator or a bracket there has no left side.
_BEFORE_OPERAND = frozenset(
    {"and", "or", "not", "in", "is", "if", "else", "for", "lambda", "await", "yield", "return"}
)


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    # one of token.NAME, OP, STRING, NUMBER, COMMENT
    kind: int
    # what stands between this token and the one before when both are on one line
    gap: str
    # it begins a line of the text
    breaks: bool = False
    # line in the text, from 0, and column there (of line 0: one too many)
    line: int = 0
    column: int = 0

    @property
    def opens(self) -> bool:
        return self.kind == token.OP and self.text in OPENING

    @property
    def closes(self) -> bool:
        return self.kind == token.OP and self.text in CLOSING


def split_tokens(text: str) -> tuple[Token, ...]:
    """The tokens of one expression, which may run over several lines that end in \\n."""
    found: list[Token] = []
    line, column, before = 1, 1, None
    for kind, piece, start, end in _merged("(" + text + "\n)"):
        breaks = start[0] > line
        gap = _joined_gap(before, piece) if breaks else " " * (start[1] - column)
        if breaks and before is None:
            gap = ""
        found.append(Token(piece, kind, gap, breaks, start[0] - 1, start[1]))
        before, (line, column) = piece, end
    return tuple(found)


def _merged(wrapped: str) -> Iterator[tuple[int, str, tuple[int, int], tuple[int, int]]]:
    """Tokens between the outer brackets; an f-string is one token on every Python."""
    lines = wrapped.split("\n")
    stream = list(tokenize.generate_tokens(io.StringIO(wrapped).readline))
    open_strings: list[tuple[int, int]] = []
    inner = [t for t in stream if t.type not in (token.NEWLINE, tokenize.NL, token.ENDMARKER)]
    for each in inner[1:-1]:
        name = token.tok_name[each.type]
        if name.endswith("STRING_START"):
            open_strings.append(each.start)
        elif name.endswith("STRING_END"):
            start = open_strings.pop()
            if not open_strings:
                yield token.STRING, _cut(lines, start, each.end), start, each.end
        elif not open_strings:
            yield each.type, each.string, each.start, each.end


def _cut(lines: Sequence[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    between = lines[start[0] : end[0] - 1]
    return "\n".join([lines[start[0] - 1][start[1] :], *between, lines[end[0] - 1][: end[1]]])


def _joined_gap(before: str | None, piece: str) -> str:
    """What black puts between two tokens when it joins their lines."""
    if before is None or before in OPENING or piece in CLOSING or piece in {".", ","}:
        return ""
    return " "


def join(tokens: Sequence[Token]) -> str:
    return "".join(t.text if n == 0 else t.gap + t.text for n, t in enumerate(tokens))


def follows_operand(before: Token | None) -> bool:
    """Whether an operator or bracket after `before` has a left side: binary, a call, an index."""
    if before is None:
        return False
    if before.kind == token.NAME:
        return before.text not in _BEFORE_OPERAND
    return before.closes or before.kind in (token.STRING, token.NUMBER) or before.text == "..."


def partners(tokens: Sequence[Token]) -> dict[int, int]:
    """Index of every closing bracket -> index of the one that opens it."""
    pairs: dict[int, int] = {}
    stack: list[int] = []
    for index, each in enumerate(tokens):
        if each.opens:
            stack.append(index)
        elif each.closes and stack:
            pairs[index] = stack.pop()
    return pairs


def is_display(tokens: Sequence[Token], opening: int) -> bool:
    """Whether a bracket holds a list, tuple, set or dict, not the arguments of a call or index."""
    return not follows_operand(tokens[opening - 1] if opening else None)


def has_magic_comma(tokens: Sequence[Token]) -> bool:
    """Whether some bracket ends in a comma by which black keeps it exploded."""
    pairs = partners(tokens)
    return any(is_magic_comma(tokens, opening, closing) for closing, opening in pairs.items())


def is_magic_comma(tokens: Sequence[Token], opening: int, closing: int) -> bool:
    """Whether the bracket ends in such a comma: not that of `(a,)` or `x[a,]`, which must stand."""
    if closing < 1 or tokens[closing - 1].text != ",":
        return False
    single = _count_commas(tokens, opening, closing) == 1
    bracket, display = tokens[closing].text, is_display(tokens, opening)
    return not single or bracket == "}" or (bracket == "]") == display


def _count_commas(tokens: Sequence[Token], opening: int, closing: int) -> int:
    depth = commas = 0
    for each in tokens[opening + 1 : closing]:
        depth += each.opens - each.closes
        commas += depth == 0 and each.text == ","
    return commas
