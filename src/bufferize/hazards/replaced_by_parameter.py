"""An nn.Parameter takes the attribute's place later.

`self.x = nn.Parameter(...)` over a plain tensor removes the tensor and registers the Parameter.
Over a buffer it does the same, but `register_parameter("x", ...)` raises KeyError, and where the
Parameter comes on some paths only the name is now a buffer, now a Parameter.

Bites:

    class Filters(nn.Module):
        def __init__(self, size, trained=True):
            super().__init__()
            self.bands = torch.arange(size).float()
            if trained:
                self.bands = nn.Parameter(self.bands)

Harmless, because the Parameter has another name:

    class Filters(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.start = torch.ones(size)
            self.bands = nn.Parameter(self.start.clone())
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, called_name, place
from bufferize.model import Hazard, Safety
from bufferize.tensors.values import Kind


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    where = _in_constructor(candidate, view) or _afterwards(candidate, view)
    if not where:
        return None
    return Hazard(
        "replaced-by-parameter",
        f"`{candidate.attribute}` becomes an nn.Parameter later ({where})",
        Safety.DISPLAY_ONLY,
        where,
    )


def _in_constructor(candidate: Candidate, view: ClassView) -> str:
    for key in sorted(view.survey.later.get(candidate.key, ())):
        for write in view.survey.writes[key]:
            if write.form == "parameter" or Kind.PARAMETER in write.value.kinds:
                return place(write.module, write.node)
    return ""


def _afterwards(candidate: Candidate, view: ClassView) -> str:
    name = candidate.attribute
    for use, value in view.values_after(name):
        if Kind.PARAMETER in value.kinds:
            return use.where
    for use in (*view.uses_after(name), *view.uses_from_outside(name)):
        if use.kind == "parameter":
            return use.where
        if isinstance(use.value, ast.Call) and called_name(use.value) == "Parameter":
            return use.where
    return ""
