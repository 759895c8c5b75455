"""A 0-dimensional constant that nothing ever writes to.

A Python number does the same, without a copy to the device, a key in the state_dict or rounding
under `.half()`. History shows such buffers turned back into numbers more often than any other.

Bites:

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.tensor(0.5)

Harmless, because it changes:

    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = torch.tensor(0)

        def forward(self, x):
            self.steps += 1
            return x
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    value = candidate.value
    if v.ZERO_DIM not in value.traits or value.traits & {v.RANDOM, v.LOADED, v.HANDED_IN}:
        return None
    uses = [*view.uses_after(candidate.attribute), *view.uses_from_outside(candidate.attribute)]
    if any(use.changes_value or use.kind == "assign" for use in uses):
        return None
    return Hazard(
        "zero-dim-constant",
        f"`{candidate.attribute}` is a 0-dimensional constant that nothing writes to: "
        "a Python number does the same without a buffer",
        Safety.UNSAFE,
        remedy="make it a Python number, or pass --unsafe",
    )
