"""The name is one of the class's `__slots__`.

A slot is a descriptor of the class, so `register_buffer` finds the name taken and raises KeyError.

Bites:

    class Slim(nn.Module):
        __slots__ = ("ids",)

        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

Harmless, because the slots are another class's:

    class Span:
        __slots__ = ("start", "ids")

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    for cls in view.family:
        statement = cls.attributes.get("__slots__")
        if statement is None or not _names(statement, candidate.attribute):
            continue
        return Hazard(
            "slots",
            f"`{candidate.attribute}` is in `{cls.qualname}.__slots__`: "
            "register_buffer would raise KeyError",
            Safety.DISPLAY_ONLY,
            place(cls.module, statement),
            remedy="take the name out of __slots__",
        )
    return None


def _names(statement: ast.stmt, attribute: str) -> bool:
    constants = (n.value for n in ast.walk(statement) if isinstance(n, ast.Constant))
    return attribute in constants
