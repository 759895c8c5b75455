"""State that forward adds up, in a repository that trains with DistributedDataParallel.

DDP broadcasts the buffers of rank 0 before each forward, unless it is built with
`broadcast_buffers=False`: what the other processes added up is lost. A plain tensor keeps it.

Bites:

    from torch.nn.parallel import DistributedDataParallel

    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = torch.zeros(1)

        def forward(self, x):
            self.steps += 1
            return x

Harmless, because it never changes:

    from torch.nn.parallel import DistributedDataParallel

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def forward(self, x):
            return x + self.ids
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety

_SIGNS = ("DistributedDataParallel", "torch.distributed", "init_process_group")


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not any(view.survey.modules_with(sign) for sign in _SIGNS):
        return None
    run = view.forward_methods
    for use in view.uses_after(candidate.attribute):
        if not use.changes_value or (run and use.function not in run):
            continue
        return Hazard(
            "accumulated-in-forward",
            f"`{candidate.attribute}` is changed in {use.function} ({use.where}): "
            "DistributedDataParallel would overwrite a buffer with the one of rank 0",
            Safety.UNSAFE,
            use.where,
            remedy="pass --unsafe if rank 0 may win, or it is built with broadcast_buffers=False",
        )
    return None
