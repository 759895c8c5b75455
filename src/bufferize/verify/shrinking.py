"""Smaller versions of a case: fewer layers, narrower widths, the rest as it was written.

In: a case, the class that it builds. Out: cases, mildest first. Whether they build and run is for
the caller to try. Part of the worker: standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from bufferize.model import Case
from bufferize.verify.plausible import size_kind
from bufferize.verify.usage import parameters_of

DEEP = frozenset({"layers"})
WIDE = frozenset({"dim", "wide", "out", "vocab", "classes"})
NARROW = 32
# whatever it counts, so many cost time
MANY = 1024


def shrink_case(case: Case, cls: type) -> Iterator[Case]:
    """`case` with one layer where it has several, then with narrow widths too, then only these."""
    names = [p.name for p in parameters_of(cls) if p.kind is p.POSITIONAL_OR_KEYWORD]
    known = {(case.construct, case.setup)}
    for kinds in (DEEP, DEEP | WIDE, WIDE):
        construct = _shrink(case.construct, kinds, names)
        setup = tuple(_shrink(statement, kinds, ()) for statement in case.setup)
        if (construct, setup) not in known:
            known.add((construct, setup))
            source = f"{case.source}, made smaller"
            yield replace(case, construct=construct, setup=setup, source=source)


def _shrink(source: str, kinds: Set[str], names: Sequence[str]) -> str:
    tree = ast.parse(source)
    first = tree.body[0].value if tree.body and isinstance(tree.body[0], ast.Expr) else None
    if isinstance(first, ast.Call):
        for name, argument in zip(names, first.args, strict=False):
            _narrow(name, argument, kinds)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            _narrow(node.arg, node.value, kinds)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _narrow(node.targets[0].id, node.value, kinds)
    return ast.unparse(tree)


def _narrow(name: str, value: ast.expr, kinds: Set[str]) -> None:
    """Make a literal count small, in place; also each of a row of them."""
    kind = size_kind(name)
    most = 1 if kind in DEEP else NARROW
    least = most + 1 if kind in kinds else MANY
    if not kind or (kind not in kinds and not kinds >= WIDE):
        return
    for item in value.elts if isinstance(value, ast.Tuple | ast.List) else [value]:
        if isinstance(item, ast.Constant) and type(item.value) is int and item.value >= least:
            item.value = most
