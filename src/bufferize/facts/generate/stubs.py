"""What torch's stub files say: one vote for each function, method and attribute in them.

Takes the .pyi files beside an installed torch; gives overloads as (kind, parameters).
It refuses to merge overloads that return different things: `votes` does that.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import torch

from bufferize.facts.generate.kinds import STUB_NAMES, read_annotation

_ROOT = Path(torch.__file__).parent
# stub file -> the dotted modules whose functions it describes
_FUNCTION_STUBS = {
    "_C/_VariableFunctions.pyi": "torch",
    "_C/_nn.pyi": "torch._C._nn",
    "nn/functional.pyi": "torch.nn.functional",
    "_C/__init__.pyi": "torch._C",
}


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: str
    required: bool
    keyword_only: bool


@dataclass(frozen=True)
class Overload:
    kind: str
    parameters: tuple[Parameter, ...]

    @property
    def required(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.required)


Overloads = dict[str, list[Overload]]


def read_functions() -> Overloads:
    """Names such as 'torch.rand' and 'torch.nn.functional.pad', each with its overloads."""
    found: Overloads = {}
    for file, module in _FUNCTION_STUBS.items():
        for name, overloads in _read_defs(_parse(file).body).items():
            found[f"{module}.{name}"] = overloads
    return found


def read_methods() -> Overloads:
    return _read_defs(_tensor_class().body, drop_self=True)


def read_attributes() -> dict[str, str]:
    return {
        node.target.id: read_annotation(ast.unparse(node.annotation), STUB_NAMES)
        for node in _tensor_class().body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _parse(file: str) -> ast.Module:
    return ast.parse((_ROOT / file).read_text(encoding="utf-8"))


def _tensor_class() -> ast.ClassDef:
    for node in _parse("_C/__init__.pyi").body:
        if isinstance(node, ast.ClassDef) and node.name == "TensorBase":
            return node
    raise LookupError("torch/_C/__init__.pyi has no class TensorBase")


def _read_defs(body: list[ast.stmt], drop_self: bool = False) -> Overloads:
    found: Overloads = {}
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            kind = read_annotation(ast.unparse(node.returns), STUB_NAMES)
            parameters = _read_parameters(node.args)[1 if drop_self else 0 :]
            found.setdefault(node.name, []).append(Overload(kind, parameters))
    return found


def _read_parameters(args: ast.arguments) -> tuple[Parameter, ...]:
    positional = [*args.posonlyargs, *args.args]
    optional_from = len(positional) - len(args.defaults)
    read = [
        Parameter(arg.arg, _annotation(arg), index < optional_from, False)
        for index, arg in enumerate(positional)
    ]
    if args.vararg is not None:
        read.append(Parameter("*" + args.vararg.arg, _annotation(args.vararg), False, False))
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        read.append(Parameter(arg.arg, _annotation(arg), default is None, True))
    return tuple(read)


def _annotation(arg: ast.arg) -> str:
    return ast.unparse(arg.annotation) if arg.annotation is not None else ""
