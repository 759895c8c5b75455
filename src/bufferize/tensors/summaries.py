"""What running a constructor or method once tells of running it again for another class.

Large hierarchies share their base constructors. A run is reused for another concrete class when
every method it looked up on self resolves to the same function there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bufferize.project import ClassInfo, FunctionInfo, Project
from bufferize.tensors.frame import Attribute, Write
from bufferize.tensors.values import Value

# (method name, class that super() started behind or None, the function found or None)
Lookup = tuple[str, ClassInfo | None, FunctionInfo | None]


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One run of a function on an object under construction."""

    lookups: frozenset[Lookup]
    called: frozenset[str]
    value: Value
    # attributes and writes it left behind; None for a run whose effects depend on the object
    attributes: dict[str, Attribute] | None = None
    writes: tuple[Write, ...] = ()
    initialised: bool = False

    def fits(self, cls: ClassInfo, project: Project) -> bool:
        """Whether every look-up comes out the same on an object of `cls`."""
        return all(project.method(cls, name, after) is found for name, after, found in self.lookups)


@dataclass(slots=True)
class Summaries:
    """Shared by all constructions of a project."""

    constructors: dict[int, Summary] = field(default_factory=dict)
    # methods that changed nothing and gave nothing that matters
    idle: dict[int, Summary] = field(default_factory=dict)
