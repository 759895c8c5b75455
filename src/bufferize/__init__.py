"""Find tensors that PyTorch modules forget, register them as buffers, prove each rewrite.

What `__all__` lists is public. Each name is loaded when it is first asked for, so that
`import bufferize` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bufferize.errors import BufferizeError
    from bufferize.library import rewrite_source, verify_pair
    from bufferize.model import Failed, FileOutcome, Rewritten, Unchanged, Verdict
    from bufferize.settings import Settings

    __version__: str

__all__ = [
    "BufferizeError",
    "Failed",
    "FileOutcome",
    "Rewritten",
    "Settings",
    "Unchanged",
    "Verdict",
    "__version__",
    "rewrite_source",
    "verify_pair",
]

_HOMES = {
    "BufferizeError": "errors",
    "Settings": "settings",
    "rewrite_source": "library",
    "verify_pair": "library",
    **dict.fromkeys(("Failed", "FileOutcome", "Rewritten", "Unchanged", "Verdict"), "model"),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _read_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'bufferize' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"bufferize.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _read_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bufferize")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
