"""A base class sets the name plainly before, so that it is taken when the buffer is registered.

`register_buffer` raises KeyError over a plain attribute. The base class has other subclasses,
perhaps in other repositories, so its statement is not touched for the sake of this one.

Bites:

    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.ids = ()

    class Counting(Base):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

Harmless, because the base class sets another name:

    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = ()

    class Counting(Base):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView, place
from bufferize.hazards.assigned_earlier import taken_by
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    for write in taken_by(candidate, view):
        if write.owner is None or write.owner not in view.ancestors:
            continue
        where = place(write.module, write.node)
        return Hazard(
            "base-class-attribute",
            f"`{candidate.attribute}` is set by the base class `{write.owner.qualname}` before "
            f"({where}): register_buffer would raise KeyError",
            Safety.DISPLAY_ONLY,
            where,
            remedy="register it in the base class, or drop the assignment there",
        )
    return None
