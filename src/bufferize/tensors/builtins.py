"""Python's own functions, and methods of containers, arrays and unknown values."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace

from bufferize.project import ExternalSymbol
from bufferize.tensors import values as v
from bufferize.tensors.frame import Frame, SelfRef, storage_of
from bufferize.tensors.values import Bound, Gives, Kind, Value

_NUMBERS = frozenset(
    [
        "int",
        "float",
        "bool",
        "len",
        "sum",
        "abs",
        "round",
        "max",
        "min",
        "pow",
        "hash",
        "ord",
        "id",
        "isinstance",
        "hasattr",
        "any",
        "all",
    ]
)
# methods that only tensors have, among the things people pass to constructors
TENSOR_ONLY = frozenset(
    [
        "unsqueeze",
        "unsqueeze_",
        "masked_fill",
        "masked_fill_",
        "index_select",
        "expand_as",
        "view_as",
        "detach",
        "detach_",
        "requires_grad_",
        "new_zeros",
        "new_ones",
        "new_tensor",
        "new_full",
        "new_empty",
        "triu",
        "tril",
        "bmm",
        "log_softmax",
        "scatter",
        "scatter_",
        "gather",
        "repeat_interleave",
        "logsumexp",
        "masked_select",
        "type_as",
        "contiguous",
        "index_copy_",
        "clamp_",
        "copy_",
        "fill_",
        "mul_",
        "add_",
        "sub_",
        "div_",
    ]
)
_ARRAY_NUMBERS = frozenset({"item", "__len__", "tobytes"})


def call_builtin(
    name: str, positional: list[Value], keywords: dict[str, Value], node: ast.Call, frame: Frame
) -> Value:
    """A call of a builtin function."""
    handler = _BUILTINS.get(name)
    if handler is not None and positional:
        return handler(positional, node, frame)
    traits = (
        frozenset().union(*(x.traits & v.CARRIED for x in positional))
        if positional
        else frozenset()
    )
    if name in _NUMBERS:
        return v.make(Kind.NUMBER, traits=traits)
    if name in {"str", "repr", "format", "chr"}:
        return v.TEXT
    if name in {"list", "tuple", "set", "frozenset", "sorted", "range", "reversed"}:
        return v.sequence_of(v.NUMBER) if name == "range" else v.SEQUENCE
    if name in {"dict"}:
        items = tuple(x for key, x in keywords.items() if key != "**")
        return v.make(Kind.MAPPING, items=items, keys=tuple(k for k in keywords if k != "**"))
    return v.UNKNOWN


def _arithmetic(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    """abs, sum, max, min, pow and round work on tensors, too."""
    first = positional[0]
    parts = (
        [first]
        if first.kinds & {Kind.TENSOR, Kind.ARRAY}
        else [v.element_of(first), *positional[1:]]
    )
    known = [x for x in parts if not x.is_unknown]
    if any(x.is_tensor for x in known):
        return v.derived(known, (frame.module, node), storage_of(frame, node))
    if any(Kind.ARRAY in x.kinds for x in known):
        return v.make(Kind.ARRAY)
    return v.UNKNOWN if len(known) < len(parts) else v.NUMBER


def _sequence(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    first = positional[0]
    if first.items is not None and first.keys is None:
        return v.sequence(first.items)
    element = v.element_of(first)
    return v.sequence_of(element)


def _reversed(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    return _iterator(v.element_of(positional[0]))


def _range(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    return v.sequence_of(v.NUMBER)


def _iterator(element: Value) -> Value:
    """An iterator gives its elements once: it is no container of them."""
    return v.make(Kind.OTHER, element=element)


def _zip(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    return _iterator(v.sequence(tuple(v.element_of(x) for x in positional)))


def _enumerate(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    return _iterator(v.sequence((v.NUMBER, v.element_of(positional[0]))))


def _map(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    from bufferize.tensors.calls import call_value

    elements = [v.element_of(x) for x in positional[1:]]
    return _iterator(call_value(positional[0], elements, {}, node, frame))


def _getattr(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    from bufferize.tensors.evaluate import attribute_of

    if len(positional) < 2:
        return v.UNKNOWN
    name = positional[1].constant
    if isinstance(name, str):
        value = attribute_of(positional[0], name, frame, node)
        return v.join(value, positional[2]) if len(positional) > 2 and value.is_unknown else value
    if isinstance(positional[0].ref, ExternalSymbol) and positional[0].ref.name == "torch":
        # getattr(torch, window)(n): which function is known to the caller alone
        return v.make(Kind.CALLABLE, ref=Gives(v.tensor()))
    return v.UNKNOWN


def _setattr(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    from bufferize.tensors.registrations import record_setattr

    if len(positional) == 3 and isinstance(positional[0].ref, SelfRef):
        record_setattr(positional, node, frame)
    return v.NONE


def _iter(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    return _iterator(v.element_of(positional[0]))


def _next(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    return v.element_of(positional[0])


_BUILTINS: dict[str, Callable[[list[Value], ast.Call, Frame], Value]] = {
    "abs": _arithmetic,
    "sum": _arithmetic,
    "max": _arithmetic,
    "min": _arithmetic,
    "pow": _arithmetic,
    "round": _arithmetic,
    "list": _sequence,
    "tuple": _sequence,
    "sorted": _sequence,
    "reversed": _reversed,
    "range": _range,
    "zip": _zip,
    "enumerate": _enumerate,
    "map": _map,
    "getattr": _getattr,
    "setattr": _setattr,
    "iter": _iter,
    "next": _next,
}


def call_container_method(
    owner: Value, name: str, positional: list[Value], node: ast.Call, frame: Frame
) -> Value:
    """A method of something that is no tensor and no class of the project."""
    if owner.kinds == {Kind.OTHER} and v.RANDOM in owner.traits:
        return v.make(Kind.ARRAY, traits=frozenset({v.RANDOM}))  # rng.permutation(n)
    if owner.kinds == {Kind.ARRAY}:
        if name == "tolist":
            return v.sequence_of(v.NUMBER)
        return v.NUMBER if name in _ARRAY_NUMBERS else replace(owner, ref=None, storage=frozenset())
    if Kind.SEQUENCE in owner.kinds and name in {"append", "add", "insert", "extend", "appendleft"}:
        _grow(owner, name, positional, node, frame)
        return v.NONE
    if owner.kinds & {Kind.MAPPING, Kind.SEQUENCE}:
        return _mapping_method(owner, name, positional)
    if owner.kinds == {Kind.TEXT}:
        return v.SEQUENCE if name in {"split", "splitlines", "rsplit"} else v.TEXT
    if owner.kinds == {Kind.NUMBER}:
        return v.NUMBER
    if name in TENSOR_ONLY and not isinstance(owner.ref, Bound):
        chain = (frame.module, node)
        traits = (owner.traits & v.CARRIED) | {v.HANDED_IN}
        return v.tensor(chain, traits, owner.storage or (storage_of(frame, node),))
    if name in {"item", "tolist", "numel"}:
        return v.NUMBER
    return v.make(Kind.UNKNOWN, traits=owner.traits & v.CARRIED)


def _mapping_method(owner: Value, name: str, positional: list[Value]) -> Value:
    if name in {"get", "pop", "setdefault"}:
        key = positional[0].constant if positional else ...
        if owner.items is not None and owner.keys is not None and key in owner.keys:
            return owner.items[owner.keys.index(key)]
        return v.UNKNOWN
    if name == "values":
        return (
            v.sequence(owner.items)
            if owner.items is not None
            else v.sequence_of(v.element_of(owner))
        )
    if name == "items":
        return v.sequence_of(v.sequence((v.TEXT, v.element_of(owner))))
    if name in {"keys", "index", "count"}:
        return v.sequence_of(v.TEXT) if name == "keys" else v.NUMBER
    return owner if name == "copy" else v.UNKNOWN


def _grow(owner: Value, name: str, positional: list[Value], node: ast.Call, frame: Frame) -> None:
    """`rows.append(t)`: the list that the name holds now may contain t."""
    if not positional or not isinstance(node.func, ast.Attribute):
        return
    new = v.element_of(positional[0]) if name == "extend" else positional[-1]
    parts = [*(owner.items or ()), *([owner.element] if owner.element else []), new]
    grown = v.sequence_of(v.join_all(parts))
    target = node.func.value
    if isinstance(target, ast.Name):
        frame.names[target.id] = grown
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        holder = frame.lookup(target.value.id)
        if holder is not None and isinstance(holder.ref, SelfRef):
            attributes = holder.ref.instance.attributes
            if target.attr in attributes:
                attributes[target.attr] = replace(attributes[target.attr], value=grown)
