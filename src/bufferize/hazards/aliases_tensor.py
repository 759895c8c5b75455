"""A tensor that shares its memory with another attribute, a buffer, a list or a dict entry.

`.to()` gives every buffer new memory, and leaves what is no buffer alone: after it a write to one
name is no longer seen under the other. Where neither is ever written to, a clone holds the same.

Bites:

    class Rows(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.register_buffer("table", torch.ones(size, size))
            self.first = self.table[0]

Harmless, because a copy has memory of its own:

    class Rows(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.register_buffer("table", torch.ones(size, size))
            self.first = self.table[0].clone()
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bufferize.classes import Candidate, ClassView, place
from bufferize.hazards.registered_twin import find_twin
from bufferize.model import Hazard, Safety
from bufferize.project import ClassInfo
from bufferize.project.symbols import dotted_name
from bufferize.tensors.frame import Attribute
from bufferize.tensors.values import Kind, Value

_WRITES = frozenset({"augmented", "item-write", "in-place"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not candidate.value.may_be_tensor:
        return None
    partners = _partners(candidate, view)
    if partners and not _is_local_memory(candidate, view, partners):
        return _with_attributes(candidate, view, partners)
    what, where = _elsewhere(candidate, view)
    if not what:
        return None
    return Hazard(
        "aliases-tensor",
        f"`{candidate.attribute}` shares its memory with {what}",
        Safety.UNSAFE,
        where,
        remedy="take a .clone(), or pass --unsafe if neither is written to",
    )


def _with_attributes(
    candidate: Candidate, view: ClassView, partners: dict[str, Attribute]
) -> Hazard:
    name = candidate.attribute
    words = ", ".join(f"`{partner}`" for partner in partners)
    text = f"`{name}` shares its memory with {words}"
    written = next(filter(None, (_written(n, view) for n in (name, *partners))), "")
    if written:
        text += f", and one of them is written to ({written})"
    elif _is_chain(candidate, partners):
        remedy = "the second becomes a clone"
        return Hazard("aliases-tensor", text, Safety.SAFE, candidate.where, remedy)
    remedy = "take a .clone(), or pass --unsafe if none of them is written to"
    return Hazard("aliases-tensor", text, Safety.UNSAFE, written or candidate.where, remedy)


def _written(name: str, view: ClassView) -> str:
    """Where the attribute is written to in place, by anybody, or nothing."""
    uses = [*view.uses(name), *view.uses_from_outside(name)]
    return next((use.where for use in uses if use.kind in _WRITES), "")


def _partners(candidate: Candidate, view: ClassView) -> dict[str, Attribute]:
    """Other attributes that hold the same memory, or a container with it."""
    twin = find_twin(candidate, view)
    found: dict[str, Attribute] = {}
    for construction in view.constructions_of(candidate):
        for name, attribute in construction.instance.attributes.items():
            if name == candidate.attribute or (twin is not None and name == twin.attribute):
                continue
            if Kind.PARAMETER in attribute.value.kinds:
                continue
            if _shares(candidate, name, attribute.value):
                found.setdefault(name, attribute)
    return found


def _shares(candidate: Candidate, name: str, other: Value) -> bool:
    own = _names(candidate.value)
    if f"self.{name}" in own:
        return True
    return any(own & _names(value) for value in _flattened(other))


def _names(value: Value) -> set[str]:
    """Storage names that tell where the memory is; globals are read by many and written by few."""
    return {name for name in value.storage if not name.startswith(("global:", "class:"))}


def _flattened(value: Value) -> Iterator[Value]:
    if value.may_be_tensor:
        yield value
    for part in (*(value.items or ()), *([value.element] if value.element else [])):
        yield from _flattened(part)


def _is_chain(candidate: Candidate, partners: dict[str, Attribute]) -> bool:
    """`self.a = self.b = t`: the partners are set by the same statement and nothing else."""
    node = candidate.node
    if candidate.form != "chained" or not isinstance(node, ast.Assign):
        return False
    targets = {t.attr for t in node.targets if isinstance(t, ast.Attribute)}
    lives_elsewhere = any(n.startswith(("self.", "entry of")) for n in candidate.value.storage)
    return set(partners) <= targets and not lives_elsewhere


def _is_local_memory(candidate: Candidate, view: ClassView, partners: dict[str, Attribute]) -> bool:
    """Parts of a local, `lo, hi = bins[:-1], bins[1:]`, never saved and never written to.

    Each gets memory of its own when it is moved, with the same values: nobody can tell.
    """
    if candidate.form == "chained" or not candidate.is_recomputable:
        return False
    if any(partner.slots != {"plain"} for partner in partners.values()):
        return False
    values = [candidate.value, *(x for p in partners.values() for x in _flattened(p.value))]
    reachable = any(
        name.startswith(("self.", "entry of")) or name.endswith((".weight", ".bias"))
        for value in values
        for name in value.storage
    )
    return not reachable and not any(_written(n, view) for n in (candidate.attribute, *partners))


def _elsewhere(candidate: Candidate, view: ClassView) -> tuple[str, str]:
    """Memory held by something that is no attribute: a container, a child, a class."""
    for name in sorted(candidate.value.storage):
        kind, _, rest = name.partition(" of ")
        if kind == "entry":
            return f"an entry of `{rest}`", candidate.where
        if name.startswith(("global:", "class:")):
            written = _written(candidate.attribute, view)
            if written:
                return f"a tensor of the module or class, and is written to ({written})", written
        elif _is_other_object(name):
            return f"`{name}`", candidate.where
    return _handed_to_child(candidate, view)


def _is_other_object(name: str) -> bool:
    """'Block.mask': an attribute of another object, by its class."""
    return ":" not in name and " " not in name and "." in name and not name.startswith("self.")


def _handed_to_child(candidate: Candidate, view: ClassView) -> tuple[str, str]:
    """`Sampler(self.limits)`, where Sampler keeps what it is given."""
    function = candidate.write.function
    expression = candidate.write.expression
    if function is None:
        return "", ""
    own = {f"{candidate.write.receiver}.{candidate.attribute}"}
    if isinstance(expression, ast.Name):
        own.add(expression.id)
    for node in ast.walk(function.node):
        if isinstance(node, ast.Call):
            kept = _kept_by(node, own, candidate, view)
            if kept:
                return f"`{kept}`, which keeps what it is given", place(function.module, node)
    return "", ""


def _kept_by(call: ast.Call, own: set[str], candidate: Candidate, view: ClassView) -> str:
    """The module class that is constructed here and keeps one of its arguments, if it is `own`."""
    if not any(dotted_name(a) in own for a in (*call.args, *(k.value for k in call.keywords))):
        return ""
    name = dotted_name(call.func)
    symbol = view.project.resolve(candidate.write.module, name) if name else None
    if not isinstance(symbol, ClassInfo) or not view.project.is_module(symbol):
        return ""
    constructor = view.project.method(symbol, "__init__")
    if constructor is None:
        return ""
    args = constructor.node.args
    names = [a.arg for a in [*args.posonlyargs, *args.args]][1:]
    given = [n for n, a in zip(names, call.args, strict=False) if dotted_name(a) in own]
    given += [k.arg for k in call.keywords if k.arg and dotted_name(k.value) in own]
    return symbol.qualname if any(_keeps(constructor.node, n) for n in given) else ""


def _keeps(constructor: ast.AST, argument: str) -> bool:
    """`self.y = argument` or `register_buffer("y", argument.data)`."""
    kept = {argument, f"{argument}.data"}
    for node in ast.walk(constructor):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            if dotted_name(node.value) in kept:
                return True
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [*node.args[1:], *(k.value for k in node.keywords)]
            if node.func.attr == "register_buffer" and kept & set(map(dotted_name, given)):
                return True
    return False
