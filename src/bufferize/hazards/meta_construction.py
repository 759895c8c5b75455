"""A value that is not saved, in a class that is built without memory and filled later.

Built on the meta device, a buffer that is not in the state_dict holds nothing after loading:
`to_empty` leaves memory uninitialised and `load_state_dict` has no entry for it. Libraries with
`_init_weights` or `reset_parameters` build that way; a plain tensor has the same trouble.

Bites:

    class Layer(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(size))
            self.ids = torch.arange(size)

        def reset_parameters(self):
            nn.init.ones_(self.weight)

Harmless, because it is set again when the rest is filled:

    class Layer(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(size))
            self.size = size
            self.reset_parameters()

        def reset_parameters(self):
            nn.init.ones_(self.weight)
            self.ids = torch.arange(self.size)
"""

from __future__ import annotations

import re

from bufferize.classes import Candidate, ClassView, find_mention, first_parameter, place
from bufferize.model import Hazard, Safety

_FILLERS = frozenset({"_init_weights", "reset_parameters"})
_META = re.compile(r"""device=["']meta["']|torch\.device\(["']meta["']\)|init_empty_weights\(""")


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if not candidate.value.may_be_tensor or not candidate.is_recomputable:
        return None
    name = candidate.attribute
    uses = [*view.uses_after(name), *view.uses_from_outside(name)]
    if any(use.changes_value for use in uses):
        return None
    what, where = _built_empty(name, view)
    if not what:
        return None
    return Hazard(
        "meta-construction",
        f"{what} ({where}): built on the meta device, `{name}` stays empty if it is not saved",
        Safety.SAFE,
        where,
        remedy="set it there too if the class is ever built on the meta device",
    )


def _built_empty(name: str, view: ClassView) -> tuple[str, str]:
    methods = [m for m in view.family_methods if m.name in _FILLERS]
    if any(find_mention(m.node, first_parameter(m.node), name) for m in methods):
        return "", ""
    if methods:
        return f"the class has {methods[0].name}", place(methods[0].module, methods[0].node)
    match = _META.search(view.module.source.text)
    if match is None:
        return "", ""
    line = view.module.source.text.count("\n", 0, match.start()) + 1
    return "the file builds on the meta device", f"{view.module.source.name}:{line}"
