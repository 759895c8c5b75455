"""torch's names that no mode can intercept, answered for the virtual device while it is active.

In: nothing. Out: a list of (owner, attribute, replacement), and a block that puts them in place.
Refuses to know tensors: `torch.cuda`'s questions, generators, autocast and `torch.load` only.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .nesting import map_tensors
from .tensor import PUBLIC, VirtualTensor

Patch = tuple[Any, str, Any]
Remark = Callable[[str], None]


@contextlib.contextmanager
def patched(patches: list[Patch]) -> Iterator[None]:
    """Set every attribute that is there; put all back at the end, whatever happened."""
    saved: list[Patch] = []
    try:
        for owner, name, replacement in patches:
            if name in vars(owner):
                saved.append((owner, name, vars(owner)[name]))
                setattr(owner, name, replacement)
        yield
    finally:
        for owner, name, original in reversed(saved):
            setattr(owner, name, original)


def list_patches(remark: Remark) -> list[Patch]:
    """Everything that `patched` is to put in place."""
    cudnn = torch.backends.cudnn
    return [
        *((torch.cuda, name, value) for name, value in _cuda_answers().items()),
        *((torch.cuda.random, name, value) for name, value in _random_answers().items()),
        *((torch.cuda, name, value) for name, value in _random_answers().items()),
        *_autocast(remark),
        (torch._C._nn, "_parse_to", _numbered(torch._C._nn._parse_to)),
        (torch.nn.DataParallel, "scatter", _scatter),
        (torch, "Generator", _generator_class()),
        *_accelerator_answers(),
        (torch, "load", _load_here(torch.load)),
        # would warn that cuDNN is missing, once for every recurrent layer
        (getattr(cudnn, "m", cudnn), "is_acceptable", _always(False)),
    ]


def _always(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


class _Nothing:
    """A stream, an event, a device guard: nothing to wait for, nothing to switch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = PUBLIC

    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *args: Any) -> None:
        return None

    def elapsed_time(self, end: Any) -> float:
        return 0.0

    def query(self) -> bool:
        return True

    def is_capturing(self) -> bool:
        return False

    def _pass(self, *args: Any, **kwargs: Any) -> None:
        return None

    record = wait = synchronize = wait_event = wait_stream = record_event = _pass


def _cuda_answers() -> dict[str, Any]:
    properties = types.SimpleNamespace(
        name="virtual", major=5, minor=0, total_memory=1 << 34, multi_processor_count=1
    )
    return {
        "is_available": _always(True),
        "is_initialized": _always(True),
        "init": _always(None),
        "_lazy_init": _always(None),
        "device_count": _always(1),
        "current_device": _always(0),
        "set_device": _always(None),
        "get_device_name": _always("virtual"),
        # old enough that user code picks its plain path, not kernels of its own
        "get_device_capability": _always((5, 0)),
        "get_device_properties": _always(properties),
        "is_bf16_supported": _always(True),
        "synchronize": _always(None),
        "empty_cache": _always(None),
        "ipc_collect": _always(None),
        "device": type("device", (_Nothing,), {}),
        "device_of": type("device_of", (_Nothing,), {}),
        "Stream": type("Stream", (_Nothing,), {}),
        "Event": type("Event", (_Nothing,), {}),
        "stream": type("stream", (_Nothing,), {}),
        "current_stream": type("current_stream", (_Nothing,), {}),
        "default_stream": type("default_stream", (_Nothing,), {}),
        "set_stream": _always(None),
        "is_current_stream_capturing": _always(False),
        "mem_get_info": _always((1 << 34, 1 << 34)),
        "memory_allocated": _always(0),
        "max_memory_allocated": _always(0),
        "memory_reserved": _always(0),
        "max_memory_reserved": _always(0),
        "reset_peak_memory_stats": _always(None),
        "reset_max_memory_allocated": _always(None),
        "memory_stats": _always({}),
    }


def _accelerator_answers() -> list[Patch]:
    if not hasattr(torch, "accelerator"):
        return []
    answers = {
        "is_available": _always(True),
        "current_accelerator": _always(torch.device("cuda")),
        "device_count": _always(1),
        "current_device_index": _always(0),
        "current_stream": type("current_stream", (_Nothing,), {}),
        "synchronize": _always(None),
    }
    return [(torch.accelerator, name, value) for name, value in answers.items()]


def _random_answers() -> dict[str, Any]:
    """The device draws from the CPU's generator, so that its numbers are the CPU's."""
    default = torch.default_generator
    return {
        "manual_seed": lambda seed: default.manual_seed(int(seed)) and None,
        "manual_seed_all": lambda seed: default.manual_seed(int(seed)) and None,
        "seed": lambda: default.seed() and None,
        "seed_all": lambda: default.seed() and None,
        "initial_seed": lambda: default.initial_seed(),
        "get_rng_state": lambda device="cuda": default.get_state(),
        "get_rng_state_all": lambda: [default.get_state()],
        "set_rng_state": lambda state, device="cuda": default.set_state(state) and None,
        "set_rng_state_all": lambda states: [default.set_state(state) for state in states] and None,
    }


def _autocast(remark: Remark) -> list[Patch]:
    original = torch.amp.autocast_mode.autocast.__init__

    def start(
        self: Any, device_type: str, dtype: Any = None, enabled: bool = True, *args: Any, **kw: Any
    ) -> None:
        # on a machine without CUDA the CPU's run has it disabled: so the numbers can be compared
        if device_type == "cuda" and enabled:
            remark("autocast on the device ran without casting, as on a machine without CUDA")
            enabled = False
        original(self, device_type, dtype, enabled, *args, **kw)

    return [(torch.amp.autocast_mode.autocast, "__init__", start)]


def _numbered(original: Callable[..., Any]) -> Callable[..., Any]:
    """`module.to(0)`: without a device in the machine, torch knows no number for one."""

    def parse(*args: Any, **kwargs: Any) -> Any:
        if args and type(args[0]) is int:
            args = (torch.device("cuda", args[0]), *args[1:])
        return original(*args, **kwargs)

    return parse


def _scatter(self: Any, inputs: Any, kwargs: Any, device_ids: Any) -> Any:
    """DataParallel on one device: everything goes there whole."""
    move = functools.partial(map_tensors, lambda tensor: tensor.to(PUBLIC))
    return (move(inputs, PUBLIC),), (move(kwargs, PUBLIC),)


def _generator_class() -> type:
    real = torch.Generator

    class Kind(type(real)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

    class Generator(real, metaclass=Kind):  # type: ignore[misc,valid-type]
        """Takes the device's name; draws the CPU's numbers."""

        device = property(lambda self: PUBLIC)

        def __new__(cls, device: Any = "cpu") -> Any:
            here = isinstance(device, int) or torch.device(device).type == "cuda"
            return super().__new__(cls, "cpu") if here else real(device)

    return Generator


def _load_here(original: Callable[..., Any]) -> Callable[..., Any]:
    def load(file: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not _means_device(map_location):
            return original(file, map_location, *args, **kwargs)
        loaded = original(file, "cpu", *args, **kwargs)
        return map_tensors(lambda tensor: tensor.to(PUBLIC), loaded, PUBLIC)

    return load


def _means_device(location: Any) -> bool:
    return isinstance(location, (str, torch.device)) and torch.device(location).type == "cuda"


_QUESTIONS = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")


@contextlib.contextmanager
def transparent_python() -> Iterator[None]:
    """Let torch's own Python functions run as if no mode stood there; their calls meet the mode.

    A mode that handles `F.multi_head_attention_forward` or `Tensor.backward` as one call is off
    while they run, and with it everything user code does inside (hooks, checkpointed blocks).
    It also keeps modules off their fast paths, whose numbers the CPU's run has.
    """
    originals = {name: getattr(torch.overrides, name) for name in _QUESTIONS}
    replacements = {
        originals["has_torch_function"]: lambda values: any(map(_has_own_function, values)),
        originals["has_torch_function_unary"]: _has_own_function,
        originals["has_torch_function_variadic"]: lambda *values: any(
            map(_has_own_function, values)
        ),
    }
    _replace_everywhere(replacements)
    try:
        yield
    finally:
        # also in modules that were imported meanwhile
        _replace_everywhere({new: old for old, new in replacements.items()})


def _has_own_function(value: Any) -> bool:
    if type(value) in (torch.Tensor, torch.nn.Parameter, VirtualTensor):
        return False
    function = getattr(type(value), "__torch_function__", None)
    return (
        function is not None
        and function is not torch._C._disabled_torch_function_impl
        and not isinstance(value, type)
    )


# torch's modules that were searched, and where they hold the questions
_searched: set[str] = set()
_holders: list[tuple[Any, str]] = []


def _replace_everywhere(replacements: dict[Any, Any]) -> None:
    for name, module in list(sys.modules.items()):
        if name in _searched or name.partition(".")[0] != "torch" or module is None:
            continue
        _searched.add(name)
        _holders.extend((module, question) for question in _QUESTIONS if question in vars(module))
    for module, question in _holders:
        current = vars(module).get(question)
        if current is not None and current in replacements:
            setattr(module, question, replacements[current])
