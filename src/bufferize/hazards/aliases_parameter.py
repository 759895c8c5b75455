"""A tensor that shares its memory with a Parameter.

`self.proj.weight.data` follows the weight while it is trained. A buffer of it is registered a
second time beside the Parameter: `.to()` and `load_state_dict` tear the two apart, and a
Parameter handed to `register_buffer` is no longer found by `parameters()`.

Bites:

    class Tied(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.proj = nn.Linear(size, size)
            self.shadow = self.proj.weight.detach()

Harmless, because a copy has memory of its own:

    class Tied(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.proj = nn.Linear(size, size)
            self.shadow = self.proj.weight.detach().clone()
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, called_name, place
from bufferize.model import Hazard, Safety
from bufferize.project.symbols import FunctionNode, dotted_name
from bufferize.tensors.construct import Construction
from bufferize.tensors.values import Kind


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not candidate.value.may_be_tensor:
        return None
    found = find_parameter(candidate, view)
    where = candidate.where
    if not found:
        found, where = _handed_in(candidate, view)
    if not found:
        return None
    return Hazard(
        "aliases-parameter",
        f"`{candidate.attribute}` shares its memory with {found}",
        Safety.DISPLAY_ONLY,
        where,
        remedy="take a copy with .detach().clone(), or use the Parameter itself",
    )


def find_parameter(candidate: Candidate, view: ClassView) -> str:
    """What the Parameter is called whose memory the value shares, or nothing."""
    for name in sorted(candidate.value.storage):
        if name.endswith((".weight", ".bias")):
            return f"a layer's {name.rpartition('.')[2]}"
    for construction in view.constructions_of(candidate):
        name = _sharing(candidate, construction) or _wrapped(candidate, construction)
        if name:
            return f"the Parameter `{name}`"
    return ""


def _sharing(candidate: Candidate, construction: Construction) -> str:
    storage = candidate.value.storage
    for name, attribute in construction.instance.attributes.items():
        if name == candidate.attribute or Kind.PARAMETER not in attribute.value.kinds:
            continue
        if f"self.{name}" in storage or storage & attribute.value.storage:
            return name
    return ""


def _wrapped(candidate: Candidate, construction: Construction) -> str:
    """`self.other = nn.Parameter(self.x)`: a Parameter takes the memory it is given."""
    expression = candidate.write.expression
    local = expression.id if isinstance(expression, ast.Name) else None
    own = {f"{candidate.write.receiver}.{candidate.attribute}", local} - {None}
    for write in construction.writes:
        call = write.expression
        if write.form != "parameter" or write.attribute == candidate.attribute:
            continue
        if isinstance(call, ast.Call) and call.args and dotted_name(call.args[0]) in own:
            return write.attribute
    return ""


def _handed_in(candidate: Candidate, view: ClassView) -> tuple[str, str]:
    """What the repository's own calls pass for the constructor argument that is kept."""
    kept = {n.partition(" ")[2] for n in candidate.value.storage if n.startswith("argument ")}
    constructor = view.project.method(view.cls, "__init__")
    if not kept or constructor is None:
        return "", ""
    for cls in (view.cls, *view.descendants):
        for module, call in view.survey.calls_of(cls.node.name):
            for name in sorted(kept):
                given = _argument(call, constructor.node, name)
                if given is not None and _is_parameter(given):
                    text = f"what is handed in: `{ast.unparse(given)}`"
                    return text, place(module, call)
    return "", ""


def _argument(call: ast.Call, function: FunctionNode, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    names = [a.arg for a in [*function.args.posonlyargs, *function.args.args]][1:]
    place_ = names.index(name) if name in names else len(call.args)
    return call.args[place_] if place_ < len(call.args) else None


def _is_parameter(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr in {"weight", "bias"}
    return isinstance(node, ast.Call) and called_name(node) == "Parameter"
