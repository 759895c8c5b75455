"""A site whose value may be a tensor, with everything the abstract runs showed of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from bufferize.classes.uses import place
from bufferize.project import ClassInfo
from bufferize.tensors import values as v
from bufferize.tensors.frame import Write
from bufferize.tensors.values import Kind, Value


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A site whose value may be a tensor, with every abstract run that reached it."""

    key: int
    attribute: str
    # the class in whose body the statement stands
    cls: ClassInfo
    writes: tuple[Write, ...]
    # what the site assigns, joined over all runs
    value: Value

    @property
    def write(self) -> Write:
        return self.writes[0]

    @property
    def node(self) -> ast.stmt | ast.Call:
        return self.write.node

    @property
    def form(self) -> str:
        return self.write.form

    @property
    def where(self) -> str:
        return place(self.write.module, self.node)

    @property
    def is_recomputable(self) -> bool:
        """Whether every construction with the same arguments makes the same value."""
        return not self.value.traits & {v.RANDOM, v.LOADED, v.HANDED_IN}

    @property
    def earlier(self) -> frozenset[int]:
        """Keys of the writes that may have set the attribute before on the same path."""
        keys: set[int] = set()
        for write in self.writes:
            if write.earlier is not None:
                keys |= write.earlier.writes
        return frozenset(keys - {self.key})

    @property
    def initialised(self) -> bool:
        """Whether nn.Module.__init__ surely ran before, in every run."""
        return all(write.initialised for write in self.writes)

    @property
    def is_conditional(self) -> bool:
        """Whether the constructor may end without running the site."""
        return any(w.context.arms or w.context.in_try for w in self.writes)


def holds_tensors(value: Value) -> bool:
    """A list, tuple or dict with a tensor in it."""
    if not value.kinds & {Kind.SEQUENCE, Kind.MAPPING}:
        return False
    parts = [*(value.items or ()), *([value.element] if value.element else [])]
    return any(part.is_tensor or holds_tensors(part) for part in parts)
