"""The class moves the attribute itself, in its own `_apply`, `to`, `cuda` ...

A buffer is moved by `nn.Module._apply` already: what the override does is done a second time, or
on a tensor that has moved, and a function that is not idempotent is applied twice.

Bites:

    class Placed(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def _apply(self, fn):
            super()._apply(fn)
            self.ids = fn(self.ids)
            return self

Harmless, because the override does not touch it:

    class Placed(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def to(self, *args, **kwargs):
            print("moving")
            return super().to(*args, **kwargs)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView, find_mention, first_parameter, place
from bufferize.model import Hazard, Safety

_MOVES = frozenset(
    {"_apply", "to", "cuda", "cpu", "half", "float", "double", "bfloat16", "type", "to_empty"}
)


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    name = candidate.attribute
    for method in view.family_methods:
        if method.name not in _MOVES:
            continue
        node = find_mention(method.node, first_parameter(method.node), name)
        if node is not None:
            return _hazard(name, method.name, place(method.module, node))
    for use in view.uses_from_outside(name):
        if use.function in _MOVES and use.kind == "assign" and use.receiver.startswith("self."):
            return _hazard(name, use.function, use.where)
    return None


def _hazard(name: str, method: str, where: str) -> Hazard:
    return Hazard(
        "overrides-apply",
        f"`{method}` is overridden and handles `{name}` itself ({where}): "
        "a buffer would be moved twice",
        Safety.UNSAFE,
        where,
        remedy="drop it from the override, or pass --unsafe if moving twice does no harm",
    )
