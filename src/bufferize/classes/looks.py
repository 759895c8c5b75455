"""Guesses about classes whose bases cannot be resolved. A guess never makes a rewrite safe."""

from __future__ import annotations

import ast

from bufferize.project import ClassInfo, ExternalSymbol, Project
from bufferize.project.index import external_base
from bufferize.project.symbols import dotted_name

_MODULE_METHODS = frozenset(
    {"register_buffer", "register_parameter", "add_module", "parameters", "named_parameters"}
)
_NAMES = (
    "Module",
    "Layer",
    "Model",
    "Net",
    "Block",
    "Encoder",
    "Decoder",
    "Attention",
    "Embedding",
    "Loss",
    "Head",
)


def looks_like_module(cls: ClassInfo, project: Project) -> bool:
    """Whether an unresolved base is probably an nn.Module: by what the class does with itself."""
    if not project.unresolved(cls) or _known_otherwise(cls, project):
        return False
    evidence = 0
    if any(
        (base.split("[")[0].split(".")[-1]).endswith(_NAMES) for base in project.unresolved(cls)
    ):
        evidence += 1
    if "forward" in cls.methods:
        evidence += 1 + ("torch" in cls.module.source.text)
    if _uses_module_methods(cls) or _holds_layers(cls, project):
        evidence += 2
    return evidence >= 2


def _known_otherwise(cls: ClassInfo, project: Project) -> bool:
    """A well-known base that is no module settles it."""
    for base in project.mro(cls):
        if isinstance(base, ExternalSymbol) and not base.name.startswith(
            ("builtins.object", "typing.", "abc.")
        ):
            known = external_base(base.name)
            if known is not None and not known.is_module:
                return True
    return False


def _uses_module_methods(cls: ClassInfo) -> bool:
    for node in ast.walk(cls.node):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = node.func.value
            if (
                node.func.attr in _MODULE_METHODS
                and isinstance(receiver, ast.Name)
                and receiver.id == "self"
            ):
                return True
    return False


def _holds_layers(cls: ClassInfo, project: Project) -> bool:
    """`self.x = nn.Linear(...)` or `nn.Parameter(...)` in its constructor."""
    constructor = cls.methods.get("__init__")
    if constructor is None:
        return False
    for node in ast.walk(constructor.node):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            name = dotted_name(node.value.func)
            symbol = project.resolve(cls.module, name) if name else None
            if isinstance(symbol, ExternalSymbol) and symbol.name.startswith("torch.nn."):
                return True
    return False
