"""A tensor whose elements lie on top of each other in memory, as after `expand`.

`load_state_dict` copies into a buffer in place, and DistributedDataParallel broadcasts into it:
both raise "more than one element of the written-to tensor refers to a single memory location".
A contiguous copy holds the same values; `expand((1, -1))` of a row repeats nothing.

Bites:

    class Repeated(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size).expand(3, -1)

Harmless, because the usual row of position ids repeats nothing:

    class Positions(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size).expand((1, -1))
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v

_KNOWN_VALUE = frozenset({"plain", "annotated", "chained", "tuple", "setattr"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if v.EXPANDED not in candidate.value.traits or not candidate.value.may_be_tensor:
        return None
    text = f"`{candidate.attribute}` is expanded: its elements share memory"
    # a copy of a maybe-None value needs a test for None first
    if candidate.form in _KNOWN_VALUE and candidate.value.is_tensor:
        remedy = ".contiguous() added"
        return Hazard("overlapping-storage", text, Safety.SAFE, candidate.where, remedy)
    remedy = "add .contiguous() where it is a tensor, or pass --unsafe"
    return Hazard("overlapping-storage", text, Safety.UNSAFE, candidate.where, remedy)
