"""A metric of torchmetrics, whose state is declared with `add_state`.

`Metric` keeps its state as plain tensors by design: it moves, resets, syncs and saves them itself,
with `_apply`, `reset` and `state_dict` of its own. A buffer would be handled twice.

Bites:

    from torchmetrics import Metric

    class Recall(Metric):
        def __init__(self, steps):
            super().__init__()
            self.thresholds = torch.arange(steps)
            self.add_state("hits", default=torch.zeros(steps))

        def forward(self, x):
            return x

Harmless, because it only has the name:

    class Metric(nn.Module):
        def __init__(self, steps):
            super().__init__()
            self.thresholds = torch.arange(steps)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, called_name, place
from bufferize.model import Hazard, Safety
from bufferize.project import ClassInfo


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if "metric" not in view.kinds and not _declares_state(view):
        return None
    return Hazard(
        "torchmetrics-metric",
        f"`{view.cls.qualname}` is a metric: it moves and saves its tensors itself",
        Safety.DISPLAY_ONLY,
        place(view.module, view.cls.node),
        remedy="declare it with add_state",
    )


def _declares_state(view: ClassView) -> bool:
    """`self.add_state(...)` that no known class defines."""
    if view.overrides("add_state"):
        return False
    return any(_calls_add_state(cls) for cls in (view.cls, *view.ancestors))


def _calls_add_state(cls: ClassInfo) -> bool:
    if "add_state" not in cls.module.source.text:
        return False
    calls = (node for node in ast.walk(cls.node) if isinstance(node, ast.Call))
    return any(
        called_name(call) == "add_state"
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "self"
        for call in calls
    )
