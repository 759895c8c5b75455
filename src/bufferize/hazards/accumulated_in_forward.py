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
_STEPS = frozenset({"update", "step", "accumulate", "add", "push", "observe"})
_SYNC = re.compile(r"all_?gather|all_?reduce|broadcast\(|\bsync", re.IGNORECASE)
_AVERAGE_WORDS = re.compile(r"\b(momentum|decay|lerp_?)\b")


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not any(view.survey.modules_with(sign) for sign in _SIGNS):
        return None
    name = candidate.attribute
    for use in view.uses_after(name):
        if not use.changes_value or not _runs_in_forward(use, view) or _is_synced(use, view):
            continue
        text = f"`{name}` is changed in {use.function} ({use.where}): DistributedDataParallel"
        if looks_like_average(use):
            text += " would make it follow rank 0, as it does the averages of BatchNorm"
            return Hazard("accumulated-in-forward", text, Safety.SAFE, use.where)
        text += " would overwrite a buffer with the one of rank 0"
        remedy = "pass --unsafe if rank 0 may win, or it is built with broadcast_buffers=False"
        return Hazard("accumulated-in-forward", text, Safety.UNSAFE, use.where, remedy)
    return None


def _runs_in_forward(use: Use, view: ClassView) -> bool:
    """Whether forward reaches the method; in a class without forward, by the method's name."""
    if view.forward_methods:
        return use.function in view.forward_methods
    return use.function in _STEPS


def _is_synced(use: Use, view: ClassView) -> bool:
    """Whether the method gathers from all processes itself, so that all hold the same."""
    for method in view.family_methods:
        first, last = method.node.lineno, method.node.end_lineno or method.node.lineno
        if method.module is use.module and first <= use.line <= last:
            lines = method.module.source.text.split("\n")[first - 1 : last]
            return any(_SYNC.search(line) for line in lines)
    return False


def looks_like_average(use: Use) -> bool:
    """A running average by its name, or by the momentum it is changed with."""
    if _AVERAGE_NAME.search(use.attribute):
        return True
    return _AVERAGE_WORDS.search(ast.unparse(use.node)) is not None
