"""The class is compiled by TorchScript, or the attribute is `Final`.

The compiler types attributes and buffers by its own rules: a `Final` or `__constants__` entry is
baked into the code and may not be a buffer, and a buffer that may be None has another type.

Bites:

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        @torch.jit.export
        def first(self):
            return self.ids[0]

Harmless, because another function is compiled:

    @torch.jit.script
    def double(x):
        return x + x

    class Shift(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, called_name, place
from bufferize.model import Hazard, Safety
from bufferize.project import ExternalSymbol, Module
from bufferize.project.symbols import dotted_name

_MARKS = ("jit.export", "jit.script_method", "jit.script")


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    what, where = _constant(candidate, view)
    if not what and view.survey.modules_with("jit"):
        what, where = _marked(view)
        if not what:
            what, where = _scripted(view)
    if not what:
        return None
    return Hazard(
        "torchscript",
        f"{what} ({where}): TorchScript treats buffers by rules of its own",
        Safety.UNSAFE,
        where,
        remedy="pass --unsafe and compile it again to see",
    )


def _constant(candidate: Candidate, view: ClassView) -> tuple[str, str]:
    """`x: Final[Tensor]` and `__constants__ = ["x"]`."""
    name = candidate.attribute
    node = candidate.node
    if isinstance(node, ast.AnnAssign) and _is_final(node):
        return f"`{name}` is Final", candidate.where
    for cls in (view.cls, *view.ancestors):
        statement = cls.attributes.get(name)
        if isinstance(statement, ast.AnnAssign) and _is_final(statement):
            return f"`{name}` is Final", place(cls.module, statement)
        constants = cls.attributes.get("__constants__")
        for part in ast.walk(constants) if constants is not None else ():
            if isinstance(part, ast.Constant) and part.value == name:
                return f"`{name}` is in __constants__", place(cls.module, part)
    return "", ""


def _is_final(node: ast.AnnAssign) -> bool:
    annotation = node.annotation
    base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return (dotted_name(base) or "").rpartition(".")[2] == "Final"


def _marked(view: ClassView) -> tuple[str, str]:
    """`@torch.jit.export` on a method, `@torch.jit.script` on the class."""
    for cls in view.family:
        if "jit" not in cls.module.source.text:
            continue
        for method in cls.methods.values():
            if any(d.endswith(_MARKS) for d in method.decorators):
                return f"`{method.name}` is compiled", place(cls.module, method.node)
        marks = [dotted_name(d) or "" for d in cls.node.decorator_list]
        if any(mark.endswith("jit.script") for mark in marks):
            return f"`{cls.qualname}` is compiled", place(cls.module, cls.node)
    return "", ""


def _scripted(view: ClassView) -> tuple[str, str]:
    """`torch.jit.script(Shift(4))`, or of a name that is bound to one."""
    names = {c.node.name for c in (view.cls, *view.descendants)}
    for module, call in view.survey.calls_of("script", beside="jit"):
        if not call.args or not _is_compiler(call, module, view):
            continue
        given = call.args[0]
        if isinstance(given, ast.Name):
            given = _bound_to(given.id, module) or given
        if isinstance(given, ast.Call) and called_name(given) in names:
            return f"`{called_name(given)}` is compiled", place(module, call)
    return "", ""


def _is_compiler(call: ast.Call, module: Module, view: ClassView) -> bool:
    name = dotted_name(call.func) or ""
    symbol = view.project.resolve(module, name) if name else None
    return isinstance(symbol, ExternalSymbol) and symbol.name == "torch.jit.script"


def _bound_to(name: str, module: Module) -> ast.expr | None:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
    return None
