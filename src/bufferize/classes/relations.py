"""How a new value relates to the old one that an attribute held.

In: expressions. Out: 'move', 'shape', 'itself' or 'fresh', and which parts of an expression carry
values. Purely syntactic.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bufferize.project.symbols import dotted_name

# methods whose result shares memory with the tensor: writing to it writes to the tensor
VIEWS = frozenset(
    [
        *("view", "t", "transpose", "reshape", "permute", "squeeze", "unsqueeze", "flatten"),
        *("select", "narrow"),
    ]
)
_MOVES = frozenset(
    [
        *("to", "cuda", "cpu", "contiguous", "clone", "detach", "type_as", "type"),
        *("float", "half", "double"),
    ]
)
# methods that repeat or rearrange what is there
_RESHAPES = VIEWS - {"select", "narrow"} | frozenset(
    ["repeat", "tile", "expand", "expand_as", "view_as", "reshape_as", "repeat_interleave"]
)


def relation_of(value: ast.expr, target: ast.Attribute) -> str:
    """How `target = value` relates to the target's old value."""
    own = ast.dump(ast.Attribute(target.value, target.attr, ast.Load()))
    if _same(_without(value, _MOVES), own):
        return "move"
    if _same(_without(value, _MOVES | _RESHAPES), own):
        return "shape"
    return "itself" if any(_same(node, own) for node in data_nodes(value)) else "fresh"


def _without(value: ast.expr, methods: frozenset[str]) -> ast.expr:
    """`x` of `x.to(d).repeat(2)`: what the methods are called on."""
    while (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in methods
    ):
        value = value.func.value
    return value


def value_nodes(value: ast.expr) -> Iterator[ast.AST]:
    """Nodes whose value flows into the result: shapes, devices and dtypes of tensors do not."""
    stack: list[ast.AST] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Attribute) and node.attr in {
            "shape",
            "device",
            "dtype",
            "ndim",
            "is_cuda",
        }:
            continue
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"size", "dim", "numel"}
        ):
            continue
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"len", "isinstance", "type"}
        ):
            continue
        yield node
        stack += ast.iter_child_nodes(node)


def _same(node: ast.AST, own: str) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    return ast.dump(ast.Attribute(node.value, node.attr, ast.Load())) == own


def reads(node: ast.AST, receiver: str, attribute: str) -> bool:
    """Whether the value of `receiver.attribute` flows into the expression or statement."""
    value = getattr(node, "value", node) if isinstance(node, ast.stmt) else node
    if not isinstance(value, ast.expr):
        return False
    return any(
        isinstance(child, ast.Attribute)
        and child.attr == attribute
        and dotted_name(child.value) == receiver
        for child in data_nodes(value)
    )


def data_nodes(value: ast.expr) -> Iterator[ast.AST]:
    """The same without what gives its shape alone: `zeros_like(x)`."""
    shaped = {
        id(inner)
        for node in ast.walk(value)
        if isinstance(node, ast.Call) and _name_of(node).endswith("_like")
        for argument in node.args
        for inner in ast.walk(argument)
    }
    return (node for node in value_nodes(value) if id(node) not in shaped)


def _name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
