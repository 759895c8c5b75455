"""How a case of `device_cases` is run on the CPU and on a device, and what must agree."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch.utils._pytree import tree_leaves

GRAD_MODES = {
    "train": contextlib.nullcontext,
    "eval": contextlib.nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
}


def observe(module, inputs, call, mode):
    """Every tensor that a run leaves: outputs, gradients of inputs and parameters, buffers."""
    torch.manual_seed(7)
    with GRAD_MODES[mode]():
        outputs = [leaf for leaf in tree_leaves(call(module, *inputs)) if torch.is_tensor(leaf)]
    tracked = [leaf for leaf in outputs if leaf.requires_grad]
    if tracked:
        sum(_finite_sum(leaf) for leaf in tracked).backward()
    owned = [*module.parameters(), *module.buffers()] if module is not None else []
    gradients = [leaf.grad for leaf in [*inputs, *owned]]
    return [*outputs, *gradients, *owned]


def _finite_sum(tensor):
    real = tensor.abs() if tensor.is_complex() else tensor
    return real.double().masked_fill(~real.detach().isfinite(), 0).sum()


def build_twice(build, mode):
    """Two equal modules and the inputs, so that neither run sees the other's traces."""
    torch.manual_seed(0)
    module, inputs, call = build()
    for leaf in inputs:
        if leaf.is_floating_point() and mode in ("train", "eval"):
            leaf.requires_grad_()
    if module is not None:
        module.train(mode == "train")
    return (module, copy.deepcopy(module)), inputs, call


def assert_same(ours, theirs, exact=True):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is None:
            continue
        assert one.dtype == other.dtype
        if exact:
            assert one.shape == other.shape
            one, other = one.detach().contiguous(), other.detach().contiguous()
            assert one.resolve_conj().numpy().tobytes() == other.resolve_conj().numpy().tobytes()
        else:
            torch.testing.assert_close(one, other, equal_nan=True, rtol=1e-3, atol=1e-4)


def makers(device):
    """(device tensor maker, CPU tensor maker): tensors of ones of a shape, numbers without one."""

    def there(*shape):
        return torch.ones(shape, device=device)

    def here(*shape):
        return torch.ones(shape)

    return there, here
