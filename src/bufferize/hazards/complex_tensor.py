"""A complex tensor.

`Module.to(torch.bfloat16)`, and `.to()` of any real dtype, casts complex buffers too and throws
their imaginary part away with a warning; `.half()`, `.float()` and `.double()` leave them alone.
A plain attribute is out of reach of both.

Bites:

    class Rotary(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.turns = torch.polar(torch.ones(size), torch.arange(size).float())

Harmless, because pairs of real numbers survive every cast:

    class Rotary(nn.Module):
        def __init__(self, size):
            super().__init__()
            turns = torch.polar(torch.ones(size), torch.arange(size).float())
            self.turns = torch.view_as_real(turns)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if v.COMPLEX not in candidate.value.traits or not candidate.value.may_be_tensor:
        return None
    return Hazard(
        "complex-tensor",
        f"`{candidate.attribute}` is complex: `.to(torch.bfloat16)` of the model would drop the "
        "imaginary part of a buffer",
        Safety.UNSAFE,
        candidate.where,
        remedy="register torch.view_as_real(...) of it, or pass --unsafe if it is never cast",
    )
