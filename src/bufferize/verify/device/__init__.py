"""A device to run modules on: CUDA where there is one, else a virtual accelerator.

In: modules and values of the CPU. Out: the same on the device, and errors that name what stayed
behind. One path for both, chosen by the device's name.

Stands alone: standard library and torch, whatever interpreter and torch 2.x the user has; no other
part of bufferize, so that a child process can load this folder by its path. Knows nothing of
classes under proof, cases or verdicts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from .accelerator import Accelerator, DeviceUnavailable
from .cuda import activate_cuda
from .stray import blame, stray_tensors

__all__ = [
    "Accelerator",
    "DeviceUnavailable",
    "activate",
    "blame",
    "default_kind",
    "stray_tensors",
]


def default_kind() -> str:
    """'cuda:0' where torch reaches a CUDA device, else 'virtual'."""
    return "cuda:0" if torch.cuda.is_available() else "virtual"


@contextlib.contextmanager
def activate(kind: str) -> Iterator[Accelerator]:
    """Make the device `kind` usable inside the block; raises DeviceUnavailable where it is not."""
    if kind.startswith("cuda"):
        with activate_cuda(kind) as accelerator:
            yield accelerator
    elif kind == "virtual":
        # imported late: CUDA machines never need it, and old versions of torch cannot load it
        try:
            from .virtual import activate_virtual
        except (ImportError, AttributeError) as error:
            raise DeviceUnavailable(
                f"torch {torch.__version__} cannot host the virtual device ({error}); "
                "use a CUDA device, or a newer torch (2.13 works)"
            ) from error
        with activate_virtual() as accelerator:
            yield accelerator
    else:
        raise DeviceUnavailable(f"unknown device {kind!r}: use 'virtual' or 'cuda:N'")
