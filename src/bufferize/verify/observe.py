"""What the child does: one class, one world, every level, facts only.

In: a request (class, cases, which attributes were rewritten, where to exchange files) and a way to
emit lines. Out: one JSON fact a level and case, in order, each emitted as soon as it is known, so
that a process that dies has said how far it came. It refuses to judge: `compare` does, in the
parent. Runs in the child; standard library and torch only.
"""

from __future__ import annotations

import copy
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import nn

from bufferize.model import Case
from bufferize.verify import describe, exercise
from bufferize.verify.naming import find_named, is_pattern
from bufferize.verify.scene import Refusal, Scene, Search, Tracer, describe_failure, reseed

if TYPE_CHECKING:
    from bufferize.verify.device import Accelerator

Fact = dict[str, Any]
Emit = Callable[[Fact], None]


class Request(TypedDict):
    """What one child is asked, as it crosses the pipe."""

    job: int
    world: str
    module: str
    root: str
    cls: str
    path: str
    # first and last lines of statements that should be seen to run
    touched: list[list[int]]
    seed: int
    device: str
    # offered cases, or with `replay` the ones to take as they are
    cases: list[dict[str, Any]]
    replay: bool
    # whether to go on to the levels that need a device
    on_device: bool
    # 'module:Class' -> attribute -> persistent, of every rewritten class of the tree
    rewritten: dict[str, dict[str, bool]]
    # a folder where the control leaves its state and outputs
    exchange: str


def observe(request: Request, emit: Emit) -> None:
    """Walk through the levels. Never raises for what the user's code does."""
    with _reported("imports", 0, emit) as fact:
        scene = Scene(request["module"], request["cls"], request["seed"])
        fact["has_forward"] = scene.has_forward
    if "failure" in fact:
        return
    offered = [
        Case(c["source"], c["construct"], tuple(c["inputs"]), tuple(c["setup"]))
        for c in request["cases"]
    ]
    cases = offered if request["replay"] else _choose(scene, request, offered, emit)
    looks = [Look(scene, request, case, index, emit) for index, case in enumerate(cases)]
    built = [look for look in looks if look.on_cpu()]
    if request["on_device"] and built:
        _go_to_device(built, request["device"], emit)


def _go_to_device(looks: Sequence[Look], kind: str, emit: Emit) -> None:
    """The levels that need a device, last: taking it over is slow, and may end the process."""
    with ExitStack() as stack:
        accelerator: Accelerator | Exception
        try:
            accelerator = stack.enter_context(exercise.find_device(kind))
        except Exception as error:
            accelerator = error
        for look in looks:
            look.on_device(accelerator)


@contextmanager
def _reported(stage: str, case: int, emit: Emit) -> Iterator[Fact]:
    """Say what begins, hand out the fact to fill, and emit it whatever happens."""
    emit({"stage": "begins", "what": stage, "case": case})
    fact: Fact = {"stage": stage, "case": case}
    try:
        yield fact
    except Refusal as error:
        fact["failure"] = {"type": "", "text": str(error), "where": ""}
    except BaseException as error:
        fact["failure"] = describe_failure(error)
    emit(fact)


def _choose(scene: Scene, request: Request, offered: Sequence[Case], emit: Emit) -> list[Case]:
    own = _rewritten_of(scene.cls, request["rewritten"])
    tracer = Tracer(request["path"], request["touched"])
    search = Search(scene, own, tracer)
    chosen: list[Case] = []
    with _reported("cases", 0, emit) as fact:
        chosen = search.run(offered)
        fact["chosen"] = [
            {"source": c.source, "construct": c.construct, "inputs": c.inputs, "setup": c.setup}
            for c in chosen
        ]
        fact["failures"] = search.failures[:20]
        fact["executed"] = sorted(search.executed)
    return chosen


def _rewritten_of(cls: type, rewritten: Mapping[str, Mapping[str, bool]]) -> dict[str, bool]:
    """Attributes rewritten in the class or in a base, with their flags; the nearest class wins."""
    found: dict[str, bool] = {}
    for base in reversed(cls.__mro__):
        found.update(rewritten.get(f"{base.__module__}:{base.__qualname__}", {}))
    return found


def find_rewritten(
    module: nn.Module, rewritten: Mapping[str, Mapping[str, bool]]
) -> dict[str, dict[str, Any]]:
    """Paths of rewritten attributes in a built module: flag, and the class that was rewritten."""
    found: dict[str, dict[str, Any]] = {}
    for prefix, inner in module.named_modules():
        for base in reversed(type(inner).__mro__):
            name = f"{base.__module__}:{base.__qualname__}"
            for attribute, flag in rewritten.get(name, {}).items():
                for held in _names_like(attribute, inner):
                    path = f"{prefix}.{held}" if prefix else held
                    found[path] = {"persistent": flag, "of": name, "attribute": attribute}
    return found


def _address(cls: type) -> str:
    """'path:Class', as the parent finds it in the text."""
    return f"{getattr(sys.modules.get(cls.__module__), '__file__', '')}:{cls.__name__}"


def _names_like(attribute: str, module: nn.Module) -> list[str]:
    """The names that an attribute stands for: an f-string such as 'mask{i}' for several."""
    if not is_pattern(attribute):
        return [attribute]
    held = {
        name
        for name, value in describe.members(module)
        if isinstance(value, torch.Tensor) and name not in module._parameters
    }
    return find_named(attribute, sorted(held))


class Look:
    """All levels of one case."""

    def __init__(self, scene: Scene, request: Request, case: Case, index: int, emit: Emit) -> None:
        self.scene = scene
        self.request = request
        self.case = case
        self.index = index
        self.emit = emit
        self.folder = Path(request["exchange"])

    def on_cpu(self) -> bool:
        """Builds, state and runs; False where the case does not build."""
        with _reported("builds", self.index, self.emit) as fact:
            self.builds(fact)
        if "failure" in fact:
            return False
        with _reported("state", self.index, self.emit) as fact:
            self.state(fact)
        if self.scene.has_forward:
            with _reported("runs", self.index, self.emit) as fact:
                self.runs(fact)
        return True

    def on_device(self, accelerator: Accelerator | Exception) -> None:
        with _reported("moves", self.index, self.emit) as fact:
            self.moves(fact, accelerator)
        if self.scene.has_forward:
            with _reported("runs on device", self.index, self.emit) as fact:
                self.runs_on_device(fact, accelerator)

    def build(self, seed: int | None = None) -> nn.Module:
        return self.scene.build(self.case, seed)

    def rewritten(self, module: nn.Module) -> dict[str, dict[str, Any]]:
        return find_rewritten(module, self.request["rewritten"])

    def builds(self, fact: Fact) -> None:
        module = self.build()
        fact["randomness"] = describe.describe_randomness()
        fact["attributes"] = describe.describe_attributes(module)
        fact["parameters"] = [name for name, _ in module.named_parameters()]
        fact["rewritten"] = self.rewritten(module)
        fact["families"] = {
            path: [_address(base) for base in type(inner).__mro__[:-2]]
            for path, inner in module.named_modules()
        }
        fact["sharing"] = describe.describe_sharing(describe.find_tensors(module))
        other = describe.describe_attributes(self.build(self.scene.seed + 1))
        fact["drawn"] = [
            path
            for path, held in fact["attributes"].items()
            if path in other and other[path]["value"] != held["value"]
        ]

    def state(self, fact: Fact) -> None:
        module = self.build()
        state = module.state_dict()
        fact["keys"] = {key: describe.describe(value) for key, value in state.items()}
        fact["copy"] = _attempt(lambda: _is_same(copy.deepcopy(module), module))
        fact["pickle"] = _attempt(lambda: _is_same(pickle.loads(pickle.dumps(module)), module))
        fact["round trip"] = _attempt(self._round_trip)
        fact["loads"] = _attempt(self._load_old)

    def _load_old(self) -> Fact:
        """Load what the control saved, of a construction under another seed."""
        file = self.folder / f"state-{self.index}.pt"
        if not file.exists():
            torch.save(self.build(self.scene.seed + 1).state_dict(), file)
        module = self.build()
        old = torch.load(file, weights_only=False)
        missing, unexpected = module.load_state_dict(old, strict=False)
        values = describe.describe_attributes(module)
        return {"missing": missing, "unexpected": unexpected, "attributes": values}

    def _round_trip(self) -> Fact:
        """Change every rewritten tensor that is saved, save, load into a fresh module."""
        module, fresh = self.build(), self.build()
        tensors = describe.find_tensors(module)
        saved = [p for p in self.rewritten(module) if p in module.state_dict() and p in tensors]
        for path in saved:
            tensor = tensors[path].detach()
            # zeros become ones and everything else zero: different whatever was there
            tensor.copy_((tensor == 0).to(tensor.dtype))
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        fresh.load_state_dict(torch.load(file, weights_only=False))
        after = describe.find_tensors(fresh)
        return {
            "restored": {
                path: describe.fingerprint(after[path]) == describe.fingerprint(tensors[path])
                for path in saved
            }
        }

    def moves(self, fact: Fact, accelerator: Accelerator | Exception) -> None:
        fact["casts"] = {str(d)[6:]: _attempt(partial(self._cast, d)) for d in exercise.CASTS}
        if isinstance(accelerator, Exception):
            raise accelerator
        fact["device"] = accelerator.name
        module = accelerator.move_module(self.build())
        tensors = describe.find_tensors(module)
        fact["places"] = {path: str(t.device.type) for path, t in tensors.items()}
        fact["sharing"] = describe.describe_sharing(tensors)

    def _cast(self, dtype: torch.dtype) -> Fact:
        module = self.build()
        before = {path: t.detach().clone() for path, t in describe.find_tensors(module).items()}
        module = module.to(dtype)
        after = describe.find_tensors(module)
        dtypes = {path: str(t.dtype)[6:] for path, t in after.items()}
        drift = {
            path: exercise.measure_drift(before[path], after[path])
            for path in self.rewritten(module)
            if path in after and path in before and after[path].dtype != before[path].dtype
        }
        return {"dtypes": dtypes, "drift": drift}

    def runs(self, fact: Fact) -> None:
        module = self.build()
        held = {path: t.detach() for path, t in describe.find_tensors(module).items()}
        first = {path: describe.fingerprint(t) for path, t in held.items()}
        fact["calls"], references = exercise.call_all(self.scene, self.case, module)
        self._exchange(fact, references)
        # the same tensor object with other bytes: written in place
        fact["written"] = [p for p, t in held.items() if describe.fingerprint(t) != first[p]]
        after = {p: describe.fingerprint(t) for p, t in describe.find_tensors(module).items()}
        fact["changed"] = [path for path in after if path in first and after[path] != first[path]]
        fact["attributes"] = describe.describe_attributes(module)
        watched = [path for path in self.rewritten(module) if path in fact["changed"]]
        if watched:
            fact["regenerates"] = _attempt(lambda: self._regenerate(module, watched))

    def _exchange(self, fact: Fact, references: list[Fact]) -> None:
        """The control leaves its tensors; the candidate version measures where exactness ends.

        A remedy such as `.contiguous()` changes the strides of a tensor, and so the order in which
        kernels add: then, and only then, equal within a tolerance counts as equal.
        """
        module = self.build()
        tensors = describe.find_tensors(module)
        held = [path for path in self.rewritten(module) if path in tensors]
        strides = {path: list(tensors[path].stride()) for path in held}
        kept = [call.pop("tensors", None) for call in fact["calls"]]
        file = self.folder / f"outputs-{self.index}.pt"
        if not file.exists():
            torch.save({"references": references, "strides": strides, "kept": kept}, file)
        elif self.request["world"] == "after":
            old = torch.load(file, weights_only=False)
            fact["layout"] = [p for p, stride in strides.items() if old["strides"].get(p) != stride]
            if fact["layout"]:
                for call, before, after in zip(fact["calls"], old["kept"], kept, strict=False):
                    if before is not None and after is not None:
                        call["distance"] = exercise.measure_distance(before, after)

    def _regenerate(self, used: nn.Module, watched: Sequence[str]) -> Fact:
        """Does a fresh module that loads the used one's state go on like the used one?"""
        fresh = self.build()
        fresh.load_state_dict(used.state_dict())
        fresh.train(used.training)
        same = True
        for text in self.case.inputs[-1:]:
            outputs = []
            for module in (used, fresh):
                args, named = self.scene.arguments(self.case, text)
                reseed(self.scene.seed + 2)
                outputs.append(describe.describe(module(*args, **named)))
            same = outputs[0] == outputs[1]
        one, two = describe.describe_attributes(used), describe.describe_attributes(fresh)
        stale = [path for path in watched if one[path]["value"] != two[path]["value"]]
        return {"outputs": same, "stale": stale}

    def runs_on_device(self, fact: Fact, accelerator: Accelerator | Exception) -> None:
        if isinstance(accelerator, Exception):
            raise accelerator
        file = self.folder / f"outputs-{self.index}.pt"
        references = torch.load(file, weights_only=False)["references"] if file.exists() else []
        fact["device"] = accelerator.name
        module = accelerator.move_module(self.build())
        fact["calls"], fact["close"] = exercise.call_on(
            self.scene, self.case, module, accelerator, references
        )


def _attempt(action: Callable[[], Any]) -> Fact:
    """What `action` says, or how it failed: some things never worked, in either version."""
    try:
        result = action()
    except BaseException as error:
        return {"failure": describe_failure(error)}
    return result if isinstance(result, dict) else {"same": result}


def _is_same(one: nn.Module, two: nn.Module) -> bool:
    groups = [describe.describe_sharing(describe.find_tensors(m)) for m in (one, two)]
    same = describe.describe_attributes(one) == describe.describe_attributes(two)
    return same and groups[0] == groups[1]
