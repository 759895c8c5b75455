"""The class has an attribute of that name.

`register_buffer` asks `hasattr(self, name)` and raises KeyError for a class attribute too, while a
plain assignment shadows it. A bare annotation (`mask: Tensor`) is no attribute. A constant that
every object shadows is dropped; one that somebody may read stays, and so does the assignment.

Bites:

    class Shift(nn.Module):
        ids = None

        def __init__(self, size, count=True):
            super().__init__()
            if count:
                self.ids = torch.arange(size)

Harmless, because a bare annotation makes no attribute:

    class Shift(nn.Module):
        ids: torch.Tensor

        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, find_mention, first_parameter, place
from bufferize.model import Hazard, Safety
from bufferize.project import ClassInfo, FunctionInfo
from bufferize.project.symbols import dotted_name


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    found = _class_level(candidate.attribute, view)
    if found is None:
        return None
    cls, statement = found
    where = place(cls.module, statement)
    text = f"`{cls.qualname}.{candidate.attribute}` is a class attribute ({where})"
    if class_statement_to_drop(candidate, view) is not None:
        remedy = "the class attribute is dropped: every object sets its own"
        return Hazard("class-attribute", text, Safety.SAFE, where, remedy)
    text += ": register_buffer would raise KeyError"
    remedy = "make it a bare annotation, if nobody reads it from the class"
    return Hazard("class-attribute", text, Safety.DISPLAY_ONLY, where, remedy)


def _class_level(attribute: str, view: ClassView) -> tuple[ClassInfo, ast.AST] | None:
    found = view.class_level(attribute)
    if found is not None:
        return (found[0], found[1]) if found[2] == "assignment" else None
    for cls in view.descendants:
        statement = cls.attributes.get(attribute)
        if statement is not None and getattr(statement, "value", None) is not None:
            return cls, statement
    return None


def class_statement_to_drop(candidate: Candidate, view: ClassView) -> ast.stmt | None:
    """The class-level statement that may go because every object shadows it before any read."""
    attribute = candidate.attribute
    statement = view.cls.attributes.get(attribute)
    if statement is None or statement not in view.cls.node.body or not _is_constant(statement):
        return None
    others = [c for c in (*view.ancestors, *view.descendants) if attribute in c.attributes]
    if others or view.cls.is_dataclass or not _always_runs(candidate, view):
        return None
    if _read_before(candidate, view) or _read_through_class(attribute, view):
        return None
    return statement


def _is_constant(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return len(statement.targets) == 1 and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant)


def _always_runs(candidate: Candidate, view: ClassView) -> bool:
    """Whether no constructor of the family can end without running the site."""
    function = candidate.write.function
    if candidate.is_conditional or function is None or function.name != "__init__":
        return False
    returns = (n for n in ast.walk(function.node) if isinstance(n, ast.Return))
    if any(node.lineno < candidate.node.lineno for node in returns):
        return False
    reached = {write.concrete for write in candidate.writes}
    return reached >= {view.cls, *view.descendants}


def _read_before(candidate: Candidate, view: ClassView) -> bool:
    """Whether the constructor may read the attribute before the site."""
    function = candidate.write.function
    assert function is not None
    line = candidate.node.lineno
    bases = [c.methods["__init__"] for c in view.ancestors if "__init__" in c.methods]
    called = view.reached_by(bases) | _called_before(function, line, view)
    run = [m for m in view.family_methods if m.name in called - {"__init__"}]
    if any(_mentions(method, candidate.attribute) for method in [*bases, *run]):
        return True
    receiver = first_parameter(function.node)
    return any(
        find_mention(statement, receiver, candidate.attribute)
        for statement in function.node.body
        if statement.lineno < line
    )


def _mentions(method: FunctionInfo, attribute: str) -> bool:
    return find_mention(method.node, first_parameter(method.node), attribute) is not None


def _called_before(function: FunctionInfo, line: int, view: ClassView) -> frozenset[str]:
    receiver = first_parameter(function.node)
    names = {
        node.func.attr
        for node in ast.walk(function.node)
        if isinstance(node, ast.Call)
        and node.lineno < line
        and isinstance(node.func, ast.Attribute)
        and dotted_name(node.func.value) == receiver
    }
    return view.reached_from(*names)


def _read_through_class(attribute: str, view: ClassView) -> bool:
    """`Shift.ids`, `cls.ids`, `type(self).ids` or `getattr(Shift, "ids")` anywhere."""
    for module in view.survey.modules_with(attribute):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr == attribute:
                if _is_class(node.value):
                    return True
            elif isinstance(node, ast.Call) and _asks_by_name(node, attribute):
                return True
    return False


def _is_class(node: ast.expr) -> bool:
    """By the look of it: any capitalised name may be the class under another name."""
    if isinstance(node, ast.Call):
        return dotted_name(node.func) in {"type", "super"}
    name = (dotted_name(node) or "").rpartition(".")[2]
    return name in {"cls", "klass", "__class__"} or name.lstrip("_")[:1].isupper()


def _asks_by_name(node: ast.Call, attribute: str) -> bool:
    name = dotted_name(node.func)
    return name in {"getattr", "hasattr"} and any(
        isinstance(a, ast.Constant) and a.value == attribute for a in node.args
    )
