"""A tensor computed from Parameters: it drags a history of operations along.

`copy.deepcopy` refuses tensors that are no leaves of the graph, registered or not; a second
backward runs through freed memory; and after a step of the optimizer the value is out of date.
What was meant is a value computed in forward, or one cut off with `.detach()`.

Bites:

    class Scaled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(size))
            self.scale = self.weight * 2

Harmless, because it is cut off:

    class Scaled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(size))
            self.scale = (self.weight * 2).detach()
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.hazards.aliases_parameter import find_parameter
from bufferize.hazards.lost_parameter import is_lost
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    traits = candidate.value.traits
    if v.HISTORY not in traits or not candidate.value.may_be_tensor:
        return None
    if is_lost(candidate, view):
        return None
    if v.LOST_PARAMETER in traits and find_parameter(candidate, view):
        return None
    return Hazard(
        "non-leaf-history",
        f"`{candidate.attribute}` is computed from something that is trained and keeps its history",
        Safety.DISPLAY_ONLY,
        candidate.where,
        remedy="compute it in forward, or cut it off with .detach()",
    )
