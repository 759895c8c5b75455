"""A tensor that only a DataLoader's workers read.

`DataLoader(..., collate_fn=self.sample)` runs `sample` in processes that hold a copy of the module
and batches on the CPU. A buffer moves to the GPU with the model; the batches it is added to do not.

Bites:

    from torch.utils.data import DataLoader

    class Walker(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = size
            self.offset = torch.arange(4) * size

        def loader(self):
            return DataLoader(range(self.size), collate_fn=self.sample)

        def sample(self, batch):
            return torch.tensor(batch)[:, None] + self.offset

Harmless, because forward reads it too:

    from torch.utils.data import DataLoader

    class Walker(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = size
            self.offset = torch.arange(4) * size

        def loader(self):
            return DataLoader(range(self.size), collate_fn=torch.tensor)

        def forward(self, batch):
            return batch[:, None] + self.offset
"""

from __future__ import annotations

import ast

from bufferize.classes import Candidate, ClassView, find_mention, first_parameter, place
from bufferize.model import Hazard, Safety

# what a DataLoader or a dataset calls in its workers
_HOOKS = frozenset({"collate_fn", "worker_init_fn", "transform"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    hooks = _hooks(view)
    if not hooks:
        return None
    called = view.reached_from(*hooks) - view.forward_methods
    readers = [
        method
        for method in view.family_methods
        if not view.is_constructing(method.name)
        and find_mention(method.node, first_parameter(method.node), candidate.attribute)
    ]
    if not readers or any(method.name not in called for method in readers):
        return None
    reader = readers[0]
    where = place(reader.module, reader.node)
    return Hazard(
        "read-by-loader",
        f"`{candidate.attribute}` is read only in {reader.name} ({where}), which a DataLoader runs "
        "on the CPU: a buffer would move away from its batches",
        Safety.UNSAFE,
        where,
        remedy="leave it plain, or move the batch to its device first",
    )


def _hooks(view: ClassView) -> frozenset[str]:
    """Methods of self that are handed to a loader: `collate_fn=self.sample`."""
    found: set[str] = set()
    for method in view.family_methods:
        receiver = first_parameter(method.node)
        for node in ast.walk(method.node):
            if isinstance(node, ast.keyword) and node.arg in _HOOKS:
                value = node.value
                if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
                    found |= {value.attr} if value.value.id == receiver else set()
    return frozenset(found)
