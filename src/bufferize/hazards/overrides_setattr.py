"""The class sets or finds attributes its own way: `__setattr__`, `__getattr__`.

`register_buffer` goes past `__setattr__`, so what the override does at each assignment is not done.
Buffers are found through `nn.Module.__getattr__`, so an override that does not call it hides them.

Bites:

    class Watched(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def __setattr__(self, name, value):
            print("set", name)
            super().__setattr__(name, value)

Harmless, because it is another class that does so:

    class Options:
        def __setattr__(self, name, value):
            raise AttributeError("options are fixed")

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.options = Options()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety
from bufferize.project import FunctionInfo

_NAMES = frozenset({"__setattr__", "__getattr__", "__getattribute__"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    for method in view.family_methods:
        if method.name not in _NAMES or _goes_on(method):
            continue
        if _lives_with_buffers(method, view):
            continue
        where = place(method.module, method.node)
        owner = method.owner.qualname if method.owner else view.cls.qualname
        return Hazard(
            "overrides-setattr",
            f"`{owner}` defines {method.name} ({where}), which register_buffer does not go through",
            Safety.UNSAFE,
            where,
            remedy="pass --unsafe if it treats buffers as it treats tensors",
        )
    return None


def _lives_with_buffers(method: FunctionInfo, view: ClassView) -> bool:
    """Whether a class below the override registers a buffer by hand already."""
    if method.owner is None:
        return False
    below = (method.owner, *view.project.children(method.owner))
    return any(
        use.kind == "register"
        for cls in below
        for other in cls.methods.values()
        for use in view.survey.method_uses(other)
    )


def _goes_on(method: FunctionInfo) -> bool:
    """Whether a look-up falls back on the one of nn.Module, which finds buffers."""
    if method.name == "__setattr__":
        return False
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"__getattr__", "__getattribute__"}
        for node in ast.walk(method.node)
    )
