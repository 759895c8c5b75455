"""A table of floats that a cast of the model would round.

`model.to(torch.bfloat16)` and `.half()` cast floating buffers too: bfloat16 keeps 8 bits, so
frequencies, sines and statistics lose most. A plain tensor is out of their reach. This is a note:
the rewrite is made, and the proof measures the drift.

Bites:

    class Rotary(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.inv_freq = 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim))

Harmless, because zeros and ones are exact:

    class Attention(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.mask = torch.ones(size, size).tril()
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterable, Iterator

from bufferize.classes import Candidate, ClassView, called_name
from bufferize.model import Hazard, Safety
from bufferize.tensors import values as v

_MAKERS = frozenset({"tensor", "as_tensor", "Tensor", "FloatTensor", "from_numpy"})
_TABLES = frozenset({"fftfreq", "rfftfreq"})
_STATISTIC = re.compile(r"(^|_)(mean|std|var|variance|average|avg|ema|momentum)s?($|_)")
_CHANGES = ("augmented", "item-write", "in-place")
_WHOLE = re.compile(r"\b(u?int(8|16|32|64)?|long|short|bool|LongTensor|BoolTensor)\b")


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    value = candidate.value
    if not value.may_be_tensor or not candidate.is_recomputable:
        return None
    if value.traits & {v.COMPLEX, v.ZERO_DIM}:
        return None
    what = _table(candidate, view)
    if not what:
        return None
    return Hazard(
        "float-rounding",
        f"`{candidate.attribute}` holds {what}: a cast such as .to(torch.bfloat16) will round them",
        Safety.SAFE,
        candidate.where,
        remedy="compute it again in float32 in forward if the model is ever cast",
    )


def _table(candidate: Candidate, view: ClassView) -> str:
    """What kind of floats it holds, or nothing."""
    if v.FLOAT_TABLE in candidate.value.traits:
        return "computed floats"
    expression = candidate.write.expression
    if expression is None or _WHOLE.search(ast.unparse(expression)):
        return ""
    calls = [n for n in ast.walk(expression) if isinstance(n, ast.Call)]
    if any(called_name(call) in _TABLES for call in calls):
        return "computed floats"
    makes = [call for call in calls if called_name(call) in _MAKERS]
    if any(not _is_exact(number) for call in makes for number in _numbers(call.args)):
        return "decimal fractions"
    named = _STATISTIC.search(candidate.attribute) is not None
    return "statistics" if (makes and named) or _is_averaged(candidate, view, named) else ""


def _is_averaged(candidate: Candidate, view: ClassView, named: bool) -> bool:
    """Changed after construction by a decay such as 0.9, or by anything if the name says so."""
    for use in view.uses_after(candidate.attribute):
        if use.kind == "assign" and use.relation == "move":
            continue
        decays = any(not _is_exact(number) for number in _numbers([use.node]))
        if (use.changes_value and decays) or (named and use.kind in {"assign", *_CHANGES}):
            return True
    return False


def _numbers(nodes: Iterable[ast.AST]) -> Iterator[float]:
    """Every float literal below the nodes."""
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                yield node.value


def _is_exact(number: float) -> bool:
    """Whether bfloat16, which is the upper half of a float32, holds the number as it is."""
    try:
        packed = struct.pack(">f", number)
    except OverflowError:
        return False
    return packed[2:] == b"\0\0" and struct.unpack(">f", packed)[0] == number
