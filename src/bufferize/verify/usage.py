"""What a constructor does with its arguments, read from its source.

In: a class. Out: for each argument, and for each attribute or key of it ('config.hidden_size'), how
it is used: iterated, called, compared with strings, passed on under which name. Never calls
anything of the user's. Part of the worker: standard library only.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# a parameter with its attributes ('.name') and keys ('[name]')
Path = tuple[str, ...]
DEEPEST = 4
_PASS_ROWS_ON = frozenset({"enumerate", "zip", "reversed", "list", "tuple", "sorted", "set"})
_DICT_METHODS = frozenset({"get", "items", "keys", "values", "pop", "setdefault"})


@dataclass(slots=True)
class Use:
    strings: list[str] = field(default_factory=list)
    # names of the parameters that it is handed to, in reading order
    names: list[str] = field(default_factory=list)
    is_sequence: bool = False
    is_mapping: bool = False
    is_called: bool = False
    # called without arguments, as `act_layer()`: a class, not a function
    is_built: bool = False
    is_number: bool = False
    is_tested: bool = False
    is_tensor: bool = False
    unpacked: int = 0


def read_usage(cls: type, namespace: Mapping[str, object]) -> dict[Path, Use]:
    """How the constructor of `cls` and the classes that it hands things to use its arguments."""
    reader = _Usage(namespace)
    reader.read_class(cls, None, 0)
    return reader.uses


def class_node(cls: type) -> ast.ClassDef | None:
    """The syntax of a class, None where its source is not to be had.

    Not by inspect.getsource, which walks the whole file again for every class: half a second each
    in a large file.
    """
    try:
        name = inspect.getsourcefile(cls) or ""
    except (TypeError, OSError):
        return None
    module = inspect.getmodule(cls)
    lines = linecache.getlines(name, vars(module) if module else None)
    return _classes_in("".join(lines)).get(cls.__qualname__.replace("<locals>.", ""))


@functools.lru_cache(maxsize=64)
def _classes_in(text: str) -> dict[str, ast.ClassDef]:
    found: dict[str, ast.ClassDef] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.ClassDef):
                found[prefix + child.name] = child
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                name = f"{prefix}{child.name}."
            if not isinstance(child, ast.expr):
                waiting.append((name, child))
    return found


def parameters_of(thing: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a call, without self; empty where they cannot be known."""
    try:
        return list(inspect.signature(thing).parameters.values())
    except (ValueError, TypeError):
        return []


class _Usage:
    def __init__(self, namespace: Mapping[str, object]) -> None:
        self.namespace = namespace
        self.uses: dict[Path, Use] = {}
        self.seen: set[tuple[type, tuple[tuple[str, Path], ...]]] = set()

    def read_class(self, cls: type, bound: Mapping[str, Path] | None, depth: int) -> None:
        """Read `cls`, whose parameters stand for the paths `bound` (None: for themselves)."""
        owner = next((c for c in cls.__mro__ if "__init__" in vars(c)), None)
        if owner is None or owner is object or owner.__module__.startswith("torch."):
            return
        if bound is None:
            bound = {p.name: (p.name,) for p in parameters_of(cls)}
        key = (cls, tuple(sorted(bound.items())))
        node = class_node(owner) if depth < DEEPEST and key not in self.seen else None
        self.seen.add(key)
        if node is None:
            return
        methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
        names = dict(bound)
        seen_from = getattr(vars(owner)["__init__"], "__globals__", self.namespace)
        body = _Body(self, seen_from, owner, depth)
        if init := methods.pop("__init__", None):
            body.read(init, names)
        attributes = {name: path for name, path in body.names.items() if name.startswith("self.")}
        for method in methods.values():
            body.read(method, attributes)

    def use(self, path: Path) -> Use:
        return self.uses.setdefault(path, Use())


class _Body(ast.NodeVisitor):
    """Reads one method; `names` maps local names and 'self.x' to paths."""

    def __init__(
        self, usage: _Usage, namespace: Mapping[str, object], owner: type, depth: int
    ) -> None:
        self.usage = usage
        self.namespace = namespace
        self.owner = owner
        self.depth = depth
        self.names: dict[str, Path] = {}

    def read(self, method: ast.FunctionDef, names: Mapping[str, Path]) -> None:
        own = {a.arg for a in ast.walk(method.args) if isinstance(a, ast.arg)}
        given = {k: v for k, v in names.items() if k not in own or method.name == "__init__"}
        self.names = dict(given)
        for node in method.body:
            self.visit(node)

    def path(self, node: ast.AST) -> Path | None:
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                return self.names.get(f"self.{node.attr}")
            base = self.path(node.value)
            return (*base, f".{node.attr}") if base else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            base = self.path(node.value)
            if base and isinstance(node.slice.value, str):
                return (*base, f"[{node.slice.value}]")
        return None

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        value = node.value
        # `self.x = x or 4`, `x = x if x is not None else y`: still x
        if isinstance(value, ast.BoolOp):
            value = value.values[0]
        path = self.path(value)
        for target in node.targets:
            if path and isinstance(target, ast.Tuple):
                self.usage.use(path).unpacked = len(target.elts)
            if path and isinstance(target, ast.Name | ast.Attribute):
                if isinstance(target, ast.Name) or _is_own(target):
                    self.names[_label(target)] = path
            elif isinstance(target, ast.Name):
                self.names.pop(target.id, None)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if path := self.path(node):
            self.usage.use(path)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        base = self.path(node.value)
        if base and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            self.usage.use(base).is_mapping = True
            self.usage.use((*base, f"[{node.slice.value}]"))
        elif base:
            self.usage.use(base).is_sequence = True
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._iterated(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._iterated(node.value)
        self.generic_visit(node)

    def _iterated(self, node: ast.AST) -> None:
        nodes = [node]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            nodes = list(node.args) if node.func.id in _PASS_ROWS_ON else nodes
        for item in nodes:
            if path := self.path(item):
                self.usage.use(path).is_sequence = True

    def visit_BinOp(self, node: ast.BinOp) -> None:
        for side in (node.left, node.right):
            if path := self.path(side):
                self.usage.use(path).is_number = True
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._tested(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._tested(node.test)
        self.generic_visit(node)

    def _tested(self, node: ast.AST) -> None:
        parts = node.values if isinstance(node, ast.BoolOp) else [node]
        for part in parts:
            inner = part.operand if isinstance(part, ast.UnaryOp) else part
            if path := self.path(inner):
                self.usage.use(path).is_tested = True

    def visit_Compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        strings = [
            item.value
            for side in sides
            for item in ast.walk(side)
            if isinstance(item, ast.Constant) and isinstance(item.value, str)
        ]
        for side in sides:
            inner = side
            if isinstance(side, ast.Call) and isinstance(side.func, ast.Attribute):
                inner = side.func.value
            if path := self.path(inner):
                use = self.usage.use(path)
                use.strings.extend(strings)
                use.is_number |= any(isinstance(op, ast.Lt | ast.Gt | ast.LtE | ast.GtE)
                                     for op in node.ops)  # fmt: skip
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if path := self.path(node.func):
            self.usage.uses.pop(path, None) if path[-1][1:] in _DICT_METHODS else None
            self._called(node, path)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        first = self.path(node.args[0]) if node.args else None
        if first and name in {"len", "list", "tuple", "sum", "max", "min", "sorted"}:
            self.usage.use(first).is_sequence = True
        elif first and name in {"range", "int", "float", "round", "abs"}:
            self.usage.use(first).is_number = True
        elif first and name == "getattr" and len(node.args) == 2:
            if isinstance(node.args[1], ast.Constant):
                self.usage.use((*first, f".{node.args[1].value!s}"))
        else:
            self._passed(node)

    def _called(self, node: ast.Call, path: Path) -> None:
        method = path[-1][1:]
        if len(path) > 1 and method in _DICT_METHODS and path[-1].startswith("."):
            use = self.usage.use(path[:-1])
            use.is_mapping = True
            if node.args and isinstance(node.args[0], ast.Constant) and len(node.args) == 1:
                self.usage.use((*path[:-1], f"[{node.args[0].value!s}]"))
            return
        use = self.usage.use(path)
        use.is_called = True
        use.is_built |= not node.args or not isinstance(node.args[0], ast.Name)

    def _passed(self, node: ast.Call) -> None:
        callee = self._callee(node)
        if callee is None:
            return
        parameters = parameters_of(callee)
        bound: dict[str, Path] = {}
        for parameter, argument in zip(parameters, node.args, strict=False):
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                break
            if path := self.path(argument):
                bound[parameter.name] = path
        for keyword in node.keywords:
            if keyword.arg and (path := self.path(keyword.value)):
                bound[keyword.arg] = path
        for name, path in bound.items():
            use = self.usage.use(path)
            use.names.append(name)
            use.is_tensor |= callee.__name__ == "register_buffer" and name == "tensor"
        if inspect.isclass(callee) and bound:
            self.usage.read_class(callee, bound, self.depth + 1)

    def _callee(self, node: ast.Call) -> Any:
        func = node.func
        if isinstance(func, ast.Attribute) and func.attr == "__init__":
            after = self.owner.__mro__[1:]
            return next((c for c in after if "__init__" in vars(c)), None)
        parts: list[str] = []
        while isinstance(func, ast.Attribute):
            parts.append(func.attr)
            func = func.value
        if not isinstance(func, ast.Name):
            return None
        found: Any = self.namespace.get(func.id)
        for part in reversed(parts):
            found = getattr(found, part, None)
        return found if callable(found) and hasattr(found, "__name__") else None


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "self"


def _label(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else f"self.{node.attr}"
