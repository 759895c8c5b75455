"""What the way an attribute is used tells of its value, where its assignment does not.

A file holds a tensor or a dict of them: `x @ self.components` settles which.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from bufferize.project import ClassInfo
from bufferize.project.symbols import dotted_name
from bufferize.tensors.builtins import TENSOR_ONLY

_MAPPING_METHODS = frozenset({"items", "keys", "values", "get", "update", "pop", "state_dict"})
_TENSOR_METHODS = TENSOR_ONLY | {"to", "cuda", "float", "long", "expand", "size", "dim", "mean"}
_TENSOR_FIELDS = frozenset({"shape", "device", "dtype", "T", "mT", "ndim"})
_TORCH_HEADS = frozenset({"torch", "F", "nn", "functional"})


def is_used_as_tensor(classes: Iterable[ClassInfo], attribute: str) -> bool:
    """Whether every telling use of `self.attribute` is one of a tensor, and there is one."""
    votes = [
        vote for cls in classes for node in ast.walk(cls.node) for vote in _votes(node, attribute)
    ]
    return bool(votes) and all(votes)


def _votes(node: ast.AST, attribute: str) -> Iterable[bool]:
    """True: a tensor is used so; False: something else is."""
    if isinstance(node, ast.BinOp):
        if _is_it(node.left, attribute) or _is_it(node.right, attribute):
            yield True
    elif isinstance(node, ast.Subscript) and _is_it(node.value, attribute):
        key = node.slice
        text = isinstance(key, ast.Constant) and isinstance(key.value, str)
        yield not text
    elif isinstance(node, ast.Attribute) and _is_it(node.value, attribute):
        if node.attr in _MAPPING_METHODS:
            yield False
        elif node.attr in _TENSOR_METHODS | _TENSOR_FIELDS:
            yield True
    elif isinstance(node, ast.Call):
        yield from _call_votes(node, attribute)


def _call_votes(node: ast.Call, attribute: str) -> Iterable[bool]:
    name = dotted_name(node.func) or ""
    if _is_it(node.func, attribute):
        yield False
    if any(_is_it(argument, attribute) for argument in node.args):
        if name.endswith("load_state_dict"):
            yield False
        elif name.split(".")[0] in _TORCH_HEADS:
            yield True
    if any(k.arg is None and _is_it(k.value, attribute) for k in node.keywords):
        yield False


def _is_it(node: ast.expr, attribute: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == attribute
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )
