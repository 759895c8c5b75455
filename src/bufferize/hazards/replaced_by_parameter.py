"""An nn.Parameter takes the attribute's place later.

`self.x = nn.Parameter(...)` over a plain tensor removes the tensor and registers the Parameter.
Over a buffer it does the same, but `register_parameter("x", ...)` raises KeyError, and where the
Parameter comes on some paths only the name is now a buffer, now a Parameter. Uninitialised memory
where the other branch has a Parameter is a stand-in that nobody reads: nothing to save or move.

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
from bufferize.hazards.registered_twin import exclude_each_other
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v
from bufferize.tensors.values import Kind

_WRITES = frozenset({"augmented", "item-write", "in-place"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    name = candidate.attribute
    where = _in_constructor(candidate, view) or _afterwards(candidate, view)
    if where:
        text = f"`{name}` becomes an nn.Parameter later ({where})"
        return Hazard("replaced-by-parameter", text, Safety.DISPLAY_ONLY, where)
    where = _stands_in(candidate, view)
    if where:
        text = (
            f"`{name}` is uninitialised memory that stands in for the nn.Parameter of the other "
            f"branch ({where}): nobody is meant to read it"
        )
        remedy = "set it to None, or fill it and register it"
        return Hazard("replaced-by-parameter", text, Safety.UNSAFE, where, remedy)
    return None


def _stands_in(candidate: Candidate, view: ClassView) -> str:
    """Where another branch has a Parameter, if this one has memory that nothing fills."""
    if v.UNINITIALISED not in candidate.value.traits:
        return ""
    for use in view.uses(candidate.attribute):
        if use.kind in _WRITES and view.is_constructing(use.function):
            return ""
    for construction in view.constructions_of(candidate):
        for write in construction.writes:
            if write.attribute != candidate.attribute or write.form != "parameter":
                continue
            if any(exclude_each_other(write.context, own.context) for own in candidate.writes):
                return place(write.module, write.node)
    return ""


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
