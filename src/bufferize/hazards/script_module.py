"""A class that is a TorchScript module already.

A `torch.jit.ScriptModule` compiles itself in its constructor; its attributes are fixed by the
compiler, and the code of a subclass is not run as it is written.

Bites:

    class Shift(torch.jit.ScriptModule):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

Harmless, because it is an ordinary module:

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if "script" not in view.kinds:
        return None
    return Hazard(
        "script-module",
        f"`{view.cls.qualname}` is a torch.jit.ScriptModule, which has rules of its own",
        Safety.DISPLAY_ONLY,
        place(view.module, view.cls.node),
    )
