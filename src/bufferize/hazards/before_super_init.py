"""A tensor that is set before `super().__init__()` ran.

`register_buffer` raises AttributeError "cannot assign buffer before Module.__init__() call" there,
while plain tensors may be set. The statement is moved behind the call where nothing between them
could notice, and left alone otherwise.

Bites:

    class Shift(nn.Module):
        def __init__(self, size):
            self.ids = torch.arange(size)
            super().__init__()

Harmless, because only a local is made before the call:

    class Shift(nn.Module):
        def __init__(self, size):
            ids = torch.arange(size)
            super().__init__()
            self.ids = ids
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from bufferize.classes import Candidate, ClassView, find_mention, first_parameter
from bufferize.model import Hazard, Safety
from bufferize.project.symbols import FunctionNode, dotted_name
from bufferize.tensors import values as v


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if candidate.initialised:
        return None
    text = f"`{candidate.attribute}` is set before nn.Module.__init__ ran"
    if super_call_to_move_behind(candidate, view) is not None:
        remedy = "moved after super().__init__()"
        return Hazard("before-super-init", text, Safety.SAFE, candidate.where, remedy)
    if not view.construction.instance.initialised:
        text += ", which may never be called"
    remedy = "call super().__init__() first"
    return Hazard("before-super-init", text, Safety.DISPLAY_ONLY, candidate.where, remedy)


def super_call_to_move_behind(candidate: Candidate, view: ClassView) -> ast.stmt | None:
    """The `super().__init__()` statement that the site may stand behind, unnoticed by anybody."""
    constructor = view.cls.methods.get("__init__")
    node = candidate.node
    if candidate.initialised or constructor is None:
        return None
    if candidate.form not in {"plain", "annotated"}:
        return None
    body = constructor.node.body
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node not in body:
        return None
    if not view.certain or view.project.unresolved(view.cls) or _depends_on_path(candidate):
        return None
    behind = body[body.index(node) + 1 :]
    calls = [statement for statement in behind if _is_super_call(statement)]
    if len(calls) != 1 or not view.construction.instance.initialised:
        return None
    skipped = behind[: behind.index(calls[0]) + 1]
    receiver = first_parameter(constructor.node)
    if receiver is None or node.value is None or _is_noticed(candidate, skipped, receiver):
        return None
    if not _keeps_its_value(candidate, view, node.value, skipped, receiver):
        return None
    return None if _read_by_bases(candidate, view) else calls[0]


def _depends_on_path(candidate: Candidate) -> bool:
    contexts = [write.context for write in candidate.writes]
    return any(c.arms or c.in_loop or c.in_try for c in contexts)


def _is_super_call(statement: ast.stmt) -> bool:
    """`super().__init__(...)` or `Base.__init__(self, ...)` on a line of its own."""
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return False
    function = statement.value.func
    return isinstance(function, ast.Attribute) and function.attr == "__init__"


def _is_noticed(candidate: Candidate, skipped: Sequence[ast.stmt], receiver: str) -> bool:
    """Whether a statement that is skipped reads the attribute, or hands `self` to anybody."""
    for statement in skipped:
        if find_mention(statement, receiver, candidate.attribute):
            return True
        if isinstance(statement, ast.Return | ast.Raise):
            return True
        known = {id(n.value) for n in ast.walk(statement) if isinstance(n, ast.Attribute)}
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id == receiver and id(node) not in known:
                # Base.__init__(self) is what is skipped to
                if not _is_super_call(statement):
                    return True
            elif isinstance(node, ast.Call) and _calls_on(node, receiver):
                return True
    return False


def _calls_on(node: ast.Call, receiver: str) -> bool:
    name = dotted_name(node.func)
    return name is not None and name.startswith(f"{receiver}.")


def _keeps_its_value(
    candidate: Candidate,
    view: ClassView,
    value: ast.expr,
    skipped: Sequence[ast.stmt],
    receiver: str,
) -> bool:
    """Whether the value is the same when it is computed behind the skipped statements."""
    if v.RANDOM in candidate.value.traits and (view.ancestors or len(skipped) > 1):
        return False
    names = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)} - {receiver}
    if names & _bound_in(skipped):
        return False
    for node in ast.walk(value):
        if isinstance(node, ast.Call) and _calls_on(node, receiver):
            return False
        if not isinstance(node, ast.Attribute) or dotted_name(node.value) != receiver:
            continue
        writes = view.writes_in_family(node.attr)
        lines = {w.node.lineno for w in writes if w.owner is view.cls}
        if not writes or any(w.owner is not view.cls for w in writes):
            return False
        if any(line > candidate.node.lineno for line in lines):
            return False
    return True


def _bound_in(statements: Sequence[ast.stmt]) -> set[str]:
    return {
        node.id
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }


def _read_by_bases(candidate: Candidate, view: ClassView) -> bool:
    """Whether a base class's constructor, or what it calls on self, reads the attribute."""
    constructors = [c.methods["__init__"] for c in view.ancestors if "__init__" in c.methods]
    reached = view.reached_by(constructors) - {"__init__"}
    run: list[FunctionNode] = [method.node for method in constructors]
    run += [method.node for method in view.family_methods if method.name in reached]
    return any(find_mention(node, first_parameter(node), candidate.attribute) for node in run)
