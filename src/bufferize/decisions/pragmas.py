"""`# bufferize: ignore[ID]` and `# bufferize: persistent=true` comments of one file.

A pragma speaks for the statement on whose lines it stands. One that nothing obeyed is reported.
"""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, field

from bufferize.model import Failed, SourceFile

_PRAGMA = re.compile(r"#\s*bufferize:\s*(?P<what>.*?)\s*$")
_IGNORE = re.compile(r"ignore(?:\[(?P<ids>[^\]]*)\])?", re.IGNORECASE)
_PERSISTENT = re.compile(r"persistent\s*=\s*(?P<flag>true|false)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pragma:
    line: int
    column: int
    text: str
    # None: no ignore; empty: ignore whatever is found
    ignore: frozenset[str] | None
    persistent: bool | None


@dataclass(slots=True)
class Pragmas:
    """The pragmas of one file, and which of them spoke."""

    source: SourceFile
    by_line: dict[int, Pragma]
    used: set[int] = field(default_factory=set)

    def within(self, first: int, last: int) -> tuple[Pragma, ...]:
        return tuple(p for line, p in sorted(self.by_line.items()) if first <= line <= last)

    def unused(self) -> tuple[Failed, ...]:
        """One line for each pragma that changed nothing."""
        found = []
        for line, pragma in sorted(self.by_line.items()):
            if line not in self.used:
                cell = self.source.cell_at(line)
                place = line - cell.line + 1 if cell else line
                known = pragma.ignore is not None or pragma.persistent is not None
                message = "unused" if known else "unknown"
                text = f"{message} pragma `{pragma.text}`: nothing on this line obeys it; remove it"
                number = cell.number if cell else None
                found.append(Failed(self.source.name, text, place, pragma.column + 1, number))
        return tuple(found)


def read_pragmas(source: SourceFile) -> Pragmas:
    by_line: dict[int, Pragma] = {}
    if "bufferize:" in source.text:
        for line, column, comment in _comments(source.text):
            match = _PRAGMA.search(comment)
            if match:
                by_line[line] = _parse(line, column, match["what"])
    return Pragmas(source, by_line)


def _parse(line: int, column: int, what: str) -> Pragma:
    ignore, persistent = _IGNORE.search(what), _PERSISTENT.search(what)
    ids = ignore["ids"] if ignore else None
    names = frozenset(x.strip() for x in (ids or "").split(",") if x.strip())
    flag = persistent["flag"].lower() == "true" if persistent else None
    return Pragma(line, column, f"# bufferize: {what}", names if ignore else None, flag)


def _comments(text: str) -> list[tuple[int, int, str]]:
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                found.append((*token.start, token.string))
    except (tokenize.TokenError, SyntaxError):
        pass  # the file parsed: what was read so far holds all pragmas that matter
    return found
