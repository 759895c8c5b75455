"""The real device: CUDA made as repeatable as it gets.

In: a device name. Out: an accelerator while the block lasts. Refuses to know about the virtual one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from .accelerator import Accelerator, DeviceUnavailable


@contextlib.contextmanager
def activate_cuda(kind: str) -> Iterator[Accelerator]:
    """TF32 off and deterministic kernels where there are any; settings come back at the end."""
    if not torch.cuda.is_available():
        raise DeviceUnavailable(f"{kind}: torch {torch.__version__} sees no CUDA device")
    device = torch.device(kind if ":" in kind else f"{kind}:0")
    if (device.index or 0) >= torch.cuda.device_count():
        raise DeviceUnavailable(f"{kind}: there are {torch.cuda.device_count()} CUDA devices")
    # cuBLAS reads it when its handle is made: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    saved = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    matmul.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = False
    cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.cuda.device(device):
            yield Accelerator(str(device), device)
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = saved
