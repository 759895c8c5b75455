"""The class walks over its own `__dict__` or `vars(self)`.

Buffers live in `_buffers`, not in `__dict__`: a loop that moves, copies or lists the tensors found
there no longer finds a registered one. `getattr` and `hasattr` do.

Bites:

    class Listed(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def tables(self):
            return [v for v in self.__dict__.values() if torch.is_tensor(v)]

Harmless, because another object's is walked:

    class Listed(nn.Module):
        def __init__(self, size, options):
            super().__init__()
            self.names = sorted(vars(options))
            self.ids = torch.arange(size)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bufferize.classes import Candidate, ClassView, first_parameter, place
from bufferize.model import Hazard, Safety
from bufferize.project import FunctionInfo
from bufferize.project.symbols import dotted_name

# what they find is only printed
_TEXTS = frozenset({"__repr__", "__str__", "extra_repr"})
_LISTS = frozenset({"list", "sorted", "set", "tuple", "any", "all"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    for method in view.family_methods:
        text = method.module.source.text
        if method.name in _TEXTS or ("__dict__" not in text and "vars(" not in text):
            continue
        node = _walk_of(method, candidate.attribute)
        if node is not None:
            where = place(method.module, node)
            return Hazard(
                "dict-loop",
                f"`{method.name}` looks through the object's `__dict__` ({where}): "
                f"it would not find a buffer `{candidate.attribute}`",
                Safety.UNSAFE,
                where,
                remedy="look through buffers() too, or pass --unsafe",
            )
    return None


def _walk_of(method: FunctionInfo, attribute: str) -> ast.AST | None:
    receiver = first_parameter(method.node)
    named = any(isinstance(n, ast.Constant) and n.value == attribute for n in ast.walk(method.node))
    if _wants_a_prefix(method.node, attribute):
        return None
    for node in ast.walk(method.node):
        for searched in _searched(node):
            if _has_own_dict(searched, receiver):
                return node
        if named and _is_own_dict(node, receiver):
            return node
    return None


def _wants_a_prefix(function: ast.AST, attribute: str) -> bool:
    """`if name.startswith("_cache")` and the attribute's name does not."""
    prefixes = [
        node.args[0].value
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "startswith"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
    return bool(prefixes) and not any(attribute.startswith(str(p)) for p in prefixes)


def _searched(node: ast.AST) -> Iterator[ast.AST]:
    """What a loop, comprehension or list goes through. A copy as a whole has the buffers in it."""
    if isinstance(node, ast.For):
        if not all(_looks_for_others(statement) for statement in node.body):
            yield node.iter
    elif isinstance(node, ast.comprehension):
        if not any(_asks_for_others(test) for test in node.ifs):
            yield node.iter
    elif isinstance(node, ast.Call) and dotted_name(node.func) in _LISTS:
        yield from (a for a in node.args if not isinstance(a, ast.GeneratorExp))


def _looks_for_others(statement: ast.stmt) -> bool:
    """`if isinstance(value, nn.Module): ...` and nothing else: tensors are passed over."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    return _asks_for_others(statement.test)


def _asks_for_others(test: ast.expr) -> bool:
    if not (isinstance(test, ast.Call) and isinstance(test.func, ast.Name)):
        return False
    if test.func.id != "isinstance" or len(test.args) != 2:
        return False
    return "Tensor" not in ast.unparse(test.args[1])


def _has_own_dict(node: ast.AST, receiver: str | None) -> bool:
    return any(_is_own_dict(child, receiver) for child in ast.walk(node))


def _is_own_dict(node: ast.AST, receiver: str | None) -> bool:
    """`self.__dict__` or `vars(self)`."""
    owner: ast.AST | None = None
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        owner = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars":
        owner = node.args[0] if len(node.args) == 1 else None
    return isinstance(owner, ast.Name) and owner.id == receiver
