"""The attribute is assigned something that is neither a tensor nor None.

Over a buffer such an assignment raises TypeError "cannot assign 'float' as buffer"; over a plain
attribute anything goes. Every assignment of the repository counts that may reach an instance.

Bites:

    class Scaled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.scale = torch.ones(size)

        def disable(self):
            self.scale = 1.0

Harmless, because it is another kind of object:

    class Config:
        def __init__(self):
            self.scale = 2.0

    class Scaled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.scale = torch.ones(size)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, Use, place
from bufferize.hazards.registered_twin import exclude_each_other
from bufferize.model import Hazard, Safety
from bufferize.tensors.values import Kind, Value

_WORDS = {
    Kind.NUMBER: "a number",
    Kind.TEXT: "a string",
    Kind.ARRAY: "a numpy array",
    Kind.SEQUENCE: "a list or tuple",
    Kind.MAPPING: "a dict",
    Kind.CALLABLE: "a function",
    Kind.MODULE: "a module",
    Kind.OTHER: "something else",
}
_FORMS = frozenset({"plain", "annotated", "chained", "tuple", "setattr", "loop", "module"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    found = _constructed(candidate, view) or _later(candidate, view) or _outside(candidate, view)
    if found is None:
        return None
    what, where = found
    return Hazard(
        "assigned-non-tensor",
        f"`{candidate.attribute}` is assigned {what} ({where}): a buffer raises TypeError there",
        Safety.DISPLAY_ONLY,
        where,
        remedy="assign a tensor or None there",
    )


def _constructed(candidate: Candidate, view: ClassView) -> tuple[str, str] | None:
    """Other writes of the constructors that may meet the site on one path.

    Earlier ones of base classes are a hazard of their own.
    """
    earlier = candidate.earlier
    for write in view.writes_in_family(candidate.attribute):
        if write.key == candidate.key or write.form not in _FORMS or write.value.may_be_tensor:
            continue
        if write.key in earlier and write.owner in view.ancestors:
            continue
        if all(exclude_each_other(write.context, own.context) for own in candidate.writes):
            continue
        what = _what(write.value)
        if what:
            return what, place(write.module, write.node)
    return None


def _later(candidate: Candidate, view: ClassView) -> tuple[str, str] | None:
    for use, value in view.values_after(candidate.attribute):
        what = _what(value)
        if what:
            return what, use.where
    for use in view.uses_after(candidate.attribute):
        what = _literal(use)
        if what:
            return what, use.where
    return None


def _outside(candidate: Candidate, view: ClassView) -> tuple[str, str] | None:
    for use in view.uses_from_outside(candidate.attribute):
        what = _literal(use)
        if what:
            return what, use.where
    return None


def _what(value: Value) -> str:
    """What it surely may be; arithmetic with an unknown operand proves nothing."""
    if value.is_unknown:
        return ""
    return next((word for kind, word in _WORDS.items() if kind in value.kinds), "")


def _literal(use: Use) -> str:
    """What an assignment plainly puts there, by its syntax alone."""
    node = use.value
    if use.kind != "assign" or node is None:
        return ""
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    if isinstance(node, ast.Constant):
        if node.value is None:
            return ""
        return "a string" if isinstance(node.value, str | bytes) else "a number"
    if isinstance(node, ast.List | ast.Tuple | ast.ListComp):
        return "a list or tuple"
    return "a dict" if isinstance(node, ast.Dict | ast.DictComp) else ""
