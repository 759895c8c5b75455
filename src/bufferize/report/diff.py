"""What changed, as unified diffs. In: rewritten files. Out: bytes that `git apply` takes.

A notebook has two diffs: that of its file, each hunk naming its cells, which applies; and that of
each cell's Python, which reads well and does not apply. It refuses to know findings and words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from bufferize.model import Rewritten

CONTEXT = 3
LONG = 1000
# what git writes in quotes; other bytes, UTF-8 included, it reads as they are
UNUSUAL = re.compile(r'[\x00-\x1f"\\\x7f]')


def patch(outcome: Rewritten) -> bytes:
    """The diff of one file as it lies on disk."""
    before, after = outcome.source.data, outcome.data
    if before == after:
        return b""
    name = patch_name(outcome.source.path)
    cells = cell_lines(before) if outcome.source.is_notebook else ()
    head = f"diff --git {quoted('a/', name)} {quoted('b/', name)}\n{file_lines(name)}"
    return head.encode("utf-8", "surrogateescape") + b"".join(hunks(before, after, cells))


def cell_patch(outcome: Rewritten) -> bytes:
    """The diffs of a notebook's changed cells, for reading."""
    from bufferize.notebooks import read_cells

    name = patch_name(outcome.source.path)
    _, cells, _ = read_cells(outcome.data)
    after = {cell.number: cell.source for cell in cells}
    pieces = []
    for cell in outcome.source.cells or ():
        if after[cell.number] != cell.source:
            title = f"{name} cell {cell.number}"
            pieces.append(f"--- a/{title}\n+++ b/{title}\n".encode("utf-8", "surrogateescape"))
            pieces += hunks(closed(cell.source), closed(after[cell.number]))
    return b"".join(pieces)


def closed(text: str) -> bytes:
    # a cell's last line never ends in a line feed, which says nothing to a reader
    return (text if text.endswith("\n") else text + "\n").encode("utf-8", "surrogatepass")


def patch_name(path: Path) -> str:
    """The path from the git repository's root, else from the current folder, else the whole path.

    `git apply` reads names of a git diff from the repository's root wherever it is started.
    """
    full = path.parent.resolve() / path.name
    for root in full.parents:
        if (root / ".git").exists():
            return full.relative_to(root).as_posix()
    here = Path.cwd().resolve()
    return full.relative_to(here).as_posix() if full.is_relative_to(here) else path.as_posix()


def quoted(side: str, name: str) -> str:
    if not UNUSUAL.search(name):
        return side + name
    escapes = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    return '"' + side + UNUSUAL.sub(lambda m: escapes.get(m[0], f"\\{ord(m[0]):03o}"), name) + '"'


def file_lines(name: str) -> str:
    # a tab ends a name that holds spaces, as git has it
    tail = "\t" if " " in name and not UNUSUAL.search(name) else ""
    return f"--- {quoted('a/', name)}{tail}\n+++ {quoted('b/', name)}{tail}\n"


NO_NEWLINE = b"\\ No newline at end of file\n"
Opcode = tuple[str, int, int, int, int]


def hunks(old: bytes, new: bytes, cells: Sequence[range] = ()) -> Iterator[bytes]:
    """Lines end at a line feed only, as git has it: carriage returns are part of the line."""
    before, after = lines(old), lines(new)
    for group in grouped(before, after):
        first, last = group[0], group[-1]
        span_before, span_after = (first[1], last[2]), (first[3], last[4])
        title = cell_title(cells, group)
        yield f"@@ -{span(*span_before)} +{span(*span_after)} @@{title}\n".encode()
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                yield b"".join(marked(b" ", before[start:end]))
                continue
            yield b"".join(marked(b"-", before[start:end]))
            yield b"".join(marked(b"+", after[new_start:new_end]))


def lines(data: bytes) -> list[bytes]:
    return [line for line in re.split(rb"(?<=\n)", data) if line]


def marked(sign: bytes, part: Iterable[bytes]) -> Iterator[bytes]:
    for line in part:
        yield sign + (line if line.endswith(b"\n") else line + b"\n" + NO_NEWLINE)


def span(start: int, end: int) -> str:
    length = end - start
    # git counts an empty stretch from the line before it
    return f"{start + 1 if length else start},{length}"


def grouped(before: list[bytes], after: list[bytes]) -> Iterator[list[Opcode]]:
    """Opcodes in groups with context. Only the changed middle is compared: files are long."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    head, tail = max(0, head - CONTEXT), max(0, tail - CONTEXT)
    middle = before[head : len(before) - tail], after[head : len(after) - tail]
    # without the shortcut for frequent lines a long file would take minutes
    matcher = SequenceMatcher(None, *middle, autojunk=len(middle[0]) > LONG)
    for group in matcher.get_grouped_opcodes(CONTEXT):
        yield [(tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in group]


def cell_title(cells: Sequence[range], group: Sequence[Opcode]) -> str:
    changed = [(op[1], max(op[2], op[1] + 1)) for op in group if op[0] != "equal"]
    touched = [
        number
        for number, rows in enumerate(cells, 1)
        if any(start < rows.stop and rows.start < end for start, end in changed)
    ]
    if not touched:
        return ""
    return (" cell " if len(touched) == 1 else " cells ") + ", ".join(map(str, touched))


def cell_lines(data: bytes) -> tuple[range, ...]:
    """Which lines of a notebook's file, from 0, each of its cells takes."""
    text = data.decode("utf-8-sig")
    found = []
    last, row = 0, 0
    for start, end in cell_spans(text):
        first = row + text.count("\n", last, start)
        row = first + text.count("\n", start, end)
        last = end
        found.append(range(first, row + 1))
    return tuple(found)


def cell_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the elements of the top-level list "cells" stand."""
    decode = json.JSONDecoder(strict=False).raw_decode
    at = after_blanks(text, 0) + 1
    while text[(at := after_blanks(text, at))] != "}":
        key, at = decode(text, at)
        at = after_blanks(text, after_blanks(text, at) + 1)
        if key == "cells":
            at = after_blanks(text, at + 1)
            while text[at] != "]":
                _, end = decode(text, at)
                yield at, end
                at = after_blanks(text, end)
            return
        _, at = decode(text, at)


def after_blanks(text: str, at: int) -> int:
    """Past white space and commas."""
    while text[at] in " \t\r\n,":
        at += 1
    return at
