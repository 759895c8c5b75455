"""Find tensors that PyTorch modules forget, register them as buffers, prove each rewrite."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bufferize")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"

__all__ = ["__version__"]
