"""User code says "cuda": what its calls mean on the virtual device.

In: calls of torch's functions and tensor methods as user code wrote them. Out: the same calls with
the device's private name, and answers ("cuda:0") as user code expects them.
Refuses to know operators' rules: which devices mix is decided below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device

from .tensor import CPU, PRIVATE, VirtualTensor, is_virtual, unwrap

Call = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def to_private(device: Any) -> Any:
    """The private name of the device if `device` means it, else `device` itself."""
    if isinstance(device, bool) or device is None:
        return device
    if isinstance(device, int):
        return _checked(device)
    if isinstance(device, str) and device.partition(":")[0] == "cuda":
        device = torch.device(device)
    if isinstance(device, torch.device) and device.type == "cuda":
        return _checked(device.index or 0)
    return device


def _checked(index: int) -> torch.device:
    if index != 0:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return PRIVATE


class NamesMode(TorchFunctionMode):  # type: ignore[misc]
    """Stands between user code and torch while the device is active."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if "device" in kwargs:
            kwargs["device"] = to_private(kwargs["device"])
        elif _device.CURRENT_DEVICE is not None and func in _device._device_constructors():
            # torch.set_default_device and `with torch.device(...)` come after this mode
            kwargs["device"] = to_private(_device.CURRENT_DEVICE)
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        special = _SPECIAL.get(func)
        return func(*args, **kwargs) if special is None else special(func, args, kwargs)


def _to(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) > 1 and not isinstance(args[1], torch.Tensor):
        args = (args[0], to_private(args[1]), *args[2:])
    return func(*args, **kwargs)


def _cuda(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device = args[1] if len(args) > 1 else kwargs.pop("device", None)
    non_blocking = bool(args[2] if len(args) > 2 else kwargs.pop("non_blocking", False))
    device = PRIVATE if device is None else to_private(device)
    return args[0].to(device=device, non_blocking=non_blocking, **kwargs)


def _type(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, target = args[0], (args[1] if len(args) > 1 else kwargs.get("dtype"))
    if target is None:
        plain = str(func(unwrap(tensor)))
        return plain.replace("torch.", "torch.cuda.") if is_virtual(tensor) else plain
    if isinstance(target, torch.dtype):
        return tensor.to(target)
    name = target if isinstance(target, str) else f"{target.__module__}.{target.__name__}"
    if name.startswith("torch.cuda."):
        return tensor.to(PRIVATE, torch.empty(0).type(name.replace("cuda.", "")).dtype)
    return func(tensor.cpu(), name)


def _set_data(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`x.data = y` also between devices: x stays the same object, as on CUDA."""
    target, source = args
    if not (is_virtual(target) or is_virtual(source)):
        return func(*args, **kwargs)
    if source is target:
        return None
    requires_grad, grad = target.requires_grad, target.grad
    is_parameter = isinstance(target, torch.nn.Parameter)
    with torch._C.DisableTorchFunction():
        if is_virtual(source):
            fresh = VirtualTensor(source.inner.detach())
        else:
            fresh = source.detach()
            fresh = torch.nn.Parameter(fresh, False) if is_parameter else fresh
        own = {name: value for name, value in vars(target).items() if name != "inner"}
        target.__class__, fresh.__class__ = type(fresh), type(target)
        target.__dict__, fresh.__dict__ = fresh.__dict__, target.__dict__
        torch._C._swap_tensor_impl(target, fresh)
        vars(target).update(own)
        target.requires_grad_(requires_grad)
        if is_virtual(target) and is_parameter:
            target._is_param = True
        if grad is not None:
            # comes along at once, for the two must be of one kind; nn.Module moves it next anyway
            plain = unwrap(grad).detach().to(target.dtype)
            target.grad = VirtualTensor(plain) if is_virtual(target) else plain
    return None


def _compatible(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # nn.Module then moves its parameters by `param.data = moved`, and they stay the same objects
    if any(map(is_virtual, args)) and hasattr(torch._C, "_swap_tensor_impl"):
        return True
    return func(*args, **kwargs)


def _make(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """torch.tensor and its kin: the numbers are read on the host, then moved."""
    owner = args[0] if func is torch.Tensor.new_tensor else None
    data = args[1] if owner is not None else (args[0] if args else kwargs.pop("data", None))
    device = kwargs.pop("device", None)
    requires_grad = kwargs.pop("requires_grad", False)
    keep = func in (torch.as_tensor, torch.asarray)
    dtype = kwargs.get("dtype")
    if is_virtual(data):
        target = PRIVATE if device is None and (owner is None or is_virtual(owner)) else device
        made = data if keep else data.detach().clone()
        made = made.to(device=target or CPU, dtype=dtype or data.dtype)
    elif owner is not None:
        kwargs.setdefault("dtype", owner.dtype)
        made = torch.tensor(_on_host(data), device=CPU, **kwargs)
        made = made.to(device or (PRIVATE if is_virtual(owner) else CPU))
    else:
        # named, else `with torch.device(...)` would name it after us
        made = func(_on_host(data), *args[1:], device=CPU, **kwargs)
        made = made if device is None else made.to(device)
    return made.requires_grad_() if requires_grad else made


def _on_host(data: Any) -> Any:
    """Device tensors in nested lists are read like numbers."""
    if isinstance(data, (list, tuple)):
        return [_on_host(item) for item in data]
    return unwrap(data)


def _legacy_new(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not is_virtual(args[0]):
        return func(*args, **kwargs)
    plain = [arg.inner if is_virtual(arg) else arg for arg in args]
    kwargs.pop("device", None)
    return func(*plain, **kwargs).to(PRIVATE)


def _pin(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # pinning needs a real accelerator and changes no number
    return args[0].clone()


_TENSOR = torch.Tensor
_SPECIAL: dict[Any, Call] = {
    _TENSOR.data.__set__: _set_data,
    _TENSOR.to: _to,
    _TENSOR.cuda: _cuda,
    _TENSOR.type: _type,
    _TENSOR.new: _legacy_new,
    _TENSOR.new_tensor: _make,
    _TENSOR.pin_memory: _pin,
    torch._has_compatible_shallow_copy_type: _compatible,
    torch.tensor: _make,
    torch.as_tensor: _make,
    torch.asarray: _make,
}
