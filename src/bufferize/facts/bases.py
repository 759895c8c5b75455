"""Well-known base classes of packages that are often not installed.

Takes a fully qualified class name, gives what is known of it or None. It refuses to look at the
packages themselves: everything stands in bases.json.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bufferize.facts.tables import module_classes, read_table

NOT_MODULE = "not-module"
_SCRIPT_CLASSES = re.compile(
    r"torch\.jit(\.\w+)?\.(Recursive)?Script(Module|Function)|torch\.jit\.TracedModule"
)


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A class from elsewhere.

    `kind` is 'module', 'metric' (add_state), 'script' (a TorchScript module), 'lightning',
    'pretrained' (saved and loaded by a hub's own code) or 'not-module'.
    """

    qualname: str
    package: str
    kind: str

    @property
    def is_module(self) -> bool:
        return self.kind != NOT_MODULE


@cache
def known_base(qualname: str) -> KnownBase | None:
    """What is known of a class, by its exact name first, then by the first pattern that fits."""
    qualname = qualname.removeprefix("builtins.")
    package = qualname.partition(".")[0]
    kind = _find_kind(qualname, package)
    return None if kind is None else KnownBase(qualname, package, kind)


def _find_kind(qualname: str, package: str) -> str | None:
    exact, patterns = _rows()
    if qualname in exact:
        return exact[qualname]
    if package == "torch":
        if _SCRIPT_CLASSES.fullmatch(qualname):
            return "script"
        if qualname in module_classes():
            return "module"
    parts = qualname.split(".")
    return next((kind for row, kind in patterns.get(package, ()) if _fits(row, parts)), None)


_Patterns = dict[str, list[tuple[list[str], str]]]


@cache
def _rows() -> tuple[dict[str, str], _Patterns]:
    """Rows with a star are patterns, tried in the order of the file."""
    exact: dict[str, str] = {}
    patterns: _Patterns = {}
    for name, kind in read_table("bases.json").items():
        if "*" in name:
            patterns.setdefault(name.partition(".")[0], []).append((name.split("."), kind))
        else:
            exact[name] = kind
    return exact, patterns


def _fits(row: Sequence[str], parts: Sequence[str]) -> bool:
    """'a.**.B*': two stars stand for any number of dotted parts, one for letters of one part."""
    for place, pattern in enumerate(row):
        if pattern == "**":
            rest = row[place + 1 :]
            return any(_fits(rest, parts[start:]) for start in range(place, len(parts)))
        if place >= len(parts) or not _fits_part(pattern, parts[place]):
            return False
    return len(row) == len(parts)


def _fits_part(pattern: str, part: str) -> bool:
    """At most two stars: 'B*', '*Model', 'For*Task', '*OutputWith*'. Compiling 90 rows is slow."""
    head, star, tail = pattern.partition("*")
    if not star:
        return part == pattern
    middle, _, tail = tail.rpartition("*") if "*" in tail else ("", "", tail)
    if len(part) < len(head) + len(middle) + len(tail) or not part.startswith(head):
        return False
    return part.endswith(tail) and middle in part[len(head) : len(part) - len(tail)]
