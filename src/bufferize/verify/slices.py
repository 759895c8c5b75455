"""Backward slices: which statements give the names of an expression their values.

In: a scope of `scopes`, a position in it, and what the namespace that the code will run in holds
already. Out: the statements, module level first. Knows nothing of classes under proof.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bufferize.verify.scopes import (
    BUILTINS,
    END,
    MOST_LINES,
    MOST_STEPS,
    USUAL_IMPORTS,
    Scope,
    Step,
    is_plain,
)

# (order of the scope, number of the step): statements run in this order
Place = tuple[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known about the file that a slice is taken from."""

    # module-level statements of this file have run in the namespace already ...
    is_home: bool
    # ... but of a notebook only imports, functions and classes
    is_notebook: bool
    # names of the namespace that the code will run in
    namespace: frozenset[str]
    # 'from ..a import b' -> 'pkg.a', None where that cannot be known
    absolute: Callable[[ast.ImportFrom], str | None]
    stars: tuple[ast.ImportFrom, ...] = ()


@dataclass(slots=True)
class Slicer:
    """Collects statements; `failed` names the first name that has no plain origin."""

    around: Surroundings
    taken: dict[Place, tuple[Step, set[str]]] = field(default_factory=dict)
    usual: set[str] = field(default_factory=set)
    needs_stars: bool = False
    failed: str = ""

    def need(self, names: Iterable[str], scope: Scope, before: int = END) -> bool:
        """Whether all of `names`, as seen at step `before` of `scope`, have plain origins."""
        return all(self._need_one(name, scope, before) for name in sorted(names))

    def _need_one(self, name: str, scope: Scope, before: int) -> bool:
        found = _origin(name, scope, before)
        if found is None:
            return self._need_free(name)
        owner, number, step = found
        if self._is_given(step):
            return True
        place = (owner.order, number)
        if place in self.taken:
            self.taken[place][1].add(name)
            return True
        if step.opaque or len(self.taken) >= MOST_STEPS or not all(map(_is_usable, step.code)):
            self.failed = self.failed or name
            return False
        self.taken[place] = (step, {name})
        is_definition = isinstance(step.node, ast.FunctionDef | ast.ClassDef)
        return self.need(
            step.uses - {name} if is_definition else step.uses,
            owner,
            END if is_definition else number,
        )

    def _need_free(self, name: str) -> bool:
        if name in BUILTINS or name in self.around.namespace:
            return True
        if name in USUAL_IMPORTS:
            self.usual.add(name)
            return True
        if self.around.stars:
            self.needs_stars = True
            return True
        self.failed = self.failed or name
        return False

    def _is_given(self, step: Step) -> bool:
        if not (self.around.is_home and step.imported):
            return False
        defines = isinstance(
            step.node,
            ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        )
        return defines or not self.around.is_notebook

    def statements(self) -> tuple[str, ...]:
        """The slice as source, in order."""
        found = [USUAL_IMPORTS[name] for name in sorted(self.usual)]
        if self.needs_stars:
            for star in self.around.stars:
                if module := self.around.absolute(star):
                    found.append(f"from {module} import *")
        for place in sorted(self.taken):
            step, names = self.taken[place]
            for node in step.code:
                if text := self._source(node, names):
                    found.append(text)
        return tuple(dict.fromkeys(found))

    def _source(self, node: ast.stmt, names: set[str]) -> str:
        if isinstance(node, ast.Import | ast.ImportFrom):
            aliases = [a for a in node.names if (a.asname or a.name).split(".")[0] in names]
            if isinstance(node, ast.Import):
                return ast.unparse(ast.Import(aliases))
            module = self.around.absolute(node)
            return ast.unparse(ast.ImportFrom(module, aliases, 0)) if module else ""
        if isinstance(node, ast.FunctionDef):
            bare = ast.FunctionDef(
                **{
                    **dict(ast.iter_fields(node)),
                    "decorator_list": [
                        d
                        for d in node.decorator_list
                        if "pytest" not in ast.unparse(d) and "fixture" not in ast.unparse(d)
                    ],
                }
            )
            return ast.unparse(ast.fix_missing_locations(bare))
        return ast.unparse(node)


def _origin(name: str, scope: Scope, before: int) -> tuple[Scope, int, Step] | None:
    owner: Scope | None = scope
    while owner is not None:
        for number in range(min(before, len(owner.steps)) - 1, -1, -1):
            step = owner.steps[number]
            if name in step.binds and not _is_self_assignment(step):
                return owner, number, step
        owner, before = owner.parent, END
    return None


def _is_self_assignment(step: Step) -> bool:
    # what is left of `x = x.to("cuda")`
    node = step.node
    return (
        isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and ast.unparse(node.targets[0]) == ast.unparse(node.value)
    )


def _is_usable(node: ast.stmt) -> bool:
    lines = (node.end_lineno or 0) - node.lineno if hasattr(node, "lineno") else 0
    return lines <= MOST_LINES and is_plain(node)
