"""Calls with tensors of two devices: those that must raise on any device, and those that must not.

`MIXTURES` and `MIXES` map a name to a function of (device tensor maker, CPU tensor maker);
`SOURCES` says of each mixture where torch says that CUDA refuses it.
Shared by the tests of the virtual device and of CUDA.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

MIXTURES = {}
SOURCES = {}

# Mixtures. "codegen" stands for the check that torchgen writes into the CUDA wrapper of every
# operator without `device_check: NoCheck` in native_functions.yaml: all tensor arguments must be on
# one device. TensorIterator.cpp lets CPU tensors of no dimension pass, and no others.


def _mixture(name, call, source):
    MIXTURES[name] = call
    SOURCES[name] = source


_mixture(
    "masked_fill_",
    lambda d, c: d(3, 3).masked_fill_(c(3, 3).bool(), 0.0),
    "Indexing.cu: mask's device is compared",
)
_mixture(
    "masked_fill_0d_mask",
    lambda d, c: d(3, 3).masked_fill(c().bool(), 0.0),
    "Indexing.cu: whatever its shape",
)
_mixture(
    "masked_fill_cpu_self",
    lambda d, c: c(3, 3).masked_fill(d(3, 3).bool(), 0.0),
    "TensorAdvancedIndexing.cpp: mask's device is compared",
)
_mixture("matmul", lambda d, c: d(3, 3) @ c(3, 3), "codegen: mm")
_mixture("matmul_batched", lambda d, c: d(2, 3, 3) @ c(2, 3, 3), "codegen: bmm")
_mixture("dot", lambda d, c: d(3).dot(c(3)), "codegen: dot")
_mixture("linear_weight", lambda d, c: F.linear(d(3, 3), c(3, 3)), "codegen: mm")
_mixture("linear_bias", lambda d, c: F.linear(d(3, 3), d(3, 3), c(3)), "codegen: addmm")
_mixture("add", lambda d, c: d(3) + c(3), "TensorIterator.cpp: one device")
_mixture(
    "add_one_element",
    lambda d, c: d(3) + c(1),
    "TensorIterator.cpp: only tensors of no dimension pass",
)
_mixture("add_device_number", lambda d, c: c(3) + d(), "TensorIterator.cpp: only CPU numbers pass")
_mixture("mul_", lambda d, c: d(3).mul_(c(3)), "TensorIterator.cpp: one device")
_mixture(
    "in_place_on_cpu",
    lambda d, c: c().add_(d()),
    "TensorIterator.cpp: the output must be on the common device",
)
_mixture("compare", lambda d, c: d(3) > c(3), "TensorIterator.cpp: one device")
_mixture("where", lambda d, c: torch.where(c(3) > 0, d(3), d(3)), "TensorCompare.cpp: one device")
_mixture(
    "where_other", lambda d, c: torch.where(d(3) > 0, d(3), c(3)), "TensorCompare.cpp: one device"
)
_mixture("lerp", lambda d, c: d(3).lerp(d(3), c(3)), "TensorIterator.cpp: one device")
_mixture("addcmul", lambda d, c: d(3).addcmul(c(3), d(3)), "TensorIterator.cpp: one device")
_mixture(
    "embedding_ids",
    lambda d, c: F.embedding(c(3).long(), d(4, 3)),
    "codegen: embedding or index_select",
)
_mixture(
    "embedding_table",
    lambda d, c: F.embedding(d(3).long(), c(4, 3)),
    "codegen: embedding or index_select",
)
_mixture("cat", lambda d, c: torch.cat([d(3), c(3)]), "codegen: cat")
_mixture(
    "cat_number", lambda d, c: torch.stack([d(), c()]), "codegen: cat, no exception for numbers"
)
_mixture(
    "conv",
    lambda d, c: F.conv2d(d(1, 2, 5, 5), c(3, 2, 3, 3)),
    "Convolution.cpp: input and weight type",
)
_mixture(
    "conv_cpu_input",
    lambda d, c: F.conv1d(c(1, 2, 5), d(3, 2, 3)),
    "Convolution.cpp: input and weight type",
)
_mixture(
    "conv_bias",
    lambda d, c: F.conv2d(d(1, 2, 5, 5), d(3, 2, 3, 3), c(3)),
    "Convolution.cpp: input and bias type",
)
_mixture("einsum", lambda d, c: torch.einsum("ij,jk->ik", d(3, 3), c(3, 3)), "codegen: bmm")
_mixture(
    "layer_norm_weight",
    lambda d, c: F.layer_norm(d(3, 4), (4,), c(4), c(4)),
    "codegen: native_layer_norm",
)
_mixture(
    "batch_norm_statistics",
    lambda d, c: F.batch_norm(d(3, 4), c(4), c(4)),
    "codegen: native_batch_norm",
)
_mixture(
    "batch_norm_training",
    lambda d, c: F.batch_norm(d(3, 4), c(4), c(4), training=True),
    "codegen: native_batch_norm",
)
_mixture(
    "group_norm_weight",
    lambda d, c: F.group_norm(d(3, 4), 2, c(4), c(4)),
    "codegen: native_group_norm",
)
_mixture(
    "index_cpu_tensor",
    lambda d, c: c(3)[d(2).long()],
    "TensorAdvancedIndexing.cpp: indices on cpu or on self's device",
)
_mixture(
    "index_put_cpu_tensor",
    lambda d, c: c(3).index_put_((d(2).long(),), c()),
    "TensorAdvancedIndexing.cpp: as index",
)
_mixture(
    "index_put_values",
    lambda d, c: d(3).index_put_((d(2).long(),), c(2)),
    "TensorAdvancedIndexing.cpp: only a number crosses",
)
_mixture("index_select", lambda d, c: d(3).index_select(0, c(2).long()), "codegen: index_select")
_mixture("gather", lambda d, c: d(3).gather(0, c(2).long()), "codegen: gather")
_mixture("scatter", lambda d, c: d(3).scatter(0, d(2).long(), c(2)), "codegen: scatter")
_mixture(
    "masked_select", lambda d, c: d(3).masked_select(c(3) > 0), "TensorIterator.cpp: one device"
)
_mixture("take", lambda d, c: d(3).take(c(2).long()), "codegen: take")
_mixture(
    "cross_entropy_target",
    lambda d, c: F.cross_entropy(d(3, 4), c(3).long()),
    "codegen: nll_loss_forward",
)
_mixture(
    "cross_entropy_weight",
    lambda d, c: F.cross_entropy(d(3, 4), d(3).long(), c(4)),
    "codegen: nll_loss_forward",
)
_mixture("mse_loss", lambda d, c: F.mse_loss(d(3), c(3)), "TensorIterator.cpp: one device")
_mixture(
    "sdpa_mask",
    lambda d, c: F.scaled_dot_product_attention(
        d(1, 1, 3, 4), d(1, 1, 3, 4), d(1, 1, 3, 4), attn_mask=c(3, 3)
    ),
    "TensorIterator.cpp: the mask is added",
)
_mixture(
    "sdpa_key",
    lambda d, c: F.scaled_dot_product_attention(d(1, 1, 3, 4), c(1, 1, 3, 4), c(1, 1, 3, 4)),
    "attention.cpp: validate_sdpa_input, one device",
)
_mixture(
    "lstm_state",
    lambda d, c: torch._VF.lstm(
        d(2, 1, 3), (c(1, 1, 2), c(1, 1, 2)), [d(8, 3), d(8, 2)], False, 1, 0.0, False, False, False
    ),
    "RNN.cpp: hidden and input tensor on one device",
)
_mixture(
    "grid_sample",
    lambda d, c: F.grid_sample(d(1, 1, 3, 3), c(1, 2, 2, 2), align_corners=False),
    "GridSampler.cpp: one device",
)
_mixture("bucketize", lambda d, c: torch.bucketize(d(3), c(4)), "BucketizationUtils.h: one device")
_mixture("cdist", lambda d, c: torch.cdist(d(3, 2), c(3, 2)), "Distance.cpp: one device")
_mixture("solve", lambda d, c: torch.linalg.solve(d(2, 2) + 3, c(2)), "codegen: _linalg_solve_ex")
_mixture("equal", lambda d, c: torch.equal(d(3), c(3)), "codegen: equal")
_mixture(
    "out",
    lambda d, c: torch.add(d(3), 1, out=c(3)),
    "TensorIterator.cpp: the output must be on the common device",
)
_mixture("numpy", lambda d, c: d(3).numpy(), "tensor_numpy.cpp: copy it to host memory first")
_mixture(
    "complex_mul", lambda d, c: d(3) * torch.polar(c(3), c(3)), "TensorIterator.cpp: one device"
)
_mixture("second_device", lambda d, c: d(3).to("cuda:7"), "invalid device ordinal")

MIXES = {
    "number": lambda d, c: d(3) + c(),
    "number_first": lambda d, c: c() * d(3),
    "number_in_place": lambda d, c: d(3).mul_(c()),
    "where_number": lambda d, c: torch.where(d(3) > 0, d(3), c()),
    "clamp_number": lambda d, c: d(3).clamp(c()),
    "masked_fill_value": lambda d, c: d(3).masked_fill(d(3) > 0, c()),
    "fill": lambda d, c: d(3).fill_(c()),
    "index": lambda d, c: d(3)[c(2).long()],
    "index_bool": lambda d, c: d(3)[c(3) > 0],
    "index_put": lambda d, c: d(3).index_put_((c(2).long(),), c()),
    "copy": lambda d, c: d(3).copy_(c(3)),
    "assign_slice": lambda d, c: d(3).__setitem__(slice(0, 2), c(2)),
    "to_other": lambda d, c: c(3).to(d(3)) + d(3),
    "type_as": lambda d, c: c(3).type_as(d(3)) + d(3),
    "shapes": lambda d, c: (
        d(1, 3).expand_as(c(2, 3)).reshape_as(c(3, 2)).view_as(c(3, 2)) + d(3, 2)
    ),
    "tensor_split": lambda d, c: d(3).tensor_split(torch.tensor([1])),
}
