"""The class defines `register_buffer` itself.

What the override does with a name and a tensor cannot be told: it may rename, wrap or drop it.

Bites:

    class Counted(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def register_buffer(self, name, tensor, persistent=True):
            super().register_buffer(f"state_{name}", tensor, persistent)

Harmless, because buffers are not concerned:

    class Counted(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size)

        def register_parameter(self, name, param):
            super().register_parameter(name, param)
"""

from __future__ import annotations

from bufferize.classes import Candidate, ClassView, place
from bufferize.model import Hazard, Safety


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    for cls in view.family:
        method = cls.methods.get("register_buffer")
        if method is None:
            continue
        where = place(method.module, method.node)
        return Hazard(
            "overrides-register-buffer",
            f"`{cls.qualname}` defines register_buffer itself ({where})",
            Safety.DISPLAY_ONLY,
            where,
        )
    return None
