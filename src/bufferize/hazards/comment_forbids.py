"""A comment says that it must not be registered.

Somebody had a reason: a cast that ruins it, a checkpoint that must not change. Comments on the
statement and right above it count, and any in the function that speaks of registering buffers.

Bites:

    class Rotary(nn.Module):
        def __init__(self, size):
            super().__init__()
            # do not register as a buffer, a cast would ruin it
            self.ids = torch.arange(size)

Harmless, because the comment asks for one:

    class Rotary(nn.Module):
        def __init__(self, size):
            super().__init__()
            # TODO: register this as a buffer
            self.ids = torch.arange(size)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors.frame import Write

_NOT = (
    r"(?:do\s+not|does\s+not|don'?t|doesn'?t|must\s+not|mustn'?t|should\s+not|shouldn'?t|cannot"
    r"|can'?t|can\s+not|never|not|no\s+need|avoid|instead\s+of|rather\s+than|without|is\s+no)"
)
_FILLERS = (
    r"(?:\s+(?:using|use|be|been|being|to|want|wanted|need|needed|make|making|this|it|them|these"
    r"|that|call|calling|intended|supposed|meant|here|ever|treat|treated|save|saved|stored|part))*"
)
_REGISTER = re.compile(
    rf"\b{_NOT}{_FILLERS}\s+`?(?:self\.)?regist\w*(?:[\s`]+\w+){{0,4}}?[\s_`]*buffers?\b",
    re.IGNORECASE,
)
_BUFFER = re.compile(
    rf"\b{_NOT}{_FILLERS}(?:\s+(?:a|an|as|as\s+a|in|in\s+a|of))?(?:\s+the)?"
    r"(?:\s+(?:registered|registering|pytorch|torch|module|model'?s?))?"
    r"\s+(?:register_buffer|buffers?|state[\s_]?dict)\b",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"\b(?:keep|kept|keeping|stay|stays|leave|left)\b.{0,30}\bplain\b"
    r"|\bplain\s+(?:tensor|attribute)\b.{0,30}\b(?:on\s+purpose|intentional\w*|deliberate\w*)\b"
    r"|\b(?:on\s+purpose|intentional\w*|deliberate\w*)\b.{0,30}\bplain\s+(?:tensor|attribute)\b",
    re.IGNORECASE,
)
_WISH = re.compile(r"\b(?:todo|fixme|xxx|forget)\b", re.IGNORECASE)


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    write = candidate.write
    text = write.module.source.text
    if "#" not in text:
        return None
    lines = _lines(candidate)
    found = next((c for c in _nearby(lines, write) if _forbids(c[1])), None)
    if found is None:
        found = next((c for c in _in_function(lines, write, view) if _REGISTER.search(c[1])), None)
    if found is None:
        return None
    line, comment = found
    return Hazard(
        "comment-forbids",
        f'a comment speaks against a buffer `{candidate.attribute}`: "{comment}"',
        Safety.DISPLAY_ONLY,
        f"{write.module.source.name}:{line}",
    )


def _forbids(comment: str) -> bool:
    if _WISH.search(comment):
        return False
    return any(pattern.search(comment) for pattern in (_REGISTER, _BUFFER, _PLAIN))


def _lines(candidate: Candidate) -> list[str]:
    # not splitlines: a form feed ends no line of Python
    return candidate.write.module.source.text.split("\n")


def _comment(line: str) -> str:
    return line.partition("#")[2].strip().lstrip("#").strip()


def _nearby(lines: list[str], write: Write) -> Iterator[tuple[int, str]]:
    """(line, comment): those on the statement's lines, and the block right above as one."""
    first = write.node.lineno
    for number in range(first, (write.node.end_lineno or first) + 1):
        if "#" in lines[number - 1]:
            yield number, _comment(lines[number - 1])
    block: list[str] = []
    number = first - 1
    while number >= 1 and lines[number - 1].lstrip().startswith("#"):
        block.insert(0, _comment(lines[number - 1]))
        number -= 1
    if block:
        yield number + 1, " ".join(block)


def _in_function(lines: list[str], write: Write, view: ClassView) -> Iterator[tuple[int, str]]:
    """Comments of the function that stand with no tensor of another name."""
    if write.function is None:
        return
    node = write.function.node
    others = {
        w.node.lineno
        for w in view.construction.writes
        if w.module is write.module and w.value.may_be_tensor and w.attribute != write.attribute
    }
    for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
        line = lines[number - 1]
        if "#" not in line or "regist" not in line.lower() or _WISH.search(line):
            continue
        if not _stands_with(lines, number) & others:
            yield number, _comment(line)


def _stands_with(lines: list[str], number: int) -> set[int]:
    """The line itself, or the line of code that a comment of its own stands above."""
    while number < len(lines) and lines[number - 1].lstrip().startswith("#"):
        number += 1
    return {number}
