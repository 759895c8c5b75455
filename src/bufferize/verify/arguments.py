"""Python source of constructor arguments from signatures, annotations, defaults, names and usage.

In: a class, the namespace that it lives in, a profile of sizes, what earlier failures taught. Out:
a constructor call as source, with the imports that it needs. Builds nothing itself. Part of the
worker: standard library and torch only.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union

import torch
from torch import nn

from bufferize.verify.plausible import is_size, suggest
from bufferize.verify.usage import Path, Use, parameters_of, read_usage

DEEPEST = 3
# in a path: what follows is an argument of the object's own constructor
INSIDE = "()"
# a default above this is worth shrinking in a configuration object
LARGE = 128
_TENSOR_ATTRIBUTES = frozenset(
    {"shape", "size", "dim", "device", "dtype", "float", "clone", "detach", "numel", "unsqueeze",
     "ndim", "view", "reshape", "mean", "sum", "t", "T", "sqrt", "log", "exp", "contiguous"}
)  # fmt: skip
_MODULE_ATTRIBUTES = frozenset(
    {"parameters", "state_dict", "eval", "train", "named_parameters", "modules", "children",
     "named_modules", "forward", "weight", "in_features", "out_features", "register_buffer"}
)  # fmt: skip
_TEXT_METHODS = frozenset({"lower", "upper", "startswith", "endswith", "split", "strip", "format"})
_LIST_METHODS = frozenset({"append", "index", "copy", "extend", "insert", "count"})
_ROW_NAMES = ("channels", "dims", "sizes", "widths", "planes", "layers", "units", "filters",
              "betas", "scales", "strides", "dilations", "depths", "heads", "weights", "kernels",
              "means", "stds", "ratios", "features")  # fmt: skip
# a mapping whose keys are attributes too, as OmegaConf and the like give
OPEN_MAPPING = 'Settings = type("Settings", (dict,), {"__getattr__": dict.__getitem__})'


@dataclass(slots=True)
class Draft:
    """One constructor call in the making."""

    cls: type
    namespace: Mapping[str, object]
    sizes: Mapping[str, int]
    keep_large: bool = False
    # source by path, as earlier failures taught it; also arguments that `**kwargs` takes
    taught: Mapping[Path, str] = field(default_factory=dict)
    uses: dict[Path, Use] = field(default_factory=dict)
    setup: dict[str, None] = field(default_factory=dict)
    # objects of the user's that the call needs, each with the path where it stands
    made: list[tuple[Path, Draft]] = field(default_factory=list)

    def call(self) -> str:
        """The constructor call, such as 'Attention(dim=16, num_heads=4)'."""
        given: list[str] = []
        kinds = inspect.Parameter
        names = set()
        for parameter in parameters_of(self.cls):
            names.add(parameter.name)
            path = (parameter.name,)
            is_rest = parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
            if path not in self.taught and (is_rest or parameter.default is not kinds.empty):
                continue
            value = self.value(path, hints_of(self.cls, self.namespace).get(parameter.name))
            if parameter.kind is kinds.VAR_POSITIONAL:
                given.append(f"*{value}")
            elif parameter.kind is kinds.POSITIONAL_ONLY:
                given.append(value)
            else:
                given.append(f"{parameter.name}={value}")
        given += [
            f"{path[0]}={source}"
            for path, source in self.taught.items()
            if len(path) == 1 and path[0] not in names
        ]
        return f"{self.cls.__qualname__}({', '.join(given)})"

    def value(self, path: Path, hint: Any = None, depth: int = 0) -> str:
        """Source of what stands at `path`."""
        if path in self.taught:
            return self.taught[path]
        name = path[-1].strip(".[]")
        use = self.uses.get(path, Use())
        found = self._of_type(hint, path, depth) if hint not in (None, Any) else None
        return found or self._of_parts(path, depth) or self._of_usage(name, use)

    # --- by what it is used for

    def _of_parts(self, path: Path, depth: int) -> str | None:
        """A configuration object with the attributes and keys that are read from it."""
        below = sorted({p[len(path)] for p in self.uses if len(p) > len(path)
                        and p[: len(path)] == path})  # fmt: skip
        attributes = [part[1:] for part in below if part.startswith(".")]
        keys = [part[1:-1] for part in below if part.startswith("[")]
        use = self.uses.get(path, Use())
        if depth > DEEPEST or not (attributes or keys or use.is_mapping):
            return None
        if special := self._of_attributes(set(attributes)):
            return special
        rows = {
            part: self.value((*path, label), None, depth + 1)
            for label in below
            if (part := label.strip(".[]"))
        }
        if keys or use.is_mapping:
            items = ", ".join(f"{part!r}: {source}" for part, source in rows.items())
            if not attributes:
                return f"{{{items}}}"
            self.setup[OPEN_MAPPING] = None
            return f"Settings({{{items}}})"
        self.setup["import types"] = None
        given = ", ".join(f"{part}={source}" for part, source in rows.items())
        return f"types.SimpleNamespace({given})"

    def _of_attributes(self, attributes: set[str]) -> str | None:
        if attributes & _TEXT_METHODS and attributes <= _TEXT_METHODS:
            return None
        if attributes and attributes <= _LIST_METHODS:
            return self._row("dims", 3)
        if attributes and attributes <= _TENSOR_ATTRIBUTES:
            return self._torch(f"torch.randn({self.sizes['dim']})")
        if attributes and attributes <= _MODULE_ATTRIBUTES:
            return self._module()
        return None

    def _of_usage(self, name: str, use: Use) -> str:
        if use.strings:
            return repr(use.strings[0])
        if use.is_tensor:
            return self._torch(f"torch.randn({self.sizes['dim']})")
        if use.is_called:
            return self._callable(name, use)
        if use.is_sequence or use.unpacked:
            return self._row(name, use.unpacked or 2)
        named = suggest(name, self.sizes)
        for other in use.names:
            # what it is handed on as often says more than its own name
            named = named or suggest(other, self.sizes)
        if layer := self._layer(name):
            return layer
        if named is not None:
            return named
        if use.is_tested and not use.is_number:
            return "False"
        if not use.is_number and name.lower().endswith(_ROW_NAMES):
            return self._row(name, 2)
        return str(self.sizes["dim"])

    def _row(self, name: str, length: int) -> str:
        single = suggest(name[:-1] if name.endswith("s") else name, self.sizes)
        single = single or suggest(name, self.sizes) or str(self.sizes["dim"])
        return f"[{', '.join([single] * length)}]"

    def _callable(self, name: str, use: Use) -> str:
        if layer := self._layer(name):
            return layer
        return self._torch("torch.nn.ReLU" if use.is_built else "torch.nn.functional.relu")

    def _layer(self, name: str) -> str | None:
        lowered = name.lower()
        if "norm" in lowered and lowered.endswith(("layer", "cls", "class", "fn", "func", "norm")):
            deep = "Conv2d" in self._text()
            return self._torch("torch.nn.BatchNorm2d" if deep else "torch.nn.LayerNorm")
        if "act" in lowered and lowered.endswith(("layer", "cls", "class")):
            return self._torch("torch.nn.GELU")
        if lowered in {"backbone", "encoder", "decoder", "net", "network", "module", "submodule",
                       "model", "denoiser", "layer", "fn", "base_model", "teacher", "student",
                       "unet", "projector"}:  # fmt: skip
            return self._module()
        return None

    def _text(self) -> str:
        try:
            return inspect.getsource(self.cls)
        except (OSError, TypeError):
            return ""

    def _module(self) -> str:
        return self._torch(f"torch.nn.Linear({self.sizes['dim']}, {self.sizes['dim']})")

    def _torch(self, source: str) -> str:
        if self.namespace.get("torch") is not torch:
            self.setup["import torch"] = None
        return source

    # --- by annotation

    def _of_type(self, hint: Any, path: Path, depth: int) -> str | None:
        name = path[-1].strip(".[]")
        use = self.uses.get(path, Use())
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return self._of_type(inner[0], path, depth)
        if origin is Literal:
            return repr(inner[0])
        if origin in (Union, types.UnionType):
            kinds = [kind for kind in inner if kind is not type(None)]
            return self._of_type(kinds[0], path, depth) if kinds else "None"
        if origin is type or hint is type:
            return self._layer(name) or self._torch("torch.nn.ReLU")
        if origin in (collections.abc.Callable, Callable) or hint in (Callable, typing.Callable):
            return self._callable(name, use)
        if origin in (list, tuple, collections.abc.Sequence, collections.abc.Iterable, set):
            return self._of_rows(origin, inner, path, depth)
        if hint in (list, tuple, Sequence):
            return self._row(name, use.unpacked or 2)
        if hint is dict or origin in (dict, collections.abc.Mapping):
            return self._of_parts(path, depth) or "{}"
        return self._of_class(hint, path, depth) if inspect.isclass(hint) else None

    def _of_rows(self, origin: Any, inner: tuple[Any, ...], path: Path, depth: int) -> str:
        kinds = [kind for kind in inner if kind is not Ellipsis] or [int]
        if origin is not tuple or Ellipsis in inner:
            kinds = kinds[:1] * (self.uses.get(path, Use()).unpacked or 2)
        name = path[-1].strip(".[]")
        item = (name[:-1] if name.endswith("s") else name,)
        parts = [self._of_type(kind, item, depth + 1) or "1" for kind in kinds]
        inside = ", ".join(parts)
        if origin is tuple:
            return f"({inside},)" if len(parts) == 1 else f"({inside})"
        return f"{{{inside}}}" if origin is set else f"[{inside}]"

    def _of_class(self, hint: type, path: Path, depth: int) -> str | None:
        name = path[-1].strip(".[]")
        use = self.uses.get(path, Use())
        if hint in (bool, int, float, str):
            return self._of_scalar(hint, name, use)
        if issubclass(hint, enum.Enum):
            members = list(hint)
            return f"{self._name_of(hint)}.{members[0].name}" if members else None
        if issubclass(hint, torch.Tensor):
            return self._torch(f"torch.randn({self.sizes['dim']})")
        if hint is torch.device:
            return "'cpu'"
        if hint is torch.dtype:
            return self._torch("torch.float32")
        if hint is nn.Module:
            return self._layer(name) or self._module()
        if depth > DEEPEST or hint.__module__ == "builtins" or inspect.isabstract(hint):
            return None
        return self._of_object(hint, path, depth)

    def _of_scalar(self, hint: type, name: str, use: Use) -> str:
        if hint is str:
            return repr(use.strings[0]) if use.strings else _text_value(suggest(name, self.sizes))
        names = (name, *use.names)
        named = next((s for n in names if (s := suggest(n, self.sizes)) is not None), None)
        if hint is bool:
            return named if named in {"True", "False"} else "False"
        number = _number(named)
        if hint is float:
            return repr(float(number)) if number is not None else "0.5"
        if number is None or number != int(number):
            return str(self.sizes["dim"] if number is None else self.sizes["count"])
        return str(int(number))

    def _of_object(self, cls: type, path: Path, depth: int) -> str:
        """An object of a class of the user's, mostly a configuration."""
        inside = (*path, INSIDE)
        taught = {p[len(inside) :]: s for p, s in self.taught.items() if p[: len(inside)] == inside}
        inner = Draft(cls, self.namespace, self.sizes, self.keep_large, taught, setup=self.setup)
        self.made.append((inside, inner))
        inner.uses = read_usage(cls, self.namespace)
        hints = hints_of(cls, self.namespace)
        parameters = [p for p in parameters_of(cls) if p.kind not in (p.VAR_POSITIONAL,
                                                                       p.VAR_KEYWORD)]  # fmt: skip
        shrink = not self.keep_large and any(_is_large(p) for p in parameters)
        given = []
        for parameter in parameters:
            has_default = parameter.default is not parameter.empty
            sized = is_size(parameter.name) and _is_int(parameter.default)
            is_taught = (parameter.name,) in taught
            if not has_default or (shrink and sized) or is_taught:
                source = inner.value((parameter.name,), hints.get(parameter.name), depth + 1)
                given.append(f"{parameter.name}={source}")
        known = {p.name for p in parameters}
        given += [f"{p[0]}={s}" for p, s in taught.items() if len(p) == 1 and p[0] not in known]
        return f"{self._name_of(cls)}({', '.join(given)})"

    def _name_of(self, cls: type) -> str:
        for name, value in self.namespace.items():
            if value is cls and name.isidentifier():
                return name
        root = cls.__qualname__.partition(".")[0]
        self.setup[f"from {cls.__module__} import {root}"] = None
        return cls.__qualname__


def hints_of(cls: type, namespace: Mapping[str, object]) -> dict[str, Any]:
    """Annotations of the constructor; those that do not resolve are left out."""
    init: Any = cls.__dict__.get("__init__") or cls.__init__  # type: ignore[misc]
    raw = dict(getattr(init, "__annotations__", {}))
    if dataclasses.is_dataclass(cls):
        raw = {f.name: f.type for f in dataclasses.fields(cls)} | raw
    scope = {**vars(typing), **getattr(init, "__globals__", {}), **namespace}
    found: dict[str, Any] = {}
    for name, hint in raw.items():
        if isinstance(hint, str):
            try:
                hint = eval(hint, scope)
            except Exception:
                continue
        found[name] = hint
    return found


def _text_value(named: str | None) -> str:
    if named is not None and named.startswith("'"):
        return named
    return "'mean'"


def _number(source: str | None) -> float | None:
    try:
        return float(source) if source is not None else None
    except ValueError:
        return None


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_large(parameter: inspect.Parameter) -> bool:
    return _is_int(parameter.default) and is_size(parameter.name) and parameter.default > LARGE
