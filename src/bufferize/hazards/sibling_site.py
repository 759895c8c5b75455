"""Another site of the same attribute is refused, so all of them are left alone.

An attribute that is a buffer on one path and a plain tensor on another has a state_dict that
depends on the path, which is worse than either.

Bites:

    class Gate(nn.Module):
        def __init__(self, size, learned=False):
            super().__init__()
            if learned:
                self.gate = torch.ones(size, requires_grad=True)
            else:
                self.gate = torch.ones(size)

Harmless, because both sites are registered:

    class Gate(nn.Module):
        def __init__(self, size, wide=False):
            super().__init__()
            if wide:
                self.gate = torch.ones(size)
            else:
                self.gate = torch.zeros(size)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    """Always None: it takes the hazards of all sites, which the decision room alone has."""
    return None


def make(text: str, safety: Safety, where: str = "") -> Hazard:
    """The hazard for a site whose sibling is refused; it carries the sibling's safety."""
    return Hazard("sibling-site", text, safety, where)
