"""The line of configuration that would decide a class: what to fill in, by name.

In: a file's text and a class in it. Out: one line of TOML, dots where only the user knows. Works on
text alone; runs nothing.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass

from bufferize.verify.touched import find_class


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A constructor call and a forward call with dots for values."""

    construct: str
    inputs: str


UNKNOWN = Skeleton("", "")


def read_skeleton(text: str | None, cls: str) -> Skeleton:
    """What must be given: 'Net(dim=...)' and 'x=torch.randn(...)'; dots where nothing is known."""
    last = cls.rpartition(".")[2]
    node = find_class(text, cls)
    methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)} if node else {}
    making, calling = methods.get("__init__"), methods.get("forward")
    construct = f"{last}({_required(making, '...')})" if making else f"{last}(...)"
    inputs = _required(calling, "torch.randn(...)") if calling else ""
    return Skeleton(construct, inputs or "torch.randn(...)")


def _required(method: ast.FunctionDef, value: str) -> str:
    arguments = method.args
    plain = [*arguments.posonlyargs, *arguments.args][1:]
    needed = plain[: len(plain) - len(arguments.defaults)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    needed += [argument for argument, default in named if default is None]
    return ", ".join(f"{argument.arg}={value}" for argument in needed)


def suggest_case(address: str, skeleton: Skeleton, construct: str = "") -> str:
    """The line to add under [tool.bufferize.cases]; `construct` is a call known to work."""
    # a JSON string is a TOML string too
    call, inputs = json.dumps(construct or skeleton.construct), json.dumps(skeleton.inputs)
    return f'"{address}" = [{{ construct = {call}, inputs = [{inputs}] }}]'
