"""Python that stands in prose: docstrings, README and documentation pages.

In: text. Out: python text with the same number of lines, everything that is no code left blank,
so that line numbers stay true. Knows nothing of classes or modules; never runs what it finds.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator

FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*\{?\.?([\w+-]*)")
PYTHON_FENCES = frozenset({"python", "py", "python3", "pycon", "ipython", "ipython3", "doctest"})
DIRECTIVE = re.compile(r"^(\s*)\.\.\s+(?:code-block|code|sourcecode|testcode)::\s*(\w*)")
HEADING = re.compile(
    r"^(\s*)(?:\.\. \w+::|(?:Examples?|Usage|Example usage|How to use)\s*:{0,2})\s*$", re.I
)
PROMPT = re.compile(r"^(\s*)(>>>|\.\.\.)( |$)(.*)$")


def python_of(prose: str) -> str:
    """The code in `prose`, line for line; a block that does not parse is left out."""
    lines = prose.expandtabs(4).split("\n")
    kept = [""] * len(lines)
    for start, block in _blocks(lines):
        if any(PROMPT.match(line) for line in block):
            _keep_prompts(start, block, kept)
        else:
            _keep_block(start, block, kept)
    return "\n".join(kept)


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        directive = DIRECTIVE.match(lines[number])
        heading = HEADING.match(lines[number])
        if fence:
            end = _fence_end(lines, number, fence.group(2))
            body = lines[number + 1 : end]
            if fence.group(3).lower() in PYTHON_FENCES or any(PROMPT.match(x) for x in body):
                yield number + 1, body
            number = end + 1
        elif directive and directive.group(2).lower() not in {
            "python",
            "py",
            "python3",
            "pycon",
            "",
        }:
            number = _indented_end(lines, number, len(directive.group(1)))
        elif directive or (heading and not PROMPT.match(_next_line(lines, number))):
            match = directive or heading
            assert match is not None
            end = _indented_end(lines, number, len(match.group(1)))
            yield number + 1, lines[number + 1 : end]
            number = max(end, number + 1)
        elif PROMPT.match(lines[number]):
            end = number
            while end < len(lines) and lines[end].strip():
                end += 1
            yield number, lines[number:end]
            number = end
        else:
            number += 1


def _next_line(lines: list[str], number: int) -> str:
    return next((line for line in lines[number + 1 :] if line.strip()), "")


def _fence_end(lines: list[str], start: int, mark: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].strip().startswith(mark) and not lines[number].strip().strip(mark[0]):
            return number
    return len(lines)


def _indented_end(lines: list[str], start: int, indent: int) -> int:
    end = start + 1
    while end < len(lines):
        line = lines[end]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        end += 1
    return end


def _keep_prompts(start: int, block: list[str], kept: list[str]) -> None:
    code: dict[int, str] = {}
    for offset, line in enumerate(block):
        if match := PROMPT.match(line):
            # "... " goes on with the statement above it, ">>> " opens one
            code[start + offset] = match.group(4)
    groups: list[list[int]] = []
    for offset, line in enumerate(block):
        match = PROMPT.match(line)
        if match and (match.group(2) == ">>>" or not groups):
            groups.append([])
        if match:
            groups[-1].append(start + offset)
    for group in groups:
        if _parses("\n".join(code[number] for number in group)):
            for number in group:
                kept[number] = code[number]


def _keep_block(start: int, block: list[str], kept: list[str]) -> None:
    # directive options such as ":linenos:" stand above the code
    body = [("" if re.match(r"^\s*:[\w-]+:", line) else line) for line in block]
    code = textwrap.dedent("\n".join(body)).split("\n")
    masked = [("" if re.match(r"^\s*[!%$]", line) else line) for line in code]
    if _parses("\n".join(masked)):
        for offset, line in enumerate(masked):
            kept[start + offset] = line


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
