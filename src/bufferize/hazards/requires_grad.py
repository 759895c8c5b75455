"""A tensor that requires grad.

`register_buffer` keeps the gradient flag, but a buffer is no parameter: `parameters()` and with it
every optimizer would still pass it by, and it could not be deep-copied once it has a history.
What was meant is an `nn.Parameter`.

Bites:

    class Learned(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.bias = torch.zeros(size, requires_grad=True)

Harmless, because the flag is off:

    class Fixed(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.bias = torch.zeros(size, requires_grad=False)
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, first_parameter, place
from bufferize.model import Hazard, Safety
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    name = candidate.attribute
    if v.GRAD in candidate.value.traits:
        text, where = f"`{name}` is made to require grad", candidate.where
    else:
        where = _switched_on(candidate, view)
        text = f"`{name}` is told to require grad"
        if not where:
            return None
    return Hazard(
        "requires-grad",
        f"{text}: no optimizer sees it, as a tensor or as a buffer",
        Safety.DISPLAY_ONLY,
        where,
        remedy="make it an nn.Parameter, or drop requires_grad",
    )


def _switched_on(candidate: Candidate, view: ClassView) -> str:
    """Where the class says `self.x.requires_grad_()` or `self.x.requires_grad = True`."""
    for method in view.family_methods:
        if "requires_grad" not in method.module.source.text:
            continue
        own = f"{first_parameter(method.node)}.{candidate.attribute}"
        for node in ast.walk(method.node):
            if _turns_on(node, own):
                return place(method.module, node)
    return ""


def _turns_on(node: ast.AST, own: str) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr != "requires_grad_" or dotted_name(node.func.value) != own:
            return False
        flags = [*node.args, *(k.value for k in node.keywords)]
        return not (flags and _is_false(flags[0]))
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        return dotted_name(target) == f"{own}.requires_grad" and not _is_false(node.value)
    return False


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False
