"""What torch's operator schemas say: returns, aliases, writes, random draws.

Takes the schemas registered in an installed torch; gives one Schema a name of the aten namespace.
It refuses overloads with `out=` arguments, whose aliases say nothing about the usual call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch

from bufferize.facts.generate.kinds import UNKNOWN, tuple_of, unite

_SCALARS = {
    "Tensor": "tensor",
    "Tensor[]": "tuple",
    "Tensor?": "none|tensor",
    "bool": "bool",
    "int": "number",
    "float": "number",
    "number": "number",
    "Scalar": "number",
    "SymInt": "number",
    "complex": "number",
    "int[]": "object",
    "str": "object",
    "NoneType": "none",
    "Device": "device",
    "Generator": "generator",
}
_PREFIXES = {
    "torch.linalg": "linalg_",
    "torch.fft": "fft_",
    "torch.special": "special_",
    "torch.sparse": "sparse_",
    "torch.nested": "nested_",
}


@dataclass(frozen=True)
class Schema:
    kind: str
    random: bool
    inplace: bool
    # every overload returns an alias of an argument, by the schema's annotation
    view: bool
    # no overload takes a tensor
    factory: bool
    takes_dtype: bool


def read_schemas() -> dict[str, Schema]:
    groups: dict[str, list[Any]] = {}
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::"):
            groups.setdefault(schema.name[len("aten::") :], []).append(schema)
    read = {name: _read_group(name, schemas) for name, schemas in groups.items()}
    return {name: schema for name, schema in read.items() if schema is not None}


def find_schema(schemas: dict[str, Schema], module: str, name: str) -> Schema | None:
    """The schema of a callable found in a module: torch.linalg.norm is aten::linalg_norm."""
    prefix = _PREFIXES.get(module, "")
    bare = name[len(prefix) :] if prefix and name.startswith(prefix) else name
    return schemas.get(prefix + bare)


def _read_group(name: str, schemas: list[Any]) -> Schema | None:
    plain = [s for s in schemas if not _writes_out(s, name)]
    # TorchScript's own overloads of python builtins (split.str, floor.int) take no tensor
    about_tensors = [s for s in plain if "Tensor" in str(s)]
    plain = about_tensors or plain
    if not plain:
        return None
    return Schema(
        kind=unite(_kind_of_returns(s) for s in plain),
        random=any(_is_random(s) for s in plain),
        inplace=name.endswith("_") and all(_writes_first(s) for s in plain),
        view=all(_returns_alias(s) for s in plain),
        factory=not any("Tensor" in str(a.type) for s in plain for a in s.arguments),
        takes_dtype=any(a.name == "dtype" for s in plain for a in s.arguments),
    )


def _kind_of_returns(schema: Any) -> str:
    kinds = [_kind_of_schema_type(str(r.type)) for r in schema.returns]
    if not kinds:
        return "none"
    return kinds[0] if len(kinds) == 1 else tuple_of(kinds)


def _kind_of_schema_type(text: str) -> str:
    text = text.replace("Optional[Tensor]", "Tensor?").replace("List[Tensor]", "Tensor[]")
    text = re.sub(r"^List\[int\]$", "int[]", text)
    return _SCALARS.get(text, UNKNOWN)


def _writes_out(schema: Any, name: str) -> bool:
    return not name.endswith("_") and any(
        a.alias_info is not None and a.alias_info.is_write for a in schema.arguments
    )


def _writes_first(schema: Any) -> bool:
    first = schema.arguments[0].alias_info if schema.arguments else None
    return first is not None and first.is_write


def _returns_alias(schema: Any) -> bool:
    infos = [r.alias_info for r in schema.returns]
    return bool(infos) and all(info is not None and not info.is_write for info in infos)


def _is_random(schema: Any) -> bool:
    packet = getattr(torch.ops.aten, schema.name[len("aten::") :], None)
    overload = getattr(packet, schema.overload_name or "default", None)
    tags = getattr(overload, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags
