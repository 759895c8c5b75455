"""Python text in, `ast.Module` or one clear refusal out. Knows no file format and no torch.

Also scans text that may not be Python: how deep its brackets nest, where its logical lines begin.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from itertools import pairwise

from bufferize.errors import UnreadableFile
from bufferize.model import SourceFile

# CPython's tokenizer stops at 200 levels too; libcst's native parser has no such limit and takes
# the whole process down a few thousand levels further on.
DEEPEST = 200
# Longest logical line handed to libcst when ast has refused a file: operators nest too.
LONGEST_LOGICAL_LINE = 5_000
MOST_ELIFS = 500

NEWLINE = re.compile(r"\r\n|\r|\n")
_PIECE = re.compile(
    r"""
    (?P<skip>\#[^\r\n]*
      | \"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z)
      | '{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
      | "(?:[^"\\\r\n]|\\\r\n|\\.)*"?
      | '(?:[^'\\\r\n]|\\\r\n|\\.)*'?
      | \\(?:\r\n|\r|\n))
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<newline>\r\n|\r|\n)
    """,
    re.VERBOSE | re.DOTALL,
)
# An error's line that reads like one of these was written for Python 2.
_PYTHON_2 = re.compile(
    r"^\s*print\s+[\"'\w%]|^\s*print\s*>>|^\s*exec\s+[\"'\w]|^\s*except\s+[\w.]+\s*,\s*\w+\s*:"
    r"|^\s*except\s*\([^)]*\)\s*,\s*\w+\s*:|^\s*raise\s+[\w.]+\s*,|`[^`]+`|<>|\b0[0-7]+\b"
    r"|\b\d+[lL]\b|\bur[\"']|\bdef\s+\w+\([^)]*\([^)]*\)"
)


def too_deep(text: str) -> int | None:
    """The line where brackets nest deeper than any parser here survives, or None."""
    if text.count("(") + text.count("[") + text.count("{") <= DEEPEST:
        return None
    depth = 0
    for match in _PIECE.finditer(text):
        if match.lastgroup == "open":
            depth += 1
            if depth > DEEPEST:
                return len(NEWLINE.findall(text, 0, match.start())) + 1
        elif match.lastgroup == "close":
            depth = max(0, depth - 1)
    return None


def next_logical_line(text: str, start: int) -> int:
    """Where the logical line after the one at `start` begins: past its strings and brackets."""
    depth = 0
    for match in _PIECE.finditer(text, start):
        if match.lastgroup == "open":
            depth += 1
        elif match.lastgroup == "close":
            depth = max(0, depth - 1)
        elif match.lastgroup == "newline" and not depth:
            return match.end()
    return len(text)


def parse_text(text: str) -> ast.Module:
    """`ast.parse` without its warnings on the user's strings and literals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def parse_python(source: SourceFile) -> ast.Module:
    """The syntax tree of `source.text`; UnreadableFile says where and why there is none."""
    try:
        return parse_text(source.text)
    except SyntaxError as error:
        line = min(error.lineno or 1, _count_lines(source.text))
        message = _explain(source.text, error, line)
        column = max((error.offset or 1) - 1, 0)
    except (RecursionError, MemoryError):
        line, column = _deepest_line(source.text), 0
        message = "nested too deeply to be parsed: split the expression or exclude the file"
    except ValueError as error:
        line, column = _line_of_odd_character(source.text), 0
        message = f"not Python source: {error}"
    cell = source.cell_at(line)
    if cell is not None:
        line -= cell.line - 1
    raise UnreadableFile(message, line, column, cell.number if cell else None)


def _deepest_line(text: str) -> int:
    """Where the text probably nests deepest: brackets, else a chain of elif, else the longest."""
    deep = too_deep(text)
    if deep is not None:
        return deep
    if text.count("elif") > MOST_ELIFS:
        begin = text.index("elif")
    else:
        starts = [0]
        while starts[-1] < len(text):
            starts.append(next_logical_line(text, starts[-1]))
        begin = max(pairwise(starts), key=lambda pair: pair[1] - pair[0], default=(0, 0))[0]
    return len(NEWLINE.findall(text, 0, begin)) + 1


def _explain(text: str, error: SyntaxError, line: int) -> str:
    deep = too_deep(text)
    if deep is not None:
        return (
            f"brackets nested more than {DEEPEST} deep (line {deep}): exclude the file or simplify"
        )
    said = " ".join(error.msg.split())
    if _looks_like_python_2(text, said, line):
        return f"looks like Python 2 ({said}): port it to Python 3 or exclude it"
    if _libcst_reads(text):
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"needs a newer Python than {running}: run bufferize under it ({said})"
    return f"not valid Python: {said}"


def _looks_like_python_2(text: str, said: str, line: int) -> bool:
    if "Missing parentheses in call to" in said:
        return True
    lines = NEWLINE.split(text)
    return line <= len(lines) and _PYTHON_2.search(lines[line - 1]) is not None


def _libcst_reads(text: str) -> bool:
    """Whether libcst parses what ast did not. Never tried on text that could overflow its stack."""
    if text.count("elif") > MOST_ELIFS:
        return False
    start = 0
    while start < len(text):
        start, before = next_logical_line(text, start), start
        if start - before > LONGEST_LOGICAL_LINE:
            return False
    import libcst

    try:
        libcst.parse_module(text)
    except (libcst.ParserSyntaxError, RecursionError, ValueError):
        return False
    return True


def _line_of_odd_character(text: str) -> int:
    for number, line in enumerate(NEWLINE.split(text), 1):
        if "\0" in line or any(0xD800 <= ord(character) < 0xE000 for character in line):
            return number
    return 1


def _count_lines(text: str) -> int:
    return len(NEWLINE.findall(text)) + 1
