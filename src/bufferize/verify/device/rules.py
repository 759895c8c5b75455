"""Which operations may mix tensors of the device and of the CPU, as CUDA's kernels do.

In: an operator and its arguments. Out: the argument that does not fit, or none.
Refuses to know how device tensors are made: the caller says which tensors are on the device.

Source: `device_check` in torch's native_functions.yaml. Kernels without `NoCheck` compare the
devices of all tensor arguments; those built on TensorIterator take CPU tensors of no dimension;
the rest of the `NoCheck` operators are the tables below, each read in its kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch

IsOnDevice = Callable[[torch.Tensor], bool]

# operators whose tensor arguments may lie anywhere: copies, shapes and streams
_CROSSING = frozenset(
    {
        "copy_",
        "copy",
        "_copy_from",
        "_copy_from_and_resize",
        "_foreach_copy_",
        "_foreach_copy",
        "copy_sparse_to_sparse_",
        "_to_copy",
        "to",
        "type_as",
        "view_as",
        "expand_as",
        "reshape_as",
        "resize_as_",
        "sum_to_size",
        "is_same_size",
        "is_set_to",
        "_has_compatible_shallow_copy_type",
        "set_data",
        "result_type",
        "can_cast",
        "record_stream",
        "slice_scatter",
        "select_scatter",
        "diagonal_scatter",
        "as_strided_scatter",
    }
)

# arguments that may lie on the CPU whatever their shape
HOST_ARGUMENTS = {
    # native/TensorAdvancedIndexing.cpp: "indices should be either on cpu or on the same device"
    "index": {"indices"},
    "_unsafe_index": {"indices"},
    "index_put": {"indices"},
    "index_put_": {"indices"},
    "_index_put_impl_": {"indices"},
    "_unsafe_index_put": {"indices"},
    # native/cuda/Distributions.cpp copies the probabilities over
    "bernoulli_": {"p"},
    # native/PackedSequence.cpp and RNN.cpp: sizes and lengths are read on the host
    "_pack_padded_sequence": {"lengths"},
    "_pack_padded_sequence_backward": {"batch_sizes"},
    "_pad_packed_sequence": {"batch_sizes"},
    "lstm": {"batch_sizes"},
    "gru": {"batch_sizes"},
    "rnn_tanh": {"batch_sizes"},
    "rnn_relu": {"batch_sizes"},
    # native/LossCTC.cpp: lengths are read on the host, cuDNN wants the targets there too
    "ctc_loss": {"targets", "input_lengths", "target_lengths"},
    "_ctc_loss": {"targets", "input_lengths", "target_lengths"},
    "_ctc_loss_backward": {"targets", "input_lengths", "target_lengths"},
    # native/TensorShape.cpp: must be on the CPU
    "tensor_split": {"tensor_indices_or_sections"},
}

# arguments of no dimension that are read as numbers, though the operator is not elementwise
_NUMBER_ARGUMENTS = {
    # native/cuda/Indexing.cu: only the mask's device is compared
    "masked_fill": {"value"},
    "masked_fill_": {"value"},
    "index_fill": {"value"},
    "index_fill_": {"value"},
    "fill": {"value"},
    "fill_": {"value"},
    "full_like": {"fill_value"},
    "index_put": {"values"},
    "index_put_": {"values"},
    "_index_put_impl_": {"values"},
}

# tagged elementwise, yet every argument's device is compared (no TensorIterator in its entry)
_STRICT = frozenset({"masked_fill", "masked_fill_"})


def name_of(func: Any) -> str:
    """'masked_fill_' for aten.masked_fill_.Tensor."""
    return str(func._schema.name).split("::")[-1]


@cache
def takes_cpu_numbers(func: Any) -> bool:
    """Whether CPU tensors of no dimension mix with device tensors in it."""
    return torch.Tag.pointwise in func.tags and name_of(func) not in _STRICT


@cache
def written_arguments(func: Any) -> frozenset[str]:
    return frozenset(
        argument.name
        for argument in func._schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
    )


def named_tensors(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> Iterator[tuple[int, str, torch.Tensor]]:
    """Position (from 1), name and tensor of every tensor argument, also inside lists."""
    for position, argument in enumerate(func._schema.arguments):
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        items = value if isinstance(value, (list, tuple)) else (value,)
        for item in items:
            if isinstance(item, torch.Tensor):
                yield position + 1, argument.name, item


def find_stray(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any], on_device: IsOnDevice
) -> tuple[int, str, torch.Tensor] | None:
    """The first CPU argument that the operator cannot mix with its device arguments."""
    tensors = list(named_tensors(func, args, kwargs))
    name = name_of(func)
    if name in _CROSSING or not any(on_device(tensor) for _, _, tensor in tensors):
        return None
    for position, argument, tensor in tensors:
        if not on_device(tensor) and not _may_stay(func, name, argument, tensor):
            return position, argument, tensor
    return None


def _may_stay(func: Any, name: str, argument: str, tensor: torch.Tensor) -> bool:
    if argument in written_arguments(func):
        return False
    if argument in HOST_ARGUMENTS.get(name, ()):
        return True
    if tensor.dim() != 0:
        return False
    return takes_cpu_numbers(func) or argument in _NUMBER_ARGUMENTS.get(name, ())
