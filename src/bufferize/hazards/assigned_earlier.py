"""The same constructor sets the name before, so that it is taken when the buffer is registered.

`register_buffer("mask", ...)` raises KeyError "attribute 'mask' already exists" over a plain
attribute, even over None. An earlier `self.mask = None` becomes `register_buffer("mask", None)`,
which a second registration may replace.

Bites:

    class Attention(nn.Module):
        def __init__(self, size, causal=True):
            super().__init__()
            self.mask = None
            if causal:
                self.mask = torch.ones(size, size).tril()

Harmless, because only one of the two runs:

    class Attention(nn.Module):
        def __init__(self, size, causal=True):
            super().__init__()
            if causal:
                self.mask = torch.ones(size, size).tril()
            else:
                self.mask = None
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety
from bufferize.tensors.frame import Write

_TENSOR_FORMS = frozenset({"plain", "annotated", "chained", "tuple", "setattr", "augmented"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    asked = _asks_whether_taken(candidate)
    if asked is not None:
        where = place(candidate.write.module, asked)
        text = f"`{candidate.attribute}` replaces an attribute: its name is taken ({where})"
        return Hazard("assigned-earlier", text, Safety.DISPLAY_ONLY, where)
    name = candidate.attribute
    earlier = [w for w in taken_by(candidate, view) if w.owner not in view.ancestors]
    obstacles = [w for w in earlier if not _is_convertible(w)]
    if obstacles:
        where = place(obstacles[0].module, obstacles[0].node)
        text = f"`{name}` is set before ({where}): register_buffer would raise KeyError"
        return Hazard("assigned-earlier", text, Safety.DISPLAY_ONLY, where)
    if earlier:
        where = place(earlier[0].module, earlier[0].node)
        text = f"`{name}` is set to None before ({where}), which takes the name"
        remedy = f'the earlier `= None` becomes register_buffer("{name}", None)'
        return Hazard("assigned-earlier", text, Safety.SAFE, where, remedy)
    if _is_field(candidate):
        text = f"`{name}` is a field of the dataclass: its constructor takes the name"
        return Hazard("assigned-earlier", text, Safety.DISPLAY_ONLY, candidate.where)
    return None


def taken_by(candidate: Candidate, view: ClassView) -> tuple[Write, ...]:
    """Earlier writes on the same path that leave a plain attribute behind, one for each site."""
    found = []
    for key in sorted(candidate.earlier):
        runs = view.survey.writes.get(key, [])
        for write in runs:
            if not _leaves_the_name_free(write):
                found.append(write)
                break
    return tuple(sorted(found, key=lambda w: (w.module.source.name, w.node.lineno)))


def convertible_none_writes(candidate: Candidate, view: ClassView) -> tuple[Write, ...]:
    """The earlier `self.x = None` that have to become registrations; empty if one cannot."""
    writes = taken_by(candidate, view)
    own = [w for w in writes if w.owner not in view.ancestors and _is_convertible(w)]
    return tuple(own) if len(own) == len(writes) else ()


def _leaves_the_name_free(write: Write) -> bool:
    """A registration, a deletion, or a tensor that will be registered too."""
    if write.form in {"register", "delete"}:
        return True
    value = write.value
    return write.form in _TENSOR_FORMS and value.may_be_tensor and value.is_tensor_or_none


def _is_convertible(write: Write) -> bool:
    expression = write.expression
    return (
        write.form in {"plain", "annotated"}
        and isinstance(expression, ast.Constant)
        and expression.value is None
        and write.initialised
        and write.module.judged
    )


def _is_field(candidate: Candidate) -> bool:
    """Whether something other than a write of the constructor set the attribute before."""
    states = [w.earlier for w in candidate.writes if w.earlier is not None]
    return any(not state.writes and "plain" in state.slots for state in states)


def _asks_whether_taken(candidate: Candidate) -> ast.Call | None:
    """`if hasattr(self, key): setattr(self, key, ...)`: the name is set elsewhere already."""
    name, function = candidate.write.dynamic, candidate.write.function
    if not name or function is None:
        return None
    for node in ast.walk(function.node):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        asks = getattr(node.func, "id", "") in {"hasattr", "getattr"}
        if asks and ast.unparse(node.args[1]) == name:
            return node
    return None
