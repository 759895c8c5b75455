"""Reads the calls of wanted classes off one page of code, with all that they need to run.

In: a page (a file, a notebook, the code of a docstring or document) in scopes. Out: cases. Knows
nothing of disks or ranking.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bufferize.model import Case
from bufferize.verify.callees import Callees, Imports, Key
from bufferize.verify.scopes import END, Scope, Step, dotted, is_plain, names_in, walk_scopes
from bufferize.verify.slices import Place, Slicer, Surroundings

MOST_INPUTS = 6
LAST: Place = ((END, END), END)
# methods that give back the module they were called on
# fmt: off
PEELED = frozenset({
    "bfloat16", "cpu", "cuda", "double", "eval", "float", "half", "requires_grad_", "share_memory",
    "to", "train", "type",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Page:
    path: Path
    name: str
    scope: Scope
    imports: Imports
    # the wanted classes that this very file defines
    home_of: frozenset[Key]
    is_notebook: bool
    # names that the code may take for granted
    namespace: frozenset[str]
    absolute: Callable[[ast.ImportFrom], str | None]
    # line -> the place as people read it
    where: Callable[[int], str]
    # prose often leaves out the import of what it speaks of
    is_prose: bool = False


@dataclass(frozen=True, slots=True)
class Mined:
    key: Key
    case: Case
    path: Path
    line: int
    # the arguments need no other statement
    is_literal: bool


@dataclass(frozen=True, slots=True)
class _Call:
    key: Key
    node: ast.Call
    scope: Scope
    number: int


def mine_page(page: Page, callees: Callees) -> Iterator[Mined]:
    """Every call of a wanted class on the page whose arguments have plain origins."""
    for scope in walk_scopes(page.scope):
        for number, step in enumerate(scope.steps):
            for node in _calls(step):
                key = _resolve(node, page, callees)
                if key is not None and (mined := _mine(page, _Call(key, node, scope, number))):
                    yield mined


def _calls(step: Step) -> Iterator[ast.Call]:
    if isinstance(step.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for node in ast.walk(step.node):
        if isinstance(node, ast.Call):
            yield node


def _resolve(node: ast.Call, page: Page, callees: Callees) -> Key | None:
    callee = dotted(node.func)
    origins = page.imports.names.get(callee, frozenset())
    if all(n.rpartition(".")[2] not in callees.by_name for n in (callee, *origins)):
        return None
    key = callees.resolve(callee, page.path, page.imports, page.home_of)
    if key is None and page.is_prose and callee.split(".")[0] not in page.imports.names:
        return callees.guess(callee)
    return key


def _mine(page: Page, call: _Call) -> Mined | None:
    arguments = ast.Call(ast.Name(call.key[1], ast.Load()), call.node.args, call.node.keywords)
    if not is_plain(arguments):
        return None
    slicer = _slicer(page, call.key)
    names = _names_of(call.node)
    if not slicer.need(names, call.scope, call.number):
        return None
    is_literal = not slicer.taken
    inputs = tuple(_inputs(page, call, slicer))
    case = Case(
        source=page.where(call.node.lineno),
        construct=ast.unparse(arguments),
        inputs=inputs,
        setup=slicer.statements(),
    )
    return Mined(call.key, case, page.path, call.node.lineno, is_literal)


def _slicer(page: Page, key: Key) -> Slicer:
    return Slicer(
        Surroundings(
            is_home=key in page.home_of and not page.is_prose,
            is_notebook=page.is_notebook,
            namespace=page.namespace if key in page.home_of else frozenset(),
            absolute=page.absolute,
            stars=page.imports.stars,
        )
    )


def _names_of(node: ast.Call) -> set[str]:
    """The names that a call's arguments need."""
    return {name for part in (*node.args, *node.keywords) for name in names_in(part)}


# --- inputs: calls of the object that was built


def _inputs(page: Page, call: _Call, slicer: Slicer) -> Iterator[str]:
    given: set[str] = set()
    for node, scope, number in _uses(page, call):
        source = _argument_source(node)
        if len(given) >= MOST_INPUTS or source in given or not is_plain(node):
            continue
        if _extend(slicer, call, _names_of(node), scope, number):
            given.add(source)
            yield source


def _argument_source(node: ast.Call) -> str:
    parts = [ast.unparse(arg) for arg in node.args]
    parts += [
        f"{k.arg}={ast.unparse(k.value)}" if k.arg else f"**{ast.unparse(k.value)}"
        for k in node.keywords
    ]
    return ", ".join(parts)


def _extend(slicer: Slicer, call: _Call, names: set[str], scope: Scope, number: int) -> bool:
    """Add what an input needs, unless that would change what the constructor is given."""
    trial = Slicer(slicer.around)
    if not trial.need(names, scope, number):
        return False
    bound: dict[str, Place] = {}
    known = {_source_of(step) for step, _ in slicer.taken.values()}
    # a test takes the same fixtures as the fixture that builds its model
    trial.taken = {
        place: entry
        for place, entry in trial.taken.items()
        if place in slicer.taken or _source_of(entry[0]) not in known
    }
    for place, (_, taken) in slicer.taken.items():
        for name in taken:
            bound[name] = max(bound.get(name, place), place)
    for place, (step, taken) in trial.taken.items():
        if step is call.scope.steps[call.number]:
            return False
        if place not in slicer.taken and any(place > bound.get(n, LAST) for n in step.binds):
            return False
        if place in slicer.taken:
            taken |= slicer.taken[place][1]
    slicer.taken.update(trial.taken)
    slicer.usual |= trial.usual
    slicer.needs_stars |= trial.needs_stars
    return True


def _source_of(step: Step) -> str:
    return "\n".join(ast.unparse(node) for node in step.code)


def _uses(page: Page, call: _Call) -> Iterator[tuple[ast.Call, Scope, int]]:
    """Calls of what `call` built: at once, or of the name that it was bound to."""
    step = call.scope.steps[call.number]
    for node in _calls(step):
        if _peel(_called(node)) is call.node:
            yield node, call.scope, call.number
    name = _bound_name(step, call.node)
    if name:
        yield from _uses_of(name, call.scope, call.number + 1)
    if name := _fixture_name(step, call, name):
        for scope in walk_scopes(page.scope):
            taken = _argument_names(scope)
            if name in taken and scope is not call.scope:
                yield from _uses_of(name, scope, len(taken))


def _fixture_name(step: Step, call: _Call, bound: str) -> str:
    """The pytest fixture that gives the built object to the tests that take it by name."""
    function = call.scope.function
    if function is None or not any("fixture" in ast.unparse(d) for d in function.decorator_list):
        return ""
    for other in (step, *call.scope.steps[call.number :]):
        given = getattr(other.node, "value", None)
        if isinstance(other.node, ast.Return | ast.Expr) and given is not None:
            given = given.value if isinstance(given, ast.Yield) else given
            peeled = _peel(given) if given is not None else None
            if peeled is call.node or (isinstance(peeled, ast.Name) and peeled.id == bound):
                return function.name
    return ""


def _argument_names(scope: Scope) -> tuple[str, ...]:
    if scope.function is None:
        return ()
    arguments = scope.function.args
    return tuple(a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def _uses_of(name: str, scope: Scope, start: int) -> Iterator[tuple[ast.Call, Scope, int]]:
    for number in range(start, len(scope.steps)):
        step = scope.steps[number]
        for node in _calls(step):
            called = _peel(_called(node))
            if isinstance(called, ast.Name) and called.id == name:
                yield node, scope, number
        if _rebinds(step, name):
            return
    for child in scope.children:
        if not any(name in step.binds for step in child.steps):
            yield from _uses_of(name, child, 0)


def _called(node: ast.Call) -> ast.expr:
    """What is called: `model` of `model(x)` and of `model.forward(x)`."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "forward":
        return node.func.value
    return node.func


def _peel(node: ast.expr) -> ast.expr:
    while (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in PEELED
    ):
        node = node.func.value
    return node


def _bound_name(step: Step, node: ast.Call) -> str:
    statement = step.node
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Name) and _peel(value) is node:
            return target.id
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, given in zip(target.elts, value.elts, strict=False):
                if isinstance(one, ast.Name) and _peel(given) is node:
                    return one.id
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        is_bound = statement.value is not None and _peel(statement.value) is node
        return statement.target.id if is_bound else ""
    return ""


def _rebinds(step: Step, name: str) -> bool:
    node = step.node
    if name not in step.binds or step.opaque:
        return name in step.binds
    if isinstance(node, ast.Assign):
        if all(not isinstance(t, ast.Name) for t in node.targets):
            return name in {n for t in node.targets if isinstance(t, ast.Tuple) for n in _names(t)}
        peeled = _peel(node.value)
        return not (isinstance(peeled, ast.Name) and peeled.id == name)
    return not isinstance(node, ast.AugAssign | ast.AnnAssign)


def _names(node: ast.Tuple) -> set[str]:
    return {item.id for item in node.elts if isinstance(item, ast.Name)}
