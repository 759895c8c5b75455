"""A value that forward sets anew: an output kept for readers or a supply, not state.

The constructor only makes a placeholder. As a buffer, each forward would put a tensor into
`_buffers` that may carry a history, which `copy.deepcopy` refuses and `.to()` drags along, and
whose shape follows the last input, so that it cannot be saved. The same holds of random numbers
that forward draws anew, and of a table that the first forward blows up to the shape of its input.

Bites:

    class Attention(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.scores = torch.zeros(1)
            self.proj = nn.Linear(size, size)

        def forward(self, x):
            self.scores = torch.softmax(self.proj(x), dim=-1)
            return self.scores

Harmless, because only its size follows the input:

    class Attention(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.mask = torch.ones(size, size).tril()

        def forward(self, x):
            n = x.size(-1)
            if n > self.mask.size(0):
                self.mask = torch.ones(n, n).tril()
            return x @ self.mask[:n, :n]
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from bufferize.classes import Candidate, ClassView, Use, called_name, first_parameter, value_nodes
from bufferize.model import Hazard, Safety
from bufferize.project import FunctionInfo
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v

# parameters that say how large or where, by name or annotation
_SIZE_NAME = re.compile(r"(len|length|size|dim|device|dtype|num|offset|mode)s?$|^(n|h|w|t|b|l)$")
_SIZE_TYPES = frozenset({"int", "bool", "str", "float", "device", "dtype", "Size"})
_BLANK = re.compile(r"(new_)?(zeros|ones|empty|full)(_like)?$")
_FILLED = frozenset({"zeros", "ones", "empty", "full", "rand", "randn", "Tensor", "tensor"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not candidate.value.may_be_tensor:
        return None
    return (
        _set_from_inputs(candidate, view)
        or _drawn_anew(candidate, view)
        or _empty_at_first(candidate, view)
        or _reshaped(candidate, view)
    )


def _set_from_inputs(candidate: Candidate, view: ClassView) -> Hazard | None:
    name = candidate.attribute
    changed = any(use.changes_value for use in view.uses_after(name))
    placeholder = _is_placeholder(candidate.write.expression)
    for use, method in _set_in_forward(name, view, "fresh"):
        if not _comes_from_inputs(use, method, name):
            continue
        text = (
            f"`{name}` is set anew from its inputs in {use.function} ({use.where}): "
            "it is an output that is kept, not state"
        )
        remedy = "return it from forward, or set it to None in the constructor"
        if not changed and _runs_each_time(use, method):
            return Hazard("forward-cache", text, Safety.DISPLAY_ONLY, use.where, remedy)
        if placeholder and (not changed or _makes_blank(use.value)):
            return Hazard("forward-cache", text, Safety.UNSAFE, use.where, remedy)
    return None


def _set_in_forward(
    name: str, view: ClassView, relation: str
) -> Iterator[tuple[Use, FunctionInfo]]:
    for use in view.uses_after(name):
        if use.kind == "assign" and use.relation == relation:
            method = _method_of(use, view)
            if method is not None and use.function in view.forward_methods:
                yield use, method


def _makes_blank(value: ast.expr | None) -> bool:
    """`torch.zeros_like(x)`: only the shape of the input stays."""
    return isinstance(value, ast.Call) and _BLANK.match(called_name(value)) is not None


def _empty_at_first(candidate: Candidate, view: ClassView) -> Hazard | None:
    """`torch.Tensor()` that some method gives a value: a variable of a running computation."""
    expression = candidate.write.expression
    if not _has_no_elements(expression):
        return None
    for use in view.uses_after(candidate.attribute):
        if use.kind == "assign" and use.relation != "move":
            text = (
                f"`{candidate.attribute}` is empty until {use.function} sets it ({use.where}): "
                "its shape follows what is passed there"
            )
            remedy = "start with None, or pass --unsafe"
            return Hazard("forward-cache", text, Safety.UNSAFE, use.where, remedy)
    return None


def _has_no_elements(expression: ast.expr | None) -> bool:
    """torch.Tensor(), torch.tensor([]), torch.empty(0)."""
    if not isinstance(expression, ast.Call):
        return False
    name, args = called_name(expression), expression.args
    if name == "Tensor" and not args:
        return True
    first = args[0] if args else None
    if name in {"tensor", "Tensor", "FloatTensor"}:
        return isinstance(first, ast.List) and not first.elts
    return name == "empty" and isinstance(first, ast.Constant) and first.value == 0


def _drawn_anew(candidate: Candidate, view: ClassView) -> Hazard | None:
    """A supply of random numbers, such as dropout masks, that forward fills up again."""
    name = candidate.attribute
    if v.RANDOM not in candidate.value.traits:
        return None
    for use, value in view.values_after(name):
        if use.function not in view.forward_methods or v.RANDOM not in value.traits:
            continue
        if use.relation != "fresh" or view.updates_itself(use):
            continue
        text = (
            f"`{name}` is drawn anew in {use.function} ({use.where}): "
            "it is a supply of random numbers, not state"
        )
        remedy = "draw it in forward, on the device of the input, or pass --unsafe to save it"
        return Hazard("forward-cache", text, Safety.UNSAFE, use.where, remedy)
    return None


def _reshaped(candidate: Candidate, view: ClassView) -> Hazard | None:
    """Blown up once to fit the first input."""
    name = candidate.attribute
    for use, method in _set_in_forward(name, view, "shape"):
        args = method.node.args
        inputs = {a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs][1:]}
        names = {n.id for n in ast.walk(use.node) if isinstance(n, ast.Name)}
        if not inputs & names:
            continue
        text = (
            f"`{name}` is given a shape that follows the input in {use.function} ({use.where}): "
            "a buffer of that shape fits no other copy of the module"
        )
        remedy = "reshape it into a local of forward, or pass --unsafe"
        return Hazard("forward-cache", text, Safety.UNSAFE, use.where, remedy)
    return None


def _method_of(use: Use, view: ClassView) -> FunctionInfo | None:
    for method in view.family_methods:
        end = method.node.end_lineno or method.node.lineno
        if method.module is use.module and method.node.lineno <= use.line <= end:
            return method
    return None


def _comes_from_inputs(use: Use, method: FunctionInfo, attribute: str) -> bool:
    """Whether data of the method's arguments, and not the old value, flows into the new one."""
    value = use.node.value if isinstance(use.node, ast.Assign | ast.AnnAssign) else use.value
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return False
    own = f"{first_parameter(method.node)}.{attribute}"
    inputs = _flow(method, {a.arg for a in _data_parameters(method)}, None)
    if not _touches(value, inputs, None):
        return False
    return not _touches(value, _flow(method, set(), own), own)


def _data_parameters(method: FunctionInfo) -> Iterator[ast.arg]:
    args = method.node.args
    for parameter in [*args.posonlyargs, *args.args, *args.kwonlyargs][1:]:
        said = dotted_name(parameter.annotation) if parameter.annotation else None
        if said and said.rpartition(".")[2] in _SIZE_TYPES:
            continue
        if not _SIZE_NAME.search(parameter.arg):
            yield parameter
    if args.vararg:
        yield args.vararg


def _flow(method: FunctionInfo, names: set[str], own: str | None) -> set[str]:
    """Local names that data of `names`, or of the attribute `own`, reaches."""
    for _ in range(3):
        before = len(names)
        for node in ast.walk(method.node):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if node.value is not None and _touches(node.value, names, own):
                    names |= _bound(targets)
            elif isinstance(node, ast.For) and _touches(node.iter, names, own):
                names |= _bound([node.target])
        if len(names) == before:
            break
    return names


def _bound(targets: Sequence[ast.expr]) -> set[str]:
    nodes = (n for target in targets for n in ast.walk(target))
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _touches(value: ast.expr, names: set[str], own: str | None) -> bool:
    for node in value_nodes(value):
        if isinstance(node, ast.Name) and node.id in names:
            return True
        if own is not None and isinstance(node, ast.Attribute) and dotted_name(node) == own:
            return True
    return False


def _runs_each_time(use: Use, method: FunctionInfo) -> bool:
    """Whether the assignment stands under no condition, unless it asks for training mode."""
    waiting: list[ast.stmt] = list(method.node.body)
    while waiting:
        statement = waiting.pop()
        if statement is use.node:
            return True
        if isinstance(statement, ast.With):
            waiting += statement.body
        elif isinstance(statement, ast.Try):
            waiting += [*statement.body, *statement.orelse, *statement.finalbody]
        elif isinstance(statement, ast.If) and _asks_for_training(statement.test):
            waiting += [*statement.body, *statement.orelse]
    return False


def _asks_for_training(test: ast.expr) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr == "training" for n in ast.walk(test))


def _is_placeholder(expression: ast.expr | None) -> bool:
    """`torch.zeros(1)`, `torch.empty(0)`, `torch.Tensor()`, `torch.tensor([])` ..."""
    if not isinstance(expression, ast.Call) or called_name(expression) not in _FILLED:
        return False
    numbers = [
        n for a in expression.args for n in ast.walk(a) if not isinstance(n, ast.expr_context)
    ]
    leaves = [n for n in numbers if not isinstance(n, ast.Tuple | ast.List)]
    if not all(isinstance(leaf, ast.Constant) for leaf in leaves):
        return False
    if called_name(expression) in {"Tensor", "tensor"}:
        return len(leaves) <= 1
    sizes = [leaf.value for leaf in leaves if isinstance(leaf, ast.Constant)]
    return all(size in {0, 1} for size in sizes)
