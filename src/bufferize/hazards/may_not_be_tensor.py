"""A value that is a tensor on some paths and something else on others.

`register_buffer` raises TypeError for anything but a tensor or None, so the constructor would
fail on the other paths.

Bites:

    class Scaled(nn.Module):
        def __init__(self, size, wide=True):
            super().__init__()
            self.scale = torch.ones(size) if wide else 1.0

Harmless, because None may be registered:

    class Scaled(nn.Module):
        def __init__(self, size, wide=True):
            super().__init__()
            self.scale = torch.ones(size) if wide else None
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors.values import Kind

_WORDS = {
    Kind.PARAMETER: "a Parameter",
    Kind.NUMBER: "a number",
    Kind.TEXT: "a string",
    Kind.ARRAY: "a numpy array",
    Kind.SEQUENCE: "a list or tuple",
    Kind.MAPPING: "a dict",
    Kind.MODULE: "a module",
    Kind.CALLABLE: "a function",
    Kind.OTHER: "no tensor",
    Kind.UNKNOWN: "something that cannot be told",
}


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    others = candidate.value.kinds - {Kind.TENSOR, Kind.NONE}
    if not candidate.value.may_be_tensor or not others:
        return None
    words = " or ".join(word for kind, word in _WORDS.items() if kind in others)
    return Hazard(
        "may-not-be-tensor",
        f"`{candidate.attribute}` may also be {words}: register_buffer takes tensors and None only",
        Safety.UNSAFE,
        candidate.where,
        remedy="make it a tensor on every path, or pass --unsafe",
    )
