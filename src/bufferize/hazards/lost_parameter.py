"""A lost Parameter: what is kept is a tensor made from a fresh `nn.Parameter`.

`nn.Parameter(t).to(device)`, `.data` and arithmetic give a plain tensor. The Parameter itself is
gone, so `parameters()` is short of one and training leaves it as it is. A buffer would hide that.

Bites:

    class Scaled(nn.Module):
        def __init__(self, size, device="cpu"):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(size)).to(device)

Harmless, because the Parameter is kept and this is a copy of it:

    class Scaled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(size))
            self.start = self.scale.detach().clone()
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView
from bufferize.hazards.aliases_parameter import find_parameter
from bufferize.model import Hazard, Safety
from bufferize.project import ExternalSymbol
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v

_PARAMETERS = frozenset({"torch.nn.Parameter", "torch.nn.parameter.Parameter"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not is_lost(candidate, view):
        return None
    return Hazard(
        "lost-parameter",
        f"`{candidate.attribute}` is a plain tensor made from an nn.Parameter that nobody keeps: "
        "it is never trained",
        Safety.DISPLAY_ONLY,
        candidate.where,
        remedy="wrap last: nn.Parameter(tensor.to(...)), or drop nn.Parameter",
    )


def is_lost(candidate: Candidate, view: ClassView) -> bool:
    traits = candidate.value.traits
    if v.LOST_PARAMETER in traits:
        return not find_parameter(candidate, view)
    return v.HISTORY in traits and _wraps_in_place(candidate, view)


def _wraps_in_place(candidate: Candidate, view: ClassView) -> bool:
    """Whether the assigned expression makes a Parameter and computes with it."""
    expression = candidate.write.expression
    for node in ast.walk(expression) if expression is not None else ():
        name = dotted_name(node.func) if isinstance(node, ast.Call) else None
        symbol = view.project.resolve(candidate.write.module, name) if name else None
        if isinstance(symbol, ExternalSymbol) and symbol.name in _PARAMETERS:
            return True
    return False
