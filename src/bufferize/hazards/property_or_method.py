"""The name belongs to a property or a method, of the class or of `nn.Module` itself.

`register_buffer` raises KeyError for any name the object already answers to: a property, even one
with a setter, and every method, `half`, `float` and `type` of nn.Module included.

Bites:

    class Halves(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.half = torch.ones(size) / 2

Harmless, because the property has another name:

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self._ids = torch.arange(size)

        @property
        def ids(self):
            return self._ids
"""

from __future__ import annotations

from bufferize import facts
from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    what, where = _name_belongs_to(candidate, view)
    if not what:
        return None
    return Hazard(
        "property-or-method",
        f"`{candidate.attribute}` is also {what}: register_buffer would raise KeyError",
        Safety.DISPLAY_ONLY,
        where,
        remedy="give the tensor another name",
    )


def _name_belongs_to(candidate: Candidate, view: ClassView) -> tuple[str, str]:
    name = candidate.attribute
    found = view.class_level(name)
    if found is not None and found[2] in {"property", "method"}:
        cls, node, kind = found
        return f"a {kind} of `{cls.qualname}`", place(cls.module, node)
    for cls in view.descendants:
        if name in cls.methods:
            node = cls.methods[name].node
            return f"a method or property of the subclass `{cls.qualname}`", place(cls.module, node)
    if name in facts.module_attributes():
        return "an attribute of nn.Module itself", candidate.where
    return "", ""
