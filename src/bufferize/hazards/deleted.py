"""An attribute that is deleted somewhere, with `del self.x` or `delattr`.

`del` finds buffers too, but code that deletes an attribute usually puts something else under its
name, or counts on its being gone: from `__dict__`, from the state_dict.

Bites:

    class Fused(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def fuse(self):
            del self.ids

Harmless, because only a local name goes:

    class Fused(nn.Module):
        def __init__(self, size):
            super().__init__()
            ids = torch.arange(size)
            self.ids = ids + 1
            del ids
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    name = candidate.attribute
    for use in (*view.uses(name), *view.uses_from_outside(name)):
        if use.kind == "delete":
            return Hazard(
                "deleted",
                f"`{name}` is deleted in {use.function or 'the module'} ({use.where})",
                Safety.DISPLAY_ONLY,
                use.where,
            )
    return None
