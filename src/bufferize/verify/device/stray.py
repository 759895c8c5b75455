"""Which tensors of a module stayed behind, and the message that says so.

In: a module that was moved, or the error it raised on the device. Out: attribute names.
Refuses to know how the device finds a mismatch: an error may carry the tensor that did not fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .accelerator import Accelerator
from .nesting import tensors_in

_REGISTERED = ("_parameters", "_buffers", "_modules")


class DeviceMismatch(RuntimeError):
    """Tensors of two devices met in one operation; carries the one that was not on the device."""

    def __init__(self, message: str, stray: torch.Tensor) -> None:
        super().__init__(message)
        self.stray = stray


def stray_tensors(module: torch.nn.Module, accelerator: Accelerator) -> tuple[str, ...]:
    """Dotted names of unregistered tensors that are not on the device, also inside containers."""
    return tuple(name for name, _ in _strays(module, accelerator))


def _strays(
    module: torch.nn.Module, accelerator: Accelerator
) -> Iterator[tuple[str, torch.Tensor]]:
    for prefix, owner in module.named_modules():
        for name, value in list(vars(owner).items()):
            if name in _REGISTERED:
                continue
            path = f"{prefix}.{name}" if prefix else name
            for where, tensor in tensors_in(value, path):
                if not accelerator.holds(tensor):
                    yield where, tensor


def blame(error: BaseException, module: torch.nn.Module, accelerator: Accelerator) -> str:
    """The error's message with the attribute that stayed behind, where one did."""
    message = " ".join(str(error).split())
    strays = tuple(_strays(module, accelerator))
    stray = getattr(error, "stray", None)
    exact = [name for name, tensor in strays if stray is not None and _shares(tensor, stray)]
    names = exact or [name for name, _ in strays]
    if not names:
        return message
    listed = ", ".join(f"`{name}`" for name in names)
    return f"{message}: {listed} stayed on the CPU"


def _shares(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one is other:
        return True
    try:
        return bool(one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0)
    except (RuntimeError, NotImplementedError):
        # sparse and other opaque tensors have no storage
        return False
