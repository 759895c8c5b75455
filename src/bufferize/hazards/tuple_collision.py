"""A tuple assignment that cannot be split into one registration for each name.

`self.up, self.down = f()` becomes `up, down = f()` and two registrations. That needs plain targets
and local names that are still free.

Bites:

    class Pair(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.first, *self.rest = torch.eye(size)

Harmless, because both names are free:

    class Pair(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.up, self.down = torch.arange(size), torch.zeros(size)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    """Always None: it takes all targets of the statement, which the decision room alone has."""
    return None


def make(attribute: str, where: str = "") -> Hazard:
    """The hazard for a target of a statement that cannot be split."""
    return Hazard(
        "tuple-collision",
        f"the statement that sets `{attribute}` cannot be split into registrations",
        Safety.DISPLAY_ONLY,
        where,
        remedy="give each name a statement of its own",
    )
