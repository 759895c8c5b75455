"""Cases that take the branches which a working case leaves out.

In: a case that builds, its class, lines of the class that no case runs. Out: the case with one
argument set otherwise, those first that the tests round these lines read. Whether they build is
for the caller to try. Part of the worker: standard library only.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator
from dataclasses import replace

from bufferize.model import Case
from bufferize.verify.plausible import PROFILES, suggest
from bufferize.verify.usage import class_node, parameters_of

MOST_SWITCHES = 6


def switch_case(case: Case, cls: type, lines: Collection[int]) -> Iterator[Case]:
    """`case` with arguments set that a branch round one of `lines` depends on."""
    try:
        call = ast.parse(case.construct.strip(), mode="eval").body
    except SyntaxError:
        return
    if not isinstance(call, ast.Call) or any(isinstance(arg, ast.Starred) for arg in call.args):
        return
    parameters = parameters_of(cls)
    open_ones = parameters[len(call.args) :]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    tests = [test for base in cls.__mro__ for test in _tests_round(base, lines)]
    count = 0
    for test in tests:
        names = _names_in(test)
        for parameter in (p for p in open_ones if p.name in names):
            for source in _otherwise(parameter, given.get(parameter.name), test):
                if count < MOST_SWITCHES:
                    count += 1
                    yield replace(case, construct=_with(call, parameter.name, source))


def _tests_round(cls: type, lines: Collection[int]) -> Iterator[ast.expr]:
    node = class_node(cls)
    for inner in ast.walk(node) if node else ():
        branches = inner.body if isinstance(inner, ast.If) else []
        branches = branches + inner.orelse if isinstance(inner, ast.If) else branches
        spans = [(b.lineno, b.end_lineno or b.lineno) for b in branches]
        if isinstance(inner, ast.IfExp):
            spans = [(inner.lineno, inner.end_lineno or inner.lineno)]
        if any(first <= line <= last for first, last in spans for line in lines):
            assert isinstance(inner, ast.If | ast.IfExp)
            yield inner.test


def _names_in(test: ast.expr) -> set[str]:
    """Names and attributes that a test reads: `self.causal` stands for the argument `causal`."""
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(test) if isinstance(node, ast.Attribute)}


def _otherwise(
    parameter: inspect.Parameter, given: ast.expr | None, test: ast.expr
) -> Iterator[str]:
    """Sources of other values for an argument, likely ones first."""
    now = given.value if isinstance(given, ast.Constant) else parameter.default
    if isinstance(now, bool):
        yield repr(not now)
        return
    texts = [n.value for n in ast.walk(test) if isinstance(n, ast.Constant)]
    yield from (repr(text) for text in texts if isinstance(text, str) and text != now)
    if now is None:
        named = suggest(parameter.name, PROFILES[0])
        yield from dict.fromkeys(source for source in (named, "True") if source)
    elif now is not parameter.empty and not isinstance(now, str):
        yield "None"


def _with(call: ast.Call, name: str, source: str) -> str:
    kept = [keyword for keyword in call.keywords if keyword.arg != name]
    value = ast.parse(source, mode="eval").body
    return ast.unparse(ast.Call(call.func, call.args, [*kept, ast.keyword(name, value)]))
