"""Finds the hazard files. Adding a hazard is adding a file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from bufferize.model import Hazard

if TYPE_CHECKING:
    from bufferize.classes import Candidate, ClassView


@dataclass(frozen=True, slots=True)
class Rule:
    """One hazard: its id, its docstring, and the judgement."""

    id: str
    doc: str
    judge: Callable[[Candidate, ClassView], Hazard | None]

    @property
    def title(self) -> str:
        return self.doc.strip().splitlines()[0].rstrip(".")


@lru_cache(maxsize=1)
def registry() -> Mapping[str, Rule]:
    """Every hazard by id, sorted, read-only."""
    rules: dict[str, Rule] = {}
    package = importlib.import_module("bufferize.hazards")
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"bufferize.hazards.{info.name}")
        name = info.name.replace("_", "-")
        if name in rules:
            raise RuntimeError(f"hazard {name} is defined twice")
        rules[name] = Rule(name, inspect.getdoc(module) or "", module.judge)
    return MappingProxyType(rules)
