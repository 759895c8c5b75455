"""One class in one world: import it, build it from a case, evaluate its inputs.

In: the class's module and name, the cases on offer. Out: built modules, evaluated arguments and
the cases that work. It refuses to know that there is another world. Runs in the child; standard
library and torch only.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import math
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict, cast

import torch
from torch import nn

from bufferize.model import Case
from bufferize.verify import describe
from bufferize.verify.device.stray import DeviceMismatch
from bufferize.verify.naming import find_named
from bufferize.verify.overlay import say_place
from bufferize.verify.shrinking import shrink_case
from bufferize.verify.switching import switch_case
from bufferize.verify.synthesis import probe_inputs, synthesise_cases

_MOST_TRIES = 12
_MOST_CASES = 3
_MOST_INPUTS = 4
# CPU seconds for one construction and one call: the proof makes some forty of each
SLOW = 0.25


class Refusal(Exception):
    """The class cannot be looked at; the message says why, in words for the report."""


class Failure(TypedDict):
    """An exception of the user's code."""

    type: str
    text: str
    where: str


def describe_failure(error: BaseException) -> Failure:
    # an address differs from run to run
    text = re.sub(r"\b0x[0-9a-fA-F]+", "0x...", " ".join(str(error).split()))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename)]
    where = say_place(frames[-1].filename, frames[-1].lineno or 0) if frames else ""
    # as torch itself calls it
    kind = RuntimeError if isinstance(error, DeviceMismatch) else type(error)
    return {"type": kind.__name__, "text": text[:400], "where": where}


def _is_users(filename: str) -> bool:
    ours = str(Path(__file__).parent)
    return not filename.startswith(("<", ours)) and "site-packages" not in filename


def reseed(seed: int) -> None:
    """Put every random stream the user may draw from at a known place."""
    random.seed(seed)
    # Not torch.manual_seed: it also seeds every accelerator, and so wakes CUDA.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


class Scene:
    """The class under proof, imported."""

    def __init__(self, module: str, cls: str, seed: int) -> None:
        self.seed = seed
        self.namespace = vars(importlib.import_module(module))
        self.cls = _find_class(self.namespace, cls)

    @property
    def has_forward(self) -> bool:
        return self.cls.forward is not nn.Module.forward

    def build(self, case: Case, seed: int | None = None) -> nn.Module:
        """Construct anew: arguments always under the same seed, the class itself under `seed`."""
        namespace = self.prepare(case)
        call = ast.parse(case.construct.strip(), mode="eval").body
        make: Callable[[], object]
        if isinstance(call, ast.Call):
            namespace["__hold"] = lambda *args, **named: (args, named)
            arguments = ast.Call(ast.Name("__hold", ast.Load()), call.args, call.keywords)
            target = _evaluate(call.func, namespace)
            args, named = _evaluate(arguments, namespace)
            make = lambda: target(*args, **named)  # noqa: E731
        else:
            make = lambda: _evaluate(call, namespace)  # noqa: E731
        reseed(self.seed if seed is None else seed)
        built = make()
        if not isinstance(built, nn.Module):
            raise Refusal(f"{case.construct} gives a {type(built).__name__}, not a module")
        return built

    def prepare(self, case: Case) -> dict[str, Any]:
        """The names a case may use, after its set-up statements."""
        namespace = dict(self.namespace)
        namespace.setdefault("torch", torch)
        namespace.setdefault("nn", nn)
        reseed(self.seed)
        for statement in case.setup:
            exec(compile(statement, "<case>", "exec"), namespace)
        return namespace

    def arguments(self, case: Case, inputs: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of one call, made afresh."""
        namespace = self.prepare(case)
        namespace["__hold"] = lambda *args, **named: (args, named)
        reseed(self.seed + 1)
        held = eval(compile(f"__hold({inputs})", "<case>", "eval"), namespace)
        return cast("tuple[tuple[Any, ...], dict[str, Any]]", held)


def _find_class(namespace: dict[str, Any], name: str) -> type[nn.Module]:
    if "<locals>" in name:
        raise Refusal(f"{name} is defined inside a function: it cannot be built alone")
    found: Any = None
    for index, part in enumerate(name.split(".")):
        if index == 0 and part not in namespace:
            failed = namespace.get("__failed_cells__") or ["it is not defined at import"]
            raise Refusal(f"{name} is missing from the imported module: {'; '.join(failed[:3])}")
        found = namespace[part] if index == 0 else getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise Refusal(f"{name} is not a module class when imported")
    return found


def _evaluate(node: ast.expr, namespace: dict[str, Any]) -> Any:
    tree = ast.fix_missing_locations(ast.Expression(node))
    return eval(compile(tree, "<case>", "eval"), namespace)


class Tracer:
    """Sees which of some statements of one file are executed."""

    def __init__(self, path: str, spans: Iterable[Sequence[int]]) -> None:
        self._path = path
        self._spans = {n: span[0] for span in spans for n in range(span[0], span[1] + 1)}
        self.wanted = frozenset(self._spans.values())
        self.seen: set[int] = set()

    def __enter__(self) -> None:
        self.seen = set()
        if self._spans:
            sys.settrace(self._enter_frame)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter_frame(self, frame: FrameType, event: str, _: object) -> Any:
        return self._note_line if frame.f_code.co_filename == self._path else None

    def _note_line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and frame.f_lineno in self._spans:
            self.seen.add(self._spans[frame.f_lineno])
        return self._note_line


class TooSlow(Exception):
    """A case takes so long that proving it would end in a timeout."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A case that builds and runs: its tensors, and first lines of statements it executed."""

    case: Case
    alive: frozenset[str]
    executed: frozenset[int]


class Search:
    """Looks for cases that build and run in this world."""

    def __init__(self, scene: Scene, wanted: Iterable[str], tracer: Tracer) -> None:
        self.scene = scene
        self.tracer = tracer
        # attributes that a case should bring to life, and first lines of statements to be run
        self.missing: set[str | int] = {*wanted, *tracer.wanted}
        self.executed: set[int] = set()
        self.chosen: list[Case] = []
        self.unrun: list[Case] = []
        self.failures: list[dict[str, Any]] = []
        self.slow: list[Case] = []

    def run(self, offered: Sequence[Case]) -> list[Case]:
        """Offered cases first, then these with other switches, then synthesised ones."""
        self._try_all(offered, len(offered))
        self._switch()
        self._try_all(self._synthesised(), _MOST_TRIES)
        for case in self.slow[:1] if self.missing or not self.chosen else ():
            self._keep(self._examine(case))
        self._switch()
        return self.chosen or self.unrun[:1]

    def _try_all(self, cases: Iterable[Case], most: int) -> None:
        for tried, case in enumerate(cases):
            enough = len(self.chosen) >= _MOST_CASES or (self.chosen and not self.missing)
            if tried >= most or (enough and case.source != "configuration"):
                break
            self._try(case)

    def _switch(self) -> None:
        """Take the branches that hold what no case has shown yet."""
        for case in list(self.chosen):
            lines = {line for line in self.missing if isinstance(line, int)}
            for other in switch_case(case, self.scene.cls, lines) if lines else ():
                if len(self.chosen) < _MOST_CASES + 2 and lines & self.missing:
                    with contextlib.suppress(TooSlow):
                        self._keep(self._examine(other, SLOW))

    def _synthesised(self) -> Iterator[Case]:
        scene = self.scene
        try:
            yield from synthesise_cases(scene.cls, scene.namespace, scene.seed, self._attempt)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._note("builds", scene.cls.__qualname__, "signature", error)

    def _attempt(self, case: Case) -> Exception | None:
        """What building raises, for the synthesis to learn from."""
        try:
            self.scene.build(case)
        except Exception as error:
            self._note("builds", case.construct, case.source, error)
            return error
        return None

    def _try(self, case: Case) -> None:
        """Look at the case, or where that is slow at a smaller one; slow ones come last."""
        if case.source == "configuration":
            self._keep(self._examine(case))
            return
        try:
            self._keep(self._examine(case, SLOW))
        except TooSlow:
            for smaller in shrink_case(case, self.scene.cls):
                with contextlib.suppress(TooSlow):
                    examined = self._examine(smaller, SLOW)
                    if examined is not None:
                        self._keep(examined)
                        return
            self.slow.append(case)

    def _examine(self, case: Case, patience: float = math.inf) -> Examined | None:
        """Build and run it; None where that fails. Raises TooSlow after `patience` CPU seconds."""
        start = time.process_time()
        with self.tracer:
            try:
                module = self.scene.build(case)
            except BaseException as error:
                self._note("builds", case.construct, case.source, error)
                return None
            patience -= time.process_time() - start
            if patience < 0:
                raise TooSlow
            if self.scene.has_forward:
                inputs = self._inputs(module, case, patience)
                case = replace(case, inputs=inputs)
                if not inputs:
                    self.unrun.append(case)
                    return None
        alive = {p.rpartition(".")[2].partition("[")[0] for p in describe.find_tensors(module)}
        return Examined(case, frozenset(alive), frozenset(self.tracer.seen))

    def _keep(self, examined: Examined | None) -> None:
        """Take a case that works where it shows something new."""
        if examined is None:
            return
        named = {a for a in self.missing if isinstance(a, str) and find_named(a, examined.alive)}
        news = named | (self.missing & examined.executed)
        if news or not self.chosen or examined.case.source == "configuration":
            self.chosen.append(examined.case)
            self.executed |= examined.executed
        self.missing -= news

    def _inputs(self, module: nn.Module, case: Case, patience: float) -> tuple[str, ...]:
        given = self._that_run(case, case.inputs, patience)
        if given:
            return given
        try:
            probed = tuple(probe_inputs(module, case, self.scene.seed))
        except BaseException as error:
            self._note("runs", case.construct, case.source, error)
            return ()
        return self._that_run(case, probed, patience)

    def _that_run(self, case: Case, inputs: Iterable[str], patience: float) -> tuple[str, ...]:
        running = []
        for text in inputs:
            try:
                module = self.scene.build(case)
                args, named = self.scene.arguments(case, text)
                start = time.process_time()
                module(*args, **named)
            except BaseException as error:
                self._note("runs", f"{case.construct}({text})", case.source, error)
            else:
                running.append(text)
                if time.process_time() - start > patience:
                    raise TooSlow
            if len(running) >= _MOST_INPUTS:
                break
        return tuple(running)

    def _note(self, stage: str, what: str, source: str, error: BaseException) -> None:
        failure = describe_failure(error)
        self.failures.append({"at": stage, "what": what, "source": source, **failure})
