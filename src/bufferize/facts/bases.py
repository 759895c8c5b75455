"""Well-known base classes of packages that are often not installed.

Takes a fully qualified class name, gives what is known of it or None. It refuses to look at the
packages themselves: everything stands in bases.json.
"""

from __future__ import annotations

import re
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
    for pattern, kind in patterns.get(package, ()):
        if pattern.fullmatch(qualname):
            return kind
    return None


@cache
def _rows() -> tuple[dict[str, str], dict[str, list[tuple[re.Pattern[str], str]]]]:
    """Rows with a star are patterns, tried in the order of the file."""
    exact: dict[str, str] = {}
    patterns: dict[str, list[tuple[re.Pattern[str], str]]] = {}
    for name, kind in read_table("bases.json").items():
        if "*" in name:
            row = (_compile(name), kind)
            patterns.setdefault(name.partition(".")[0], []).append(row)
        else:
            exact[name] = kind
    return exact, patterns


def _compile(pattern: str) -> re.Pattern[str]:
    """'a.**.B*': two stars stand for any number of dotted parts, one for letters of one part."""
    parts = []
    for part in pattern.split("."):
        if part == "**":
            parts.append(r"(?:\w+\.)*")
        else:
            parts.append(re.escape(part).replace(r"\*", r"\w*") + r"\.")
    return re.compile("".join(parts)[: -len(r"\.")])
