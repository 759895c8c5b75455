"""State that forward adds up, in a repository that trains with DistributedDataParallel.

DDP broadcasts the buffers of rank 0 before each forward, unless it is built with
`broadcast_buffers=False`: what the other processes added up is lost. A plain tensor keeps it. For
running averages, as of BatchNorm, that is what everybody expects: they get a note only.

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

import ast
import re

from bufferize.classes import Candidate, ClassView, Use
from bufferize.model import Hazard, Safety

_SIGNS = ("DistributedDataParallel", "torch.distributed", "init_process_group")
# what BatchNorm keeps: users of DDP expect these to follow rank 0
_AVERAGE_NAME = re.compile(r"^(running|moving)_|_?num_batches_tracked$|(^|_)ema($|_)")
_AVERAGE_WORDS = re.compile(r"\b(momentum|decay|lerp_?)\b")


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not any(view.survey.modules_with(sign) for sign in _SIGNS):
        return None
    name = candidate.attribute
    for use in view.uses_after(name):
        if not use.changes_value:
            continue
        if view.forward_methods and use.function not in view.forward_methods:
            continue
        text = f"`{name}` is changed in {use.function} ({use.where}): DistributedDataParallel"
        if looks_like_average(use):
            text += " would make it follow rank 0, as it does the averages of BatchNorm"
            return Hazard("accumulated-in-forward", text, Safety.SAFE, use.where)
        text += " would overwrite a buffer with the one of rank 0"
        remedy = "pass --unsafe if rank 0 may win, or it is built with broadcast_buffers=False"
        return Hazard("accumulated-in-forward", text, Safety.UNSAFE, use.where, remedy)
    return None


def looks_like_average(use: Use) -> bool:
    """A running average by its name, or by the momentum it is changed with."""
    if _AVERAGE_NAME.search(use.attribute):
        return True
    return _AVERAGE_WORDS.search(ast.unparse(use.node)) is not None
