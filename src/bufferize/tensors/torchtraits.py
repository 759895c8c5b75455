"""Traits of a tensor that follow from how torch made it: complex, zero-dimensional, a table ..."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from bufferize.facts import Returns
from bufferize.tensors import values as v
from bufferize.tensors.values import Kind, Value

_COMPLEX_DTYPES = frozenset({"complex64", "complex128", "cfloat", "cdouble", "complex32", "chalf"})
DROP_COMPLEX = frozenset(
    {"abs", "angle", "real", "imag", "view_as_real", "isfinite", "isnan", "absolute"}
)
# rounding to bfloat16 hurts tables of these most
TABLES = frozenset(
    [
        "sin",
        "cos",
        "exp",
        "log",
        "pow",
        "sqrt",
        "rsqrt",
        "log2",
        "exp2",
        "tan",
        "hann_window",
        "hamming_window",
        "kaiser_window",
        "blackman_window",
        "cumprod",
        "logspace",
        "linspace",
    ]
)
_DROP_ZERO_DIM = frozenset(
    [
        "reshape",
        "view",
        "unsqueeze",
        "expand",
        "repeat",
        "tile",
        "broadcast_to",
        "atleast_1d",
        "atleast_2d",
        "stack",
        "cat",
        "concat",
        "full",
        "ones",
        "zeros",
        "new_zeros",
        "new_ones",
        "new_full",
        "repeat_interleave",
        "flatten",
        "expand_as",
        "view_as",
        "diag",
        "meshgrid",
        "arange",
        "linspace",
    ]
)
FLAG_TRAITS = {
    "random": v.RANDOM,
    "loads": v.LOADED,
    "complex": v.COMPLEX,
    "uninitialised": v.UNINITIALISED,
}


def data_traits(last: str, operands: list[Value], keywords: dict[str, Value]) -> frozenset[str]:
    """Traits of the values that a factory fills in: full(size, value), new_tensor(data)."""
    if last in {"tensor", "as_tensor", "scalar_tensor", "asarray", "frombuffer"}:
        return v.carried([*operands, *data_operands(keywords)])
    filled = operands[1:] if last.startswith(("full", "new_")) else []
    return v.carried([*filled, *data_operands({k: x for k, x in keywords.items() if k != "input"})])


def data_operands(keywords: dict[str, Value]) -> list[Value]:
    return [
        x
        for name, x in keywords.items()
        if name in {"data", "input", "other", "tensors", "value", "fill_value"}
    ]


# in place by name, yet without an effect on the values


def dtype_traits(
    traits: set[str],
    last: str,
    returns: Returns,
    operands: Sequence[Value],
    keywords: dict[str, Value],
) -> set[str]:
    named = [x.ref for x in [*operands[1:], *keywords.values()]]
    dtypes = {getattr(ref, "name", "").rpartition(".")[2] for ref in named if ref is not None}
    if dtypes & _COMPLEX_DTYPES:
        return traits | {v.COMPLEX}
    whole = dtypes & {"bool", "long", "int", "int64", "int32", "int8", "uint8", "int16", "short"}
    if last in DROP_COMPLEX or returns.has("boolean") or whole or last in {"long", "int", "bool"}:
        traits -= {v.COMPLEX, v.FLOAT_TABLE}
    return traits


def is_empty(operands: list[Value]) -> bool:
    """torch.empty(0): no element, no memory to be uninitialised."""
    return bool(operands) and operands[0].constant == 0 and operands[0].constant is not False


def is_zero_dim(
    returns: Returns, last: str, operands: list[Value], tensors: list[Value], node: ast.Call
) -> bool:
    if last in {"tensor", "as_tensor", "scalar_tensor"}:
        first = operands[0] if operands else v.UNKNOWN
        return first.kinds == {Kind.NUMBER} or (first.is_tensor and v.ZERO_DIM in first.traits)
    if last in {"zeros", "ones", "empty", "full", "rand", "randn"} and node.args:
        shape = node.args[0]
        return isinstance(shape, ast.Tuple | ast.List) and not shape.elts
    if returns.has("reduces"):
        return not node.args[1 if len(operands) == len(node.args) else 0 :] and not node.keywords
    if last in _DROP_ZERO_DIM or not tensors:
        return False
    return all(v.ZERO_DIM in x.traits for x in tensors) and not any(
        x.kinds & {Kind.SEQUENCE, Kind.ARRAY} for x in operands
    )
