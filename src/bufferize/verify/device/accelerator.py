"""What a device offers to whoever runs modules on it.

In: modules and nested values. Out: moved copies. Refuses to know how the device computes.
"""

from __future__ import annotations

import torch

from .nesting import map_tensors


class DeviceUnavailable(RuntimeError):
    """The device cannot be had here. The message is one line: why, and what to do."""


class Accelerator:
    """A device inside its `activate` block."""

    def __init__(self, name: str, device: torch.device) -> None:
        # 'cuda:0' or 'virtual'
        self.name = name
        # what user code passes to .to()
        self.device = device
        # what was not done as a real device would do it, one line each
        self.remarks: tuple[str, ...] = ()

    def move_module(self, module: torch.nn.Module) -> torch.nn.Module:
        """As user code does it: in place, through the module's own `to`."""
        return module.to(self.device)

    def move(self, value: object) -> object:
        """A copy of `value` with its tensors as leaves on the device."""

        def there(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.detach().to(self.device).requires_grad_(tensor.requires_grad)

        return map_tensors(there, value, self.device)

    def to_cpu(self, value: object) -> object:
        """A copy of `value` with its tensors as plain detached CPU tensors."""
        return map_tensors(lambda tensor: tensor.detach().cpu(), value, torch.device("cpu"))

    def holds(self, tensor: torch.Tensor) -> bool:
        return bool(tensor.device == self.device)
