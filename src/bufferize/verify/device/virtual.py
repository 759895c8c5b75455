"""The virtual accelerator, switched on and off.

In: nothing. Out: an accelerator while the block lasts; afterwards torch is as it was.
Refuses to know how tensors, names and operators are handled: it only puts the parts in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from .accelerator import Accelerator, DeviceUnavailable
from .composite import register_composites
from .names import NamesMode
from .patches import list_patches, patched, transparent_python
from .tensor import PUBLIC, VirtualMode, is_virtual


class VirtualAccelerator(Accelerator):
    def holds(self, tensor: torch.Tensor) -> bool:
        return is_virtual(tensor)

    def remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks = (*self.remarks, text)


@contextlib.contextmanager
def activate_virtual() -> Iterator[Accelerator]:
    """Device tensors, their operators, and "cuda" in user code, for the length of the block."""
    accelerator = VirtualAccelerator("virtual", PUBLIC)
    with contextlib.ExitStack() as stack:
        try:
            library = torch.library.Library("aten", "IMPL", "AutogradMeta")
            stack.callback(library._destroy)
            register_composites(library)
            stack.enter_context(patched(list_patches(accelerator.remark)))
            stack.enter_context(transparent_python())
            stack.enter_context(VirtualMode())
            stack.enter_context(NamesMode())
            _try_out()
        except (AttributeError, RuntimeError, TypeError) as error:
            because = " ".join(str(error).split())
            raise DeviceUnavailable(
                f"torch {torch.__version__} cannot host the virtual device ({because}); "
                "use a CUDA device, or a newer torch (2.13 works)"
            ) from error
        yield accelerator


def _try_out() -> None:
    """Fails here, with one clear line, where user code would fail with a puzzling one."""
    made = torch.ones(2, device=PUBLIC)
    if not is_virtual(made) or (made * 2).cpu().tolist() != [2.0, 2.0]:
        raise RuntimeError("tensors do not stay on it")
