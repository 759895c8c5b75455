"""Composite operators of device tensors, run whole on the CPU.

In: an operator made of others (LSTM, scaled dot-product attention, dropout, linear ...). Out: what
the CPU's own composition gives, bit for bit, forward and backward.

torch chooses kernels and compositions by the device of the arguments: left alone, device tensors
would take another route than the CPU's, with other rounding, or into a fused kernel that only a
real device has. Refuses to know single operators: purity is read off the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map

from .rules import HOST_ARGUMENTS, name_of, named_tensors
from .stray import DeviceMismatch
from .tensor import PRIVATE, VirtualTensor, is_virtual, mismatch

# pure by their schema, and yet: they return views or their argument, mix devices on purpose, or
# return something that lives on the CPU; their own composition is right
_LEFT_ALONE = frozenset(
    {
        "broadcast_tensors",
        "meshgrid",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "unsafe_chunk",
        "type_as",
        "data",
        "unflatten_dense_tensors",
        "_shape_as_tensor",
        "_to_cpu",
        "_pad_packed_sequence",
        "_pack_padded_sequence_backward",
        "_add_batch_dim",
        "_remove_batch_dim",
        "nested_to_padded_tensor",
    }
)


class _Onto(torch.autograd.Function):  # type: ignore[misc]
    """CPU to device without a copy: the CPU tensor is nobody else's."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return VirtualTensor(tensor.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Off.apply(grads[0])


class _Off(torch.autograd.Function):  # type: ignore[misc]
    """Device to CPU as an alias: strides, and with them the choice of kernels, stay."""

    @staticmethod
    def forward(ctx: Any, tensor: VirtualTensor) -> torch.Tensor:
        return tensor.inner.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Onto.apply(grads[0])


@cache
def find_composites() -> tuple[str, ...]:
    """Names of the pure composite operators of this torch, tensors in and tensors out."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return tuple(
        name
        for name in sorted(torch._C._dispatch_get_all_op_names())
        if name.startswith("aten::")
        and has_kernel(name, "CompositeImplicitAutograd")
        and not has_kernel(name, "AutogradMeta")
        and name[6:].partition(".")[0] not in _LEFT_ALONE
        and _is_pure(operator(name))
    )


def operator(name: str) -> Any:
    """'aten::add.Tensor' -> torch.ops.aten.add.Tensor"""
    base, _, overload = name[6:].partition(".")
    return getattr(getattr(torch.ops.aten, base), overload or "default")


def _is_pure(func: Any) -> bool:
    arguments, returns = func._schema.arguments, func._schema.returns
    return (
        all(each.alias_info is None for each in (*arguments, *returns))
        and any("Tensor" in str(argument.type) for argument in arguments)
        and all("Tensor" in str(result.type) for result in returns)
        and bool(returns)
        and not any(argument.name == "device" for argument in arguments)
    )


def register_composites(library: Any) -> None:
    """Route every pure composite operator of device tensors to the CPU, while `library` lives."""
    for name in find_composites():
        library.impl(name[6:], _kernel(operator(name)))


def _kernel(func: Any) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not _all_on_device(func, args, kwargs):
            return _decompose(func, args, kwargs)
        with torch._C.DisableTorchFunction():
            return _run_on_cpu(func, args, kwargs)

    return run


def _decompose(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operators inside know which devices mix; also the way of real meta tensors."""
    try:
        return func.decompose(*args, **kwargs)
    except RuntimeError as error:
        strays = [found for found in named_tensors(func, args, kwargs) if not is_virtual(found[2])]
        if isinstance(error, DeviceMismatch) or str(PRIVATE) not in str(error) or not strays:
            raise
        # torch's own check, in the words of the private device
        raise mismatch(func, *strays[0]) from None


def _all_on_device(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    found = False
    on_host = HOST_ARGUMENTS.get(name_of(func), set())
    for _, name, tensor in named_tensors(func, args, kwargs):
        if isinstance(tensor, VirtualTensor):
            found = True
        elif name not in on_host:
            return False
    return found


def _run_on_cpu(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    inside: dict[int, VirtualTensor] = {}

    def enter(leaf: Any) -> Any:
        if not isinstance(leaf, VirtualTensor):
            return leaf
        differentiable = torch.is_grad_enabled() and leaf.requires_grad
        plain = _Off.apply(leaf) if differentiable else leaf.inner.detach()
        inside[id(plain)] = leaf
        kept.append(plain)
        return plain

    def leave(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        # dropout in eval mode and the like hand their argument through
        if id(leaf) in inside:
            return inside[id(leaf)]
        return _Onto.apply(leaf) if leaf.requires_grad else VirtualTensor(leaf)

    kept: list[torch.Tensor] = []
    plain_args, plain_kwargs = tree_map(enter, (args, kwargs))
    # torch takes other routes while any dispatch mode is on ("tensor subclass like")
    with _disable_current_modes():
        result = func(*plain_args, **plain_kwargs)
    return tree_map(leave, result)
