"""A class that only looks like a module: its base cannot be followed to `nn.Module`.

The base comes from a package that is not installed, or is computed. It may be no module at all,
and then there is no `register_buffer`.

Bites:

    from elsewhere import Block

    class Shift(Block):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
            self.proj = nn.Linear(size, size)

        def forward(self, x):
            return self.proj(x) + self.ids

Harmless, because one base surely is a module:

    from elsewhere import Named

    class Shift(Named, nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if view.certain:
        return None
    bases = ", ".join(f"`{name}`" for name in dict.fromkeys(view.project.unresolved(view.cls)))
    return Hazard(
        "unresolved-base",
        f"`{view.cls.qualname}` looks like a module, but its base {bases} was not found",
        Safety.UNSAFE,
        place(view.module, view.cls.node),
        remedy="run with --python of the environment that has the package, or pass --unsafe",
    )
