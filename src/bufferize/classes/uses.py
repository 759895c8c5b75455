"""What the methods of a class, and the rest of the repository, do with an attribute by name.

A purely syntactic pass: one walk a function, one walk a module.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bufferize import facts
from bufferize.classes.relations import VIEWS, relation_of
from bufferize.project import Module
from bufferize.project.symbols import FUNCTIONS, FunctionNode, dotted_name

# in-place by name, yet without an effect on the value
_NO_CHANGE = frozenset(
    {"requires_grad_", "share_memory_", "pin_memory_", "detach_", "retain_grad_"}
)


@dataclass(frozen=True, slots=True)
class Use:
    """One thing done to `receiver.attribute`."""

    # 'assign', 'augmented', 'item-write', 'in-place', 'delete', 'register', 'parameter' or
    # 'number-read'
    kind: str
    attribute: str
    receiver: str
    function: str
    module: Module
    node: ast.AST
    # of an assignment: 'move' (only changes device or dtype), 'shape' (the same numbers in another
    # shape), 'itself' (from its old value) or 'fresh'
    relation: str = ""
    # of an assignment: the expression; of an in-place call: the method's name
    value: ast.expr | None = None
    method: str = ""

    @property
    def line(self) -> int:
        return getattr(self.node, "lineno", 0)

    @property
    def where(self) -> str:
        return place(self.module, self.node)

    @property
    def is_random(self) -> bool:
        returns = facts.method_returns(self.method)
        return bool(returns and returns.has("random"))

    @property
    def changes_value(self) -> bool:
        """Whether the tensor holds something else afterwards."""
        if self.kind == "assign":
            return self.relation == "itself"
        return self.kind in {"augmented", "item-write", "in-place"}


def place(module: Module, node: ast.AST) -> str:
    """'file.py:12', or 'book.ipynb:cell 3:2' in a notebook."""
    source, line = module.source, getattr(node, "lineno", 1)
    cell = source.cell_at(line)
    if cell is None:
        return f"{source.name}:{line}"
    return f"{source.name}:cell {cell.number}:{line - cell.line + 1}"


def find_mention(node: ast.AST, receiver: str | None, attribute: str) -> ast.AST | None:
    """The first `receiver.attribute`, or string that is the attribute's name, below `node`."""
    for child in ast.walk(node):
        if isinstance(child, ast.Attribute) and child.attr == attribute:
            if dotted_name(child.value) == receiver:
                return child
        elif isinstance(child, ast.Constant) and child.value == attribute:
            return child
    return None


def uses_in(node: ast.AST, module: Module, function: str) -> Iterator[Use]:
    """Every use of every attribute below `node`, whatever the receiver."""
    stack: list[ast.AST] = [node]
    while stack:
        current = stack.pop()
        yield from _uses_of(current, module, function)
        for child in ast.iter_child_nodes(current):
            if not isinstance(child, ast.ClassDef):
                stack.append(child)


def _uses_of(node: ast.AST, module: Module, function: str) -> Iterator[Use]:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if node.value is not None:
            for target in targets:
                yield from _stores(target, node.value, node, module, function)
    elif isinstance(node, ast.AugAssign):
        yield from _augmented(node, module, function)
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield from _stores(node.target, None, node, module, function)
    elif isinstance(node, ast.Delete):
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                yield _use("delete", target, node, module, function)
    elif isinstance(node, ast.Call):
        yield from _called(node, module, function)
    elif isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        yield from _tested(node.test, module, function)


def _use(
    kind: str, target: ast.Attribute, node: ast.AST, module: Module, function: str, **more: object
) -> Use:
    receiver = dotted_name(target.value) or "?"
    return Use(kind, target.attr, receiver, function, module, node, **more)  # type: ignore[arg-type]


def _stores(
    target: ast.expr, value: ast.expr | None, node: ast.AST, module: Module, function: str
) -> Iterator[Use]:
    if isinstance(target, ast.Tuple | ast.List):
        yield from _unpacked(target, value, node, module, function)
    elif isinstance(target, ast.Attribute):
        if target.attr == "data" and isinstance(target.value, ast.Attribute):
            yield _use("in-place", target.value, node, module, function, value=value)
        relation = relation_of(value, target) if value is not None else "fresh"
        yield _use("assign", target, node, module, function, relation=relation, value=value)
    elif isinstance(target, ast.Subscript):
        base = _base(target)
        if base is not None:
            yield _use("item-write", base, node, module, function, value=value)


def _unpacked(
    target: ast.Tuple | ast.List,
    value: ast.expr | None,
    node: ast.AST,
    module: Module,
    function: str,
) -> Iterator[Use]:
    """`self.a, self.b = one, two` pairs them; of `= call(self.a)` each may come from all."""
    pairs = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    for place, element in enumerate(target.elts):
        if len(pairs) == len(target.elts):
            yield from _stores(element, pairs[place], node, module, function)
        elif isinstance(element, ast.Attribute) and value is not None:
            itself = relation_of(value, element) != "fresh"
            relation = "itself" if itself else "fresh"
            yield _use("assign", element, node, module, function, relation=relation)
        else:
            yield from _stores(element, None, node, module, function)


def _augmented(node: ast.AugAssign, module: Module, function: str) -> Iterator[Use]:
    base = _base(node.target)
    if base is not None:
        kind = "augmented" if isinstance(node.target, ast.Attribute) else "item-write"
        yield _use(kind, base, node, module, function, value=node.value)


def _base(node: ast.expr) -> ast.Attribute | None:
    """`x.a` of `x.a[i]`, `x.a.data`, `x.a.view(-1)[0]` ...: the attribute whose memory is meant."""
    while True:
        if isinstance(node, ast.Subscript) or (
            isinstance(node, ast.Attribute) and node.attr in {"data", "T", "mT"}
        ):
            node = node.value
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in VIEWS
        ):
            node = node.func.value
        else:
            break
    return node if isinstance(node, ast.Attribute) else None


def _called(node: ast.Call, module: Module, function: str) -> Iterator[Use]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in {"register_buffer", "register_parameter", "setattr", "delattr", "__setattr__"}:
        yield from _by_name(node, name, module, function)
    if name.endswith("_") and not name.endswith("__") and name not in _NO_CHANGE:
        base = _base(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if base is None and node.args and _is_function(node.func):
            base = _base(node.args[0])
        if base is not None:
            yield _use("in-place", base, node, module, function, method=name)
    for keyword in node.keywords:
        if keyword.arg == "out":
            base = _base(keyword.value)
            if base is not None:
                yield _use("in-place", base, node, module, function, method=name)
    if name in {"item", "__bool__"} and isinstance(node.func, ast.Attribute):
        if isinstance(node.func.value, ast.Attribute):
            yield _use("number-read", node.func.value, node, module, function)
    elif (
        name in {"int", "float", "bool", "range"}
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Attribute)
    ):
        yield _use("number-read", node.args[0], node, module, function)


def _is_function(called: ast.expr) -> bool:
    """`nn.init.normal_(self.x)`: a function that changes its argument, not its owner."""
    if isinstance(called, ast.Attribute):
        owner = (dotted_name(called.value) or "").rpartition(".")[2]
        return owner in {"init", "torch", "functional", "F"}
    return isinstance(called, ast.Name)


def _by_name(node: ast.Call, name: str, module: Module, function: str) -> Iterator[Use]:
    """Uses that give the attribute's name as a string."""
    kind = {
        "register_buffer": "register",
        "register_parameter": "parameter",
        "delattr": "delete",
    }.get(name, "assign")
    method_call = name.startswith("register")
    words = {k.arg: k.value for k in node.keywords}
    place = 0 if method_call else 1
    text = words.get("name", node.args[place] if len(node.args) > place else None)
    if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
        return
    if method_call and isinstance(node.func, ast.Attribute):
        receiver: ast.expr = node.func.value
    elif node.args:
        receiver = node.args[0]
    else:
        return
    value = node.args[place + 1] if len(node.args) > place + 1 else None
    yield Use(
        kind, text.value, dotted_name(receiver) or "?", function, module, node, "fresh", value, name
    )


def _tested(test: ast.expr, module: Module, function: str) -> Iterator[Use]:
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    parts = test.values if isinstance(test, ast.BoolOp) else [test]
    for part in parts:
        while isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
            part = part.operand
        if isinstance(part, ast.Attribute):
            yield _use("number-read", part, part, module, function)


def module_uses(module: Module) -> dict[str, list[Use]]:
    """Uses by attribute in the whole file, in any function, whatever the receiver."""
    found: dict[str, list[Use]] = {}

    def visit(node: ast.AST, function: str) -> None:
        stack: list[ast.AST] = [node]
        while stack:
            current = stack.pop()
            for use in _uses_of(current, module, function):
                found.setdefault(use.attribute, []).append(use)
            for child in ast.iter_child_nodes(current):
                if isinstance(child, FUNCTIONS):
                    visit(child, child.name)
                else:
                    stack.append(child)

    visit(module.tree, "")
    return found


def called_name(node: ast.Call) -> str:
    """The last part of what is called: 'zeros' of `torch.zeros(3)`."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def calls_in(module: Module) -> dict[str, list[ast.Call]]:
    """Every call of the file, by the last name of what is called."""
    found: dict[str, list[ast.Call]] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            found.setdefault(called_name(node), []).append(node)
    return found


def first_parameter(node: FunctionNode) -> str | None:
    args = node.args.posonlyargs + node.args.args
    return args[0].arg if args else None


def called_on(receiver: str | None, node: ast.AST) -> frozenset[str]:
    """Names of the methods that the code below `node` calls on `receiver`, or on super()."""
    return frozenset(
        child.func.attr
        for child in ast.walk(node)
        if isinstance(child, ast.Call)
        and isinstance(child.func, ast.Attribute)
        and _is_receiver(child.func.value, receiver)
    )


def _is_receiver(node: ast.expr, receiver: str | None) -> bool:
    """`self` or `super()`."""
    if isinstance(node, ast.Name):
        return node.id == receiver
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )
