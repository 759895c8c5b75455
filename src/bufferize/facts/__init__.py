"""Facts about torch, numpy and well-known packages: literal tables, checked in.

Fully qualified names go in, what they return or are comes out. Nothing here imports torch or
looks at code; `python -m bufferize.facts.generate` regenerates the tables of torch.
"""

from bufferize.facts.bases import KnownBase, known_base
from bufferize.facts.returns import Returns, Variant
from bufferize.facts.tables import (
    attribute_returns,
    constant_kind,
    function_returns,
    is_tensor_class,
    method_returns,
    module_attributes,
    module_classes,
    numpy_returns,
    torch_version,
)

__all__ = [
    "KnownBase",
    "Returns",
    "Variant",
    "attribute_returns",
    "constant_kind",
    "function_returns",
    "is_tensor_class",
    "known_base",
    "method_returns",
    "module_attributes",
    "module_classes",
    "numpy_returns",
    "torch_version",
]
