"""A plain twin of a buffer, on purpose: the constructor registers the same tensor by hand.

`self.mask_cpu = t; self.register_buffer("mask", self.mask_cpu)` keeps a copy that stays where it
was made while the buffer moves. A name that the same path registers, after a `del`, needs no
second registration. And `if on_cpu: self.x = t` with `else: self.register_buffer("x", t)` lets
the caller choose where it lives.

Bites:

    class Flow(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.mask_cpu = torch.ones(size)
            self.register_buffer("mask", self.mask_cpu)

Harmless, because the other is computed, not shared:

    class Flow(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.register_buffer("mask", torch.ones(size))
            self.inverse = 1 - self.mask
"""

from __future__ import annotations

import ast
import re

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety
from bufferize.project.symbols import dotted_name
from bufferize.tensors.frame import Context, Write

_PLACE_WORDS = re.compile(r"cpu|device|offload|buffer|regist|persist|sav(e|ing)|state_?dict", re.I)


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    twin = find_twin(candidate, view)
    if twin is not None:
        where = place(twin.module, twin.node)
        text = (
            f"`{candidate.attribute}` is registered under the name `{twin.attribute}` ({where}): "
            "it looks like a twin that is to stay behind"
        )
        return Hazard("registered-twin", text, Safety.DISPLAY_ONLY, where)
    same = _registered_by_hand(candidate, view)
    if same is not None:
        where = place(same.module, same.node)
        text = f"`{candidate.attribute}` is registered by hand on the same path ({where})"
        return Hazard("registered-twin", text, Safety.DISPLAY_ONLY, where)
    other = _registered_instead(candidate, view)
    if other is None:
        return None
    where = place(other.module, other.node)
    text = (
        f"another branch registers the same value as `{candidate.attribute}` ({where}): "
        "whether it is a buffer is what the branches choose"
    )
    return Hazard("registered-twin", text, Safety.DISPLAY_ONLY, where)


def _registered_instead(candidate: Candidate, view: ClassView) -> Write | None:
    """A registration of the very same expression in another arm of the same branch."""
    if candidate.write.expression is None:
        return None
    own = ast.dump(candidate.write.expression)
    for construction in view.constructions_of(candidate):
        for write in construction.writes:
            if write.form != "register" or write.attribute != candidate.attribute:
                continue
            given = _registered_value(write.node)
            if given is None or ast.dump(given) != own:
                continue
            if _asks_where_to_keep(write, candidate.write):
                return write
    return None


def _asks_where_to_keep(one: Write, other: Write) -> bool:
    """Whether the branch between the two tests something like `on_cpu` or `as_buffer`."""
    arms = dict(other.context.arms)
    apart = {branch for branch, arm in one.context.arms if arms.get(branch, arm) != arm}
    if not apart or other.function is None:
        return False
    tests = [
        n.test for n in ast.walk(other.function.node) if isinstance(n, ast.If) and id(n) in apart
    ]
    return any(_PLACE_WORDS.search(ast.unparse(test)) for test in tests)


def find_twin(candidate: Candidate, view: ClassView) -> Write | None:
    """`self.register_buffer("other", self.x)`, or the local that self.x was set from."""
    expression = candidate.write.expression
    own = {f"{candidate.write.receiver}.{candidate.attribute}"}
    if isinstance(expression, ast.Name):
        own.add(expression.id)
    for construction in view.constructions_of(candidate):
        for write in construction.writes:
            if write.form != "register" or write.attribute == candidate.attribute:
                continue
            if not write.value.storage & candidate.value.storage:
                continue
            given = _registered_value(write.node)
            if given is not None and dotted_name(given) in own:
                return write
    return None


def _registered_value(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.Call):
        if len(node.args) > 1:
            return node.args[1]
        return next((k.value for k in node.keywords if k.arg == "tensor"), None)
    return None


def _registered_by_hand(candidate: Candidate, view: ClassView) -> Write | None:
    """A registration of the same name on the same path; a `del` between breaks the link."""
    for construction in view.constructions_of(candidate):
        own = [w for w in construction.writes if w.attribute == candidate.attribute]
        removed = any(write.form == "delete" for write in own)
        sites = [w for w in own if w.key == candidate.key]
        for write in own:
            if write.form == "register" and any(_meet(write, s, removed) for s in sites):
                return write
    return None


def _meet(one: Write, other: Write, removed: bool) -> bool:
    if removed:
        return not exclude_each_other(one.context, other.context)
    earlier = [(one.key, other.earlier), (other.key, one.earlier)]
    return any(state is not None and key in state.writes for key, state in earlier)


def exclude_each_other(one: Context, other: Context) -> bool:
    """Whether the two stand in different arms of one branching statement."""
    arms = dict(other.arms)
    return any(arms.get(branch, arm) != arm for branch, arm in one.arms)
