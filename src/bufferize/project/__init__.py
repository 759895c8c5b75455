"""Source files in, the program's names out: modules, classes, functions, inheritance.

Nothing is imported or executed: installed packages are read as source from the search path.
"""

from bufferize.project.index import Project
from bufferize.project.symbols import (
    ClassInfo,
    ExternalSymbol,
    FunctionInfo,
    ImportBinding,
    Module,
    ModuleSymbol,
    Symbol,
    ValueSymbol,
)

__all__ = [
    "ClassInfo",
    "ExternalSymbol",
    "FunctionInfo",
    "ImportBinding",
    "Module",
    "ModuleSymbol",
    "Project",
    "Symbol",
    "ValueSymbol",
]
