"""Calling a built module: modes, turns, gradients, casts, and the same on a device.

In: a scene, a case with inputs that run, a module. Out: what came of each call, described. It
refuses to judge. Runs in the child; standard library and torch only.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bufferize.model import Case
from bufferize.verify import describe
from bufferize.verify.device import activate, blame, default_kind
from bufferize.verify.scene import Scene, describe_failure, reseed

if TYPE_CHECKING:
    from bufferize.verify.device import Accelerator

CASTS = (torch.float16, torch.bfloat16, torch.float64)
TURNS = (1, 2)
# Named in the report: what two devices may differ by in one float32 kernel (TF32 off).
RELATIVE, ABSOLUTE = 1e-4, 1e-5

Fact = dict[str, Any]


def find_device(kind: str) -> contextlib.AbstractContextManager[Accelerator]:
    """The device that the settings name, or the best there is; to be entered once a process."""
    return activate(default_kind() if kind == "auto" else kind)


def measure_drift(before: torch.Tensor, after: torch.Tensor) -> float | str:
    """The largest relative change of an element that a cast made, or what it destroyed."""
    if before.is_complex() and not after.is_complex():
        return "imaginary part lost"
    if not before.numel() or not before.is_floating_point():
        return 0.0
    wide, cast = before.double(), after.double()
    both = wide.isfinite() & cast.isfinite()
    if not bool((wide.isfinite() == cast.isfinite()).all()):
        return math.inf
    change = (wide - cast).abs() / wide.abs().clamp_min(1e-30)
    return float(change[both].max()) if bool(both.any()) else 0.0


def call_all(scene: Scene, case: Case, module: nn.Module) -> tuple[list[Fact], list[Fact]]:
    """Every input in train and eval, twice in a row; and the reference outputs for a device.

    A call keeps its tensors under 'tensors', for whoever takes them out before it is sent.
    """
    calls: list[Fact] = []
    for number, text in enumerate(case.inputs):
        for mode in ("train", "eval"):
            module.train(mode == "train")
            for turn in TURNS:
                called = {"input": number, "mode": mode, "turn": turn}
                calls.append({**called, **_call(scene, case, text, module)})
        calls.append(
            {"input": number, "mode": "gradient of inputs", **_differentiate(scene, case, text)}
        )
    return calls, _refer(scene, case)


def _call(scene: Scene, case: Case, text: str, module: nn.Module) -> Fact:
    args, named = scene.arguments(case, text)
    module.zero_grad(set_to_none=True)
    reseed(scene.seed + 2)
    try:
        output = module(*args, **named)
    except BaseException as error:
        return {"failure": describe_failure(error)}
    wanted = dict(module.named_parameters())
    drawn = describe.describe_randomness()
    fact: Fact = {"output": describe.describe(output), "gradients": _pull_back(output, wanted)}
    fact |= {"randomness": drawn, "tensors": _keep(output, wanted)}
    return fact


def _keep(output: object, wanted: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    outputs = [t.detach().clone() for t in describe.find_own_tensors(output)]
    return outputs + [value.grad for value in wanted.values() if value.grad is not None]


def _pull_back(output: object, wanted: dict[str, torch.Tensor]) -> Any:
    """Gradients of a weighted sum of the output: a plain sum is blind to a softmax."""
    loss = None
    for tensor in describe.find_own_tensors(output):
        if not tensor.requires_grad:
            continue
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        weights = torch.linspace(0.5, 1.5, real.numel(), dtype=torch.float64)
        term = (real * weights.reshape(real.shape).to(real)).sum()
        loss = term if loss is None else loss + term
    if loss is None:
        return "none of the output depends on a parameter"
    try:
        loss.backward()
    except BaseException as error:
        return {"failure": describe_failure(error)}
    return {name: describe.describe(value.grad) for name, value in wanted.items()}


def _differentiate(scene: Scene, case: Case, text: str) -> Fact:
    """Gradients of floating inputs, on a module of its own; some code cannot take such inputs."""
    module = scene.build(case)
    args, named = scene.arguments(case, text)
    leaves = [
        t for t in describe.find_own_tensors([args, named]) if t.is_floating_point() and t.is_leaf
    ]
    if not leaves:
        return {"output": "no floating input"}
    places = {id(leaf): leaf.requires_grad_().clone() for leaf in leaves}
    args, named = _swap(args, places), _swap(named, places)
    reseed(scene.seed + 2)
    try:
        output = module(*args, **named)
    except BaseException as error:
        return {"failure": describe_failure(error)}
    wanted = {str(i): leaf for i, leaf in enumerate(leaves)}
    return {"gradients": _pull_back(output, wanted), "tensors": _keep(output, wanted)}


def _swap(value: Any, places: dict[int, torch.Tensor]) -> Any:
    """`value` with its tensors replaced, through plain lists, tuples and dicts."""
    if id(value) in places:
        return places[id(value)]
    if type(value) in (list, tuple):
        return type(value)(_swap(item, places) for item in value)
    if type(value) is dict:
        return {key: _swap(item, places) for key, item in value.items()}
    return value


def _refer(scene: Scene, case: Case) -> list[Fact]:
    """Outputs of a fresh module in eval mode: what a device must reproduce."""
    module = scene.build(case).eval()
    references: list[Fact] = []
    for text in case.inputs:
        args, named = scene.arguments(case, text)
        reseed(scene.seed + 2)
        drawn = describe.describe_randomness()
        try:
            with torch.no_grad():
                output = module(*args, **named)
        except BaseException as error:
            references.append({"failure": describe_failure(error)})
            continue
        tensors = [t.detach().clone() for t in describe.find_own_tensors(output)]
        random = drawn != describe.describe_randomness()
        references.append(
            {"output": describe.describe(output), "tensors": tensors, "random": random}
        )
    return references


def call_on(
    scene: Scene,
    case: Case,
    module: nn.Module,
    accelerator: Accelerator,
    references: Sequence[Fact],
) -> tuple[list[Fact], list[Fact]]:
    """Eval calls on the device, held against the references; then train calls."""
    calls: list[Fact] = []
    close: list[Fact] = []
    for mode in ("eval", "train"):
        module.train(mode == "train")
        for number, text in enumerate(case.inputs):
            fact, output = _call_on(scene, case, text, module, accelerator)
            calls.append({"input": number, "mode": mode, **fact})
            if mode == "eval" and number < len(references):
                close.append(_hold_against(references[number], fact, output))
    return calls, close


def _call_on(
    scene: Scene, case: Case, text: str, module: nn.Module, accelerator: Accelerator
) -> tuple[Fact, object]:
    args, named = scene.arguments(case, text)
    try:
        there: Any = accelerator.move([args, named])
        reseed(scene.seed + 2)
        with torch.no_grad():
            output = accelerator.to_cpu(module(*there[0], **there[1]))
    except BaseException as error:
        failure = describe_failure(error)
        if isinstance(error, Exception):
            # names the attribute that stayed behind
            failure["text"] = " ".join(blame(error, module, accelerator).split())[:400]
        return {"failure": failure}, None
    return {"output": describe.describe(output)}, output


def _hold_against(reference: Fact, fact: Fact, output: object) -> Fact:
    if "failure" in reference or "failure" in fact:
        return {"compared": False}
    if reference["output"] == fact["output"]:
        return {"compared": True, "same": True, "worst": 0.0}
    worst = measure_distance(reference["tensors"], list(describe.find_own_tensors(output)))
    return {"compared": True, "same": False, "worst": worst, "random": reference["random"]}


def measure_distance(ones: Sequence[torch.Tensor], twos: Sequence[torch.Tensor]) -> float:
    """How many tolerances apart two lists of tensors are; infinitely where they cannot be held."""
    if [(t.shape, t.dtype) for t in ones] != [(t.shape, t.dtype) for t in twos]:
        return math.inf
    return max((_distance(one, two) for one, two in zip(ones, twos, strict=True)), default=0.0)


def _distance(one: torch.Tensor, two: torch.Tensor) -> float:
    """How many tolerances apart the furthest elements are; up to 1.0 counts as close."""
    a, b = one.detach().cdouble() if one.is_complex() else one.detach().double(), two.detach()
    b = b.cdouble() if b.is_complex() else b.double()
    if not bool((a.isnan() == b.isnan()).all()):
        return math.inf
    off = torch.where(a == b, torch.zeros_like(a.abs()), (a - b).abs())
    apart = (off / (ABSOLUTE + RELATIVE * a.abs())).nan_to_num(nan=0.0, posinf=math.inf)
    return float(apart.max()) if apart.numel() else 0.0
