"""A tensor of the virtual device: it says it is elsewhere and keeps a CPU tensor inside.

In: operators with device tensors among their arguments. Out: the CPU's numbers, as device tensors,
or DeviceMismatch. Refuses to know the name by which user code calls the device.

The device is an index of its own on torch's meta device. It needs no registration and no renamed
backend, so nothing process-wide changes, and autograd runs its nodes in the calling thread: no
device threads, so activation checkpointing and forks stay harmless (a PrivateUse1 device has both).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from .rules import find_stray, name_of, written_arguments
from .stray import DeviceMismatch

# what torch's C++ code believes; user code sees PUBLIC
PRIVATE = torch.device("meta", 1)
PUBLIC = torch.device("cuda", 0)
CPU = torch.device("cpu")
# how messages call it
NAME = "virtual:0"


class VirtualTensor(torch.Tensor):  # type: ignore[misc]
    """Not a real CUDA tensor: `inner` holds the numbers on the CPU."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type, inner: torch.Tensor, requires_grad: bool = False) -> VirtualTensor:
        # a view of an ordinary tensor is ordinary, also in inference mode
        with torch.inference_mode(inner.is_inference()):
            outer = torch.Tensor._make_wrapper_subclass(
                cls,
                dtype=inner.dtype,
                device=PRIVATE,
                requires_grad=requires_grad,
                **_outline(inner),
            )
        # lazy conjugation is resolved above this class, by the bit that the outer tensor carries
        if inner.is_complex() and inner.is_conj():
            torch._C._set_conj(outer, True)
        if inner.is_neg():
            torch._C._set_neg(outer, True)
        # a plain attribute, not a slot: swapping a CPU tensor for this one needs equal slots
        outer.inner = inner.detach() if inner.requires_grad else inner
        return outer  # type: ignore[no-any-return]

    # Answers for user code, on the class and not in a mode: hooks called from within an operator
    # (saved tensors, checkpoints) must hear the same.
    device = property(lambda self: PUBLIC)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)
    layout = property(lambda self: self.inner.layout)
    is_nested = property(lambda self: self.inner.is_nested)
    is_sparse = property(lambda self: self.inner.is_sparse)
    is_sparse_csr = property(lambda self: self.inner.is_sparse_csr)

    def get_device(self) -> int:
        return 0

    def is_pinned(self, device: Any = None) -> bool:
        return False

    def record_stream(self, stream: Any) -> None:
        return None

    def pin_memory(self, device: Any = None) -> Any:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_with_tensors(index), value)

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy(force=True)
        raise TypeError(
            f"can't convert {PUBLIC} device type tensor to numpy. "
            "Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    # storage and addresses are those of the CPU tensor inside, so that sharing shows
    def data_ptr(self) -> int:
        return int(self.inner.data_ptr())

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    def storage(self) -> Any:
        return self.inner.storage()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return dispatch(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        with torch._C.DisableTorchFunction():
            text = repr(self.inner)
        return f"{text[:-1]}, device='{PUBLIC}')"

    def __format__(self, specification: str) -> str:
        # torch formats numbers of its own class only
        return self.inner.__format__(specification) if self.dim() == 0 else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> VirtualTensor:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) "
                "support the deepcopy protocol at the moment."
            )
        with torch._C.DisableTorchFunction():
            copied = VirtualTensor(copy.deepcopy(self.inner, memo), self.requires_grad)
        memo[id(self)] = copied
        for name, value in vars(self).items():
            if name != "inner":
                setattr(copied, name, copy.deepcopy(value, memo))
        if self.grad is not None:
            copied.grad = copy.deepcopy(self.grad, memo)
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        if isinstance(self, torch.nn.Parameter):
            hooks: OrderedDict[str, Any] = OrderedDict()
            return torch._utils._rebuild_parameter, (self.data, self.requires_grad, hooks)
        # as torch pickles devices whose storages it cannot reach; obeys torch.load's map_location
        rebuild = torch._utils._rebuild_device_tensor_from_cpu_tensor
        with torch._C.DisableTorchFunction():
            plain = self.inner.detach().clone()
        return rebuild, (plain, self.dtype, str(PUBLIC), self.requires_grad)


def _with_tensors(index: Any) -> Any:
    """`x[[0, 2]]`: torch would build the index on the outline's device, where it has no numbers.

    A CPU index may index a device tensor, so a CPU tensor says the same.
    """
    if isinstance(index, tuple):
        return tuple(_with_tensors(part) for part in index)
    if isinstance(index, list) and not any(isinstance(x, slice | torch.Tensor) for x in index):
        return torch.tensor(index, device="cpu", dtype=None if index else torch.long)
    if getattr(index, "ndim", 0) and not isinstance(index, torch.Tensor):  # an array of numpy
        return torch.as_tensor(index, device="cpu")
    return index


def _outline(inner: torch.Tensor) -> dict[str, Any]:
    """What torch's C++ code believes about shape and layout."""
    if inner.is_nested:
        # no size of its own; only operators that know nested tensors will look at it
        return {"size": (inner.size(0), *(0,) * (inner.dim() - 1))}
    if inner.layout is torch.sparse_coo:
        return {"size": inner.size(), "layout": inner.layout}
    if inner.layout is not torch.strided:
        # wrappers of compressed layouts cannot tell their layout: they pass for dense ones
        return {"size": inner.size()}
    strides, offset = inner.stride(), inner.storage_offset()
    return {"size": inner.size(), "strides": strides, "storage_offset": offset}


def is_virtual(value: object) -> bool:
    return isinstance(value, VirtualTensor)


def unwrap(value: Any) -> Any:
    return value.inner if isinstance(value, VirtualTensor) else value


class VirtualMode(TorchDispatchMode):  # type: ignore[misc]
    """Sees what no device tensor takes part in: factories on the device, moves to it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else torch imports its compiler, 1.6 s, for the first operator
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return dispatch(func, args, kwargs or {})


def dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run one operator on the CPU tensors inside, and give back what the device would."""
    leaves = tree_leaves((args, kwargs))
    virtual = [leaf for leaf in leaves if isinstance(leaf, VirtualTensor)]
    devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    to_device = any(_is_here(device) for device in devices)
    if not virtual and not to_device:
        return func(*args, **kwargs)
    with torch._C.DisableTorchFunction():
        check_devices(func, args, kwargs)
        plain_args, plain_kwargs = tree_map(_on_cpu, (args, kwargs))
        if to_device:
            plain_kwargs.pop("pin_memory", None)
        result = func(*plain_args, **plain_kwargs)
        wrap = to_device or (not devices and bool(virtual))
        result = _give_back(func, args, kwargs, result, virtual) if wrap else result
        for written in _written(func, args, kwargs):
            _refresh(written)
        return result


def check_devices(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise DeviceMismatch where the device's kernel would refuse its arguments."""
    stray = find_stray(func, args, kwargs, is_virtual)
    if stray is None:
        return
    raise mismatch(func, *stray)


def mismatch(func: Any, position: int, argument: str, tensor: torch.Tensor) -> DeviceMismatch:
    return DeviceMismatch(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{NAME} and {tensor.device}! "
        f"(argument {argument}, position {position}, of {name_of(func)})",
        tensor,
    )


def _is_here(device: torch.device) -> bool:
    return bool(device == PRIVATE) or device.type == "cuda"


def _on_cpu(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return CPU if _is_here(leaf) else leaf
    return unwrap(leaf)


# results that live on the CPU on every device: (operator, position among the results)
_HOST_RESULTS = {("_pack_padded_sequence", 1)}


@cache
def _returned_arguments(func: Any) -> tuple[str | None, ...]:
    """For each result, the name of the argument it is (in-place and out= operators)."""
    names: list[str | None] = []
    for result in func._schema.returns:
        alias = result.alias_info
        names.append(
            next(
                argument.name
                for argument in func._schema.arguments
                if argument.alias_info is not None
                and argument.alias_info.before_set == alias.before_set
            )
            if alias is not None and alias.is_write
            else None
        )
    return tuple(names)


def _argument(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == name:
            return args[position] if position < len(args) else kwargs.get(name)
    return None


def _give_back(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
    virtual: list[VirtualTensor],
) -> Any:
    # an operator that hands an argument through must hand the same object through
    known = {id(tensor.inner): tensor for tensor in virtual}

    def wrap(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known.get(id(value)) if id(value) in known else VirtualTensor(value)

    returned = _returned_arguments(func)
    if len(returned) == 1:
        return (
            tree_map(wrap, result)
            if returned[0] is None
            else _argument(func, args, kwargs, returned[0])
        )
    if not isinstance(result, (tuple, list)):
        return result
    name = name_of(func)
    return tuple(
        (value if (name, index) in _HOST_RESULTS else tree_map(wrap, value))
        if returned[index] is None
        else _argument(func, args, kwargs, str(returned[index]))
        for index, value in enumerate(result)
    )


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[VirtualTensor]:
    values = [_argument(func, args, kwargs, name) for name in written_arguments(func)]
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, VirtualTensor)]


def _refresh(outer: VirtualTensor) -> None:
    """After an in-place operation: new shape and version of the inner tensor, if any."""
    inner = outer.inner
    # graphs that run on the CPU saved the inner tensor: they must notice the write
    if not inner.is_inference():
        torch.autograd.graph.increment_version(inner)
    if inner.layout is not torch.strided or inner.is_nested:
        return
    if outer.shape == inner.shape and outer.stride() == inner.stride():
        return
    with torch._C._DisableTorchDispatch():
        if outer.numel() < inner.numel():
            outer.resize_(inner.shape)
        outer.as_strided_(inner.shape, inner.stride(), inner.storage_offset())
