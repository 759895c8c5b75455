"""What a function's text tells of a parameter that carries no annotation.

In: a function. Out: by parameter name, a number or a tensor, where the docstring names the type, a
layer takes the parameter as a size, or a method is called on it that only tensors have. Guesses
nothing from the name itself.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from bufferize.project import FunctionInfo
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v
from bufferize.tensors.values import Value

# layers of torch.nn whose positional arguments are sizes
_SIZED = re.compile(
    r"(Linear|Bilinear|Embedding|Conv\d?d|ConvTranspose\d?d|BatchNorm\d?d|GRU|LSTM|RNN)$"
)
_SIZE_WORDS = re.compile(
    r"(in|out)_(features|channels)$|^num_(embeddings|features|layers)$|_(size|dim)$"
)
# numpy knows these as fields or not at all
_TENSOR_METHODS = frozenset({"size", "dim"})
_NUMBER_TYPES = r"(?:int|float|bool|integer)"
_TESTS = frozenset({"isinstance", "is_tensor", "hasattr", "callable"})


def clue(function: FunctionInfo | None, parameter: str) -> Value | None:
    """What the parameter is, or None where the text does not tell."""
    if function is None:
        return None
    numbers, tensors = _clues(function)
    if parameter in tensors:
        return v.tensor()
    return v.NUMBER if parameter in numbers else None


@lru_cache(maxsize=4096)
def _clues(function: FunctionInfo) -> tuple[frozenset[str], frozenset[str]]:
    args = function.node.args
    names = {a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs] if not a.annotation}
    numbers = {name for name in names if _is_documented_number(name, _documents(function))}
    tensors: set[str] = set()
    tested: set[str] = set()
    ends = _first_assignments(function.node, names)
    for node in ast.walk(function.node):
        if not isinstance(node, ast.Call):
            continue
        called = dotted_name(node.func) or ""
        if called.rpartition(".")[2] in _TESTS:
            tested |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        owner, _, method = called.rpartition(".")
        if (
            owner in names
            and method in _TENSOR_METHODS
            and node.lineno <= ends.get(owner, node.lineno)
        ):
            tensors.add(owner)
        numbers |= {n for n in _sizes(node, called) if n in names and n not in ends}
    return frozenset(numbers - tensors - tested), frozenset(tensors - tested)


def _sizes(node: ast.Call, called: str) -> set[str]:
    """Names that are handed to a layer as a size, or to range() and math."""
    head, _, last = called.rpartition(".")
    found: set[str] = set()
    if called == "range" or head == "math":
        found |= {a.id for a in node.args if isinstance(a, ast.Name)}
    elif head in {"nn", "torch.nn"} and _SIZED.match(last):
        found |= {a.id for a in node.args[:2] if isinstance(a, ast.Name)}
        found |= {
            k.value.id
            for k in node.keywords
            if isinstance(k.value, ast.Name) and _SIZE_WORDS.search(k.arg or "")
        }
    return found


def _first_assignments(node: ast.AST, names: set[str]) -> dict[str, int]:
    """The last line of the first statement that binds each name anew."""
    ends: dict[str, int] = {}
    for child in ast.walk(node):
        if isinstance(child, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.NamedExpr):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            for name in (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)):
                if name in names:
                    line = child.lineno if isinstance(child, ast.For) else child.end_lineno
                    ends[name] = min(ends.get(name, line or 0), line or 0)
    return ends


def _documents(function: FunctionInfo) -> str:
    texts = [ast.get_docstring(function.node)]
    if function.owner is not None and function.name == "__init__":
        texts.append(ast.get_docstring(function.owner.node))
    return "\n".join(filter(None, texts))


def _is_documented_number(name: str, text: str) -> bool:
    """`n : int`, `n (int, optional):`, `:param int n:`, `:type n: int`."""
    if name not in text:
        return False
    word, number = re.escape(name), _NUMBER_TYPES
    forms = (
        rf"^\s*{word}\s*:\s*{number}\s*(,.*)?$",
        rf"^\s*{word}\s*\(\s*{number}\s*(,\s*optional\s*)?\)",
        rf":param\s+{number}\s+{word}\s*:",
        rf":type\s+{word}\s*:\s*{number}\s*$",
    )
    return any(re.search(form, text, re.MULTILINE) for form in forms)
