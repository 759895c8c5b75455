"""Which names torch has: every public module, and what can be reached in it.

Takes an installed torch; gives (module, name, object) for functions, classes and constants.
It refuses private modules and names, tests, and names a module merely imported for its own use.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import types
import warnings
from collections.abc import Iterator
from typing import Any

import torch

# modules of C functions that people import from, private or not
_EXTRA_MODULES = ("torch._C._nn", "torch._VF", "torch.testing")
# where functions are worth listing: what else torch has is machinery that no constructor calls
_FUNCTION_MODULES = re.compile(
    r"torch(\.(accelerator|amp|autograd(\.\w+)?|backends|compiler|cpu|cuda(\.\w+)?|fft|func|functional"
    r"|distributed(\.(distributed_c10d|device_mesh|fsdp|nn|nn\.functional|rpc|tensor))?"
    r"|distributions(\.\w+)?|futures|fx|hub|jit|library|linalg|masked|mps|mtia|multiprocessing|nested"
    r"|nn(\.(attention(\.\w+)?|functional|grad|init|modules|parallel|parameter|utils(\.\w+)?))?"
    r"|optim(\.\w+)?|overrides|profiler|quasirandom|random|serialization|signal(\.windows)?|sparse"
    r"|special|storage|testing|types|utils(\.(checkpoint|data|dlpack|model_zoo|mkldnn))?"
    r"|xpu(\.random)?|_VF|_C\._nn|_C\._VariableFunctions))?"
)
# these hold C functions under names that __all__ leaves out
_GATHERING = (*_EXTRA_MODULES, "torch.nn.functional", "torch.linalg", "torch.fft", "torch.special")
_SKIP_PARTS = ("tensorboard", "testing", "test", "tests", "benchmark", "bottleneck", "hipify")


def public_modules() -> list[types.ModuleType]:
    """torch and every public module below it that imports, sorted by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {m.__name__: m for m in _walk(torch)}
    return [found[name] for name in sorted(found)]


def function_modules() -> list[types.ModuleType]:
    extra = [importlib.import_module(name) for name in _EXTRA_MODULES]
    return [m for m in [*public_modules(), *extra] if _FUNCTION_MODULES.fullmatch(m.__name__)]


def members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Names that belong to the module: exported, defined there, or gathered by a package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from _own_members(module)


def private_members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Names with an underscore that are defined there: people inherit from _BatchNorm and _Loss."""
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name, value


def _own_members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    exported = getattr(module, "__all__", None)
    is_package = hasattr(module, "__path__") or module.__name__ in _GATHERING
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        at_home = getattr(value, "__module__", None) == module.__name__
        if (exported is not None and name in exported) or at_home or is_package:
            yield name, value


def _walk(package: types.ModuleType) -> Iterator[types.ModuleType]:
    yield package
    path = vars(package).get("__path__", ())
    for info in pkgutil.iter_modules(path, package.__name__ + "."):
        last = info.name.rpartition(".")[2]
        if last.startswith("_") or last in _SKIP_PARTS:
            continue
        try:
            module = importlib.import_module(info.name)
        except (Exception, SystemExit):
            continue
        # some modules put another object in their place
        if isinstance(module, types.ModuleType) and module.__name__ == info.name:
            yield from _walk(module)
