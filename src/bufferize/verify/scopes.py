"""A file's scopes as flat lists of steps, and backward slices of them.

In: a syntax tree. Out: for the names of an expression, the plain statements that give them their
values, in order, or None where that takes something that should not be run (files, downloads,
training). Knows nothing of classes under proof; never runs anything.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

MOST_STEPS = 60
MOST_LINES = 80
END = 1 << 30

# calls that read, write, fetch, wait or train: by the last part of the callee's name
# fmt: off
REFUSED_CALLS = frozenset({
    "CIFAR10", "DataLoader", "ImageFolder", "MNIST", "Popen", "Trainer", "__import__",
    "backward", "breakpoint", "check_call", "check_output", "compile", "connect",
    "create_model_and_transforms", "download", "eval", "exec", "exit", "fit", "from_pretrained",
    "get_logger", "hf_hub_download", "imread", "init_process_group", "input", "load",
    "load_dataset", "load_from_checkpoint", "load_model_and_tokenizer", "load_state_dict",
    "loadtxt", "makedirs", "mkdir", "open", "parse_args", "parse_known_args", "print", "quit",
    "read", "read_bytes", "read_csv", "read_text", "remove", "rmtree", "run", "save",
    "set_trace", "sleep", "spawn", "step", "system", "train_test_split", "unlink", "urlopen",
    "urlretrieve", "write", "write_text",
})
# fmt: on
# fmt: off
REFUSED_ROOTS = frozenset({
    "argparse", "click", "datasets", "glob", "multiprocessing", "os", "pathlib", "pytest",
    "requests", "shutil", "socket", "subprocess", "sys", "threading", "urllib", "wandb",
})
# fmt: on
BUILTINS = frozenset(dir(builtins))
# what documentation takes for granted
USUAL_IMPORTS = {
    "torch": "import torch",
    "nn": "from torch import nn",
    "F": "import torch.nn.functional as F",
    "np": "import numpy as np",
    "math": "import math",
    "Tensor": "from torch import Tensor",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a scope, without the bodies it may have."""

    node: ast.AST
    # python statements that bind the names, empty for a step that binds nothing
    code: tuple[ast.stmt, ...]
    binds: frozenset[str]
    uses: frozenset[str]
    # bound when the module is imported: a top-level statement outside `if __name__ == "__main__"`
    imported: bool = False
    # a call of its own body: never part of a slice
    opaque: bool = False


@dataclass(slots=True)
class Scope:
    steps: list[Step] = field(default_factory=list)
    parent: Scope | None = None
    children: list[Scope] = field(default_factory=list)
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    # how deep, and the how manyth of the file: statements of outer scopes run first
    order: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Slice:
    """Statements that give names their values: module level first, then inwards."""

    places: frozenset[tuple[int, int]]
    names: frozenset[str]


def read_scopes(tree: ast.Module) -> Scope:
    """The module's scope with those of its functions below it."""
    module = Scope()
    _flatten(tree.body, module, imported=True)
    _open_functions(tree.body, module, fixtures=_fixtures(tree))
    for number, scope in enumerate(walk_scopes(module)):
        depth = scope.parent.order[0] + 1 if scope.parent else 0
        scope.order = (depth, number)
    return module


def walk_scopes(scope: Scope) -> Iterator[Scope]:
    yield scope
    for child in scope.children:
        yield from walk_scopes(child)


def names_in(node: ast.AST) -> set[str]:
    """Names read in `node`, less those bound by its own comprehensions and lambdas."""
    read: set[str] = set()
    own: set[str] = set()
    for item in ast.walk(node):
        if isinstance(item, ast.Name):
            (read if isinstance(item.ctx, ast.Load) else own).add(item.id)
        elif isinstance(item, ast.arg):
            own.add(item.arg)
    return read - own


def is_plain(node: ast.AST) -> bool:
    """Whether evaluating `node` neither reads nor writes files, fetches, waits nor trains."""
    for item in ast.walk(node):
        if isinstance(item, ast.Await | ast.Yield | ast.YieldFrom | ast.Global | ast.Nonlocal):
            return False
        if isinstance(item, ast.Call):
            parts = dotted(item.func).split(".")
            if parts[-1] in REFUSED_CALLS or (len(parts) > 1 and parts[0] in REFUSED_ROOTS):
                return False
    return True


def dotted(node: ast.AST) -> str:
    """'a.b.c' of a chain of attributes; the last attribute alone where its root is no name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))


# --- flattening


def _flatten(body: Sequence[ast.stmt], scope: Scope, imported: bool) -> None:
    for node in body:
        if isinstance(node, ast.If):
            _header(node.test, scope)
            _flatten(node.body, scope, imported and not _is_main(node.test))
            _flatten(node.orelse, scope, imported)
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                _header(item.context_expr, scope)
                if item.optional_vars is not None:
                    scope.steps.append(_opaque(item.optional_vars))
            _flatten(node.body, scope, imported)
        elif isinstance(node, ast.For):
            scope.steps.append(_loop_step(node, imported))
            _flatten(node.body + node.orelse, scope, imported)
        elif isinstance(node, ast.While):
            _header(node.test, scope)
            _flatten(node.body + node.orelse, scope, imported)
        elif isinstance(node, ast.Try):
            # the handlers stand first: where both bind a name, the body's binding wins
            for handler in node.handlers:
                _flatten(handler.body, scope, imported)
            _flatten(node.body + node.orelse + node.finalbody, scope, imported)
        else:
            scope.steps.append(_step(node, imported))


def _header(test: ast.expr, scope: Scope) -> None:
    scope.steps.append(Step(test, (), frozenset(), frozenset(names_in(test))))


def _is_main(test: ast.expr) -> bool:
    return any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(test))


def _opaque(target: ast.AST) -> Step:
    return Step(target, (), frozenset(_stored(target)), frozenset(), opaque=True)


def _loop_step(node: ast.For, imported: bool) -> Step:
    first = ast.Call(
        func=ast.Name("next", ast.Load()),
        args=[ast.Call(ast.Name("iter", ast.Load()), [node.iter], [])],
        keywords=[],
    )
    assign = _assign(node.target, first)
    return Step(
        node.iter,
        (assign,),
        frozenset(_stored(node.target)),
        frozenset(names_in(node.iter)),
        imported,
    )


def _assign(target: ast.expr, value: ast.expr) -> ast.Assign:
    return ast.fix_missing_locations(ast.Assign(targets=[target], value=value, lineno=1))


def _stored(target: ast.AST) -> set[str]:
    return {
        n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _step(node: ast.stmt, imported: bool) -> Step:
    binds: set[str] = set()
    uses = names_in(node)
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            binds |= _stored(target)
            # `config.dim = 8` and `x[0] = 1` change what a name stands for, and need it first
            if root := _root_of(target):
                binds.add(root)
                uses.add(root)
        if isinstance(node, ast.AugAssign):
            uses |= binds
        if isinstance(node, ast.AnnAssign) and node.value is None:
            binds = set()
    elif isinstance(node, ast.Import | ast.ImportFrom):
        binds = {(a.asname or a.name).split(".")[0] for a in node.names}
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        binds = {node.name}
    code = (node,) if binds else ()
    return Step(node, code, frozenset(binds), frozenset(uses), imported)


def _root_of(target: ast.expr) -> str:
    inner = target
    while isinstance(inner, ast.Attribute | ast.Subscript):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) and inner is not target else ""


# --- functions, their parameters, and what pytest gives them


def _fixtures(tree: ast.Module) -> frozenset[str]:
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(dotted(_callee(d)).split(".")[-1] == "fixture" for d in node.decorator_list)
    )


def _callee(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _open_functions(body: Iterable[ast.stmt], parent: Scope, fixtures: frozenset[str]) -> None:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            scope = Scope(parent=parent, function=node)
            parent.children.append(scope)
            scope.steps.extend(_parameters(node, fixtures))
            _flatten(node.body, scope, imported=False)
            _open_functions(node.body, scope, fixtures)
        elif isinstance(node, ast.ClassDef):
            _open_class(node, parent, fixtures)
        elif isinstance(node, ast.If | ast.With | ast.For | ast.While | ast.Try):
            inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
            _open_functions(inner, parent, fixtures)


SETUPS = ("setUpClass", "setUp", "setup_class", "setup_method", "setup")


def _open_class(node: ast.ClassDef, parent: Scope, fixtures: frozenset[str]) -> None:
    is_test = node.name.startswith("Test") or any(
        dotted(base).endswith("TestCase") for base in node.bases
    )
    if not is_test:
        _open_functions(node.body, parent, fixtures)
        return
    renamed = [_OwnAttributes().visit(item) for item in node.body]
    shared = Scope(parent=parent)
    parent.children.append(shared)
    _flatten([n for n in renamed if not isinstance(n, ast.FunctionDef)], shared, imported=False)
    for name in SETUPS:
        for item in renamed:
            if isinstance(item, ast.FunctionDef) and item.name == name:
                _flatten(item.body, shared, imported=False)
    _open_functions([n for n in renamed if getattr(n, "name", "") not in SETUPS], shared, fixtures)


class _OwnAttributes(ast.NodeTransformer):
    """`self.model` of a test case becomes the plain name `self_model`."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
            return ast.copy_location(ast.Name(f"self_{node.attr}", node.ctx), node)
        return node


def _parameters(
    node: ast.FunctionDef | ast.AsyncFunctionDef, fixtures: frozenset[str]
) -> Iterator[Step]:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: dict[str, ast.expr] = {}
    for arg, default in zip(reversed(plain), reversed(arguments.defaults), strict=False):
        defaults[arg.arg] = default
    for arg, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if given is not None:
            defaults[arg.arg] = given
    empty: dict[str, ast.expr] = {}
    if arguments.vararg:
        empty[arguments.vararg.arg] = ast.Tuple([], ast.Load())
    if arguments.kwarg:
        empty[arguments.kwarg.arg] = ast.Dict([], [])
    marked = dict(_parametrized(node))
    names = [a.arg for a in (*plain, *arguments.kwonlyargs)]
    for name in (*names, *empty):
        value: ast.expr | None = defaults.get(name, empty.get(name))
        if value is None and name in fixtures:
            value = ast.Call(ast.Name(name, ast.Load()), [], [])
        if any(name in group for group in marked):
            continue
        if value is None:
            yield Step(node.args, (), frozenset({name}), frozenset(), opaque=True)
        else:
            yield _bind([name], value)
    for group, row in marked.items():
        yield _bind(list(group), row)


def _bind(names: Sequence[str], value: ast.expr) -> Step:
    target: ast.expr = ast.Name(names[0], ast.Store())
    if len(names) > 1:
        target = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
    return Step(value, (_assign(target, value),), frozenset(names), frozenset(names_in(value)))


def _parametrized(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[tuple[tuple[str, ...], ast.expr]]:
    """The first row of each `@pytest.mark.parametrize`."""
    for mark in node.decorator_list:
        if not (isinstance(mark, ast.Call) and dotted(mark.func).endswith("parametrize")):
            continue
        if len(mark.args) < 2 or not isinstance(mark.args[1], ast.List | ast.Tuple):
            continue
        names = _mark_names(mark.args[0])
        rows = mark.args[1].elts
        if names and rows:
            row = rows[0]
            if isinstance(row, ast.Call) and dotted(row.func).endswith("param") and row.args:
                row = row.args[0] if len(names) == 1 else ast.Tuple(row.args, ast.Load())
            yield names, row


def _mark_names(node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return tuple(part.strip() for part in node.value.split(",") if part.strip())
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(str(n.value) for n in node.elts if isinstance(n, ast.Constant))
    return ()
