"""A list, tuple or dict of tensors.

`register_buffer` takes one tensor or None. The tensors in a container need a name each, or one
tensor stacked from them; which of the two, only the author can say.

Bites:

    class Levels(nn.Module):
        def __init__(self, sizes):
            super().__init__()
            self.levels = [torch.zeros(4), torch.ones(4)]

Harmless, because it is one tensor:

    class Levels(nn.Module):
        def __init__(self):
            super().__init__()
            self.levels = torch.stack([torch.zeros(4), torch.ones(4)])
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView
from bufferize.model import Hazard, Safety
from bufferize.tensors.values import Kind, Value

_WORDS = {Kind.SEQUENCE: "a list or tuple", Kind.MAPPING: "a dict"}


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    kinds = [kind for kind in _WORDS if kind in candidate.value.kinds]
    if not kinds or not _holds_tensors(candidate.value):
        return None
    return Hazard(
        "tensor-container",
        f"`{candidate.attribute}` is {_WORDS[kinds[0]]} of tensors: no one buffer can hold it",
        Safety.DISPLAY_ONLY,
        candidate.where,
        remedy="register each under a name of its own, or stack them into one tensor",
    )


def _holds_tensors(value: Value) -> bool:
    parts = [*(value.items or ()), *([value.element] if value.element else [])]
    return any(part.may_be_tensor or _holds_tensors(part) for part in parts)
