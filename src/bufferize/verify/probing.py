"""Finds arguments under which a module's forward runs.

In: a module that has been built. Out: argument lists as Python source, such as
'torch.randn(2, 6, 16)', to be evaluated where `torch` is in scope. Runs user code: part of the
worker, standard library and torch only.
"""

from __future__ import annotations

import copy
import inspect
import re
import time
import typing
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from bufferize.model import Case
from bufferize.verify.complaints import State, learn_states
from bufferize.verify.shapes import (
    BATCH,
    LENGTH,
    MASKS,
    Facts,
    Spec,
    guess_first,
    guess_next,
    read_facts,
)

MOST_TRIES = 60
MOST_INPUTS = 3
MOST_GIVEN = 6
MOST_SECONDS = 8.0
# copies of a larger module cost more than the state that a failed try may leave behind
LARGE = 20_000_000


def probe_inputs(module: nn.Module, case: Case, seed: int) -> Iterator[str]:
    """Argument lists that `module` takes, at most `MOST_INPUTS`, the same ones on every run.

    Tries run on copies, in eval mode, under no_grad and a forked random state; a module that
    cannot be copied is run itself, and its attributes are put back.
    """
    search = _Search(module, seed)
    if search.parameters is None:
        return
    found = search.find()
    if found is None:
        return
    yield search.source(found)
    others = 1
    for state in search.variants(found):
        if others < MOST_INPUTS and search.may_go_on() and search.attempt(state) is None:
            yield search.source(state)
            others += 1


class _Search:
    def __init__(self, module: nn.Module, seed: int) -> None:
        self.module = module
        self.seed = seed
        self.tries = 0
        self.deadline = time.monotonic() + MOST_SECONDS
        self.facts: Facts = read_facts(module)
        self.parameters = _forward_parameters(module)
        self.hints = _forward_hints(module)
        self.shared: nn.Module | None = None
        required = [p for p in self.parameters or () if _is_required(p)]
        self.given = required
        self.graph = any(p.name.startswith(("edge", "adj")) for p in self.parameters or ())

    def may_go_on(self) -> bool:
        return self.tries < MOST_TRIES and time.monotonic() < self.deadline

    def find(self) -> State | None:
        """The first state that runs; every failure may put better ones ahead of the queue."""
        seen: set[State] = set()
        if not self.given:
            if self.attempt(()) is None:
                return ()
            optional = [p for p in self.parameters or () if p.kind is not p.VAR_KEYWORD]
            self.given = optional[:1]
        queue = list(self._first_states())
        while queue and self.may_go_on():
            state = queue.pop(0)
            if state in seen:
                continue
            seen.add(state)
            error = self.attempt(state)
            if error is None:
                return state
            if queue_again := self._give_named(str(error)):
                queue = [*queue_again, *queue[:10]]
                continue
            # a try in ten starts afresh, so that no chain of lessons eats them all
            better = learn_states(error, state, self.facts)[:6]
            at = 1 if self.tries % 10 == 0 else 0
            queue[at:at] = better
        return None

    def _give_named(self, message: str) -> list[State]:
        """'context must be given' of an argument that may be left out: give it."""
        words = set(re.findall(r"[A-Za-z_]\w*", message))
        for parameter in self.parameters or ():
            is_left_out = parameter.default is None and parameter not in self.given
            if is_left_out and parameter.name in words and len(self.given) < MOST_GIVEN:
                self.given = [*self.given, parameter]
                return list(self._first_states())
        return []

    def _first_states(self) -> Iterator[State]:
        if not self.given:
            return
        hints = [self.hints.get(p.name) for p in self.given]
        firsts = guess_first(self.given[0], hints[0], self.facts, self.graph)
        rest: list[State] = []
        for first in firsts:
            main = first if first.is_tensor else self.facts.mains[0]
            columns = [
                guess_next(parameter, hint, main, self.facts, self.graph)
                for parameter, hint in zip(self.given[1:], hints[1:], strict=True)
            ]
            yield (first, *(column[0] for column in columns))
            for number, column in enumerate(columns):
                for other in column[1:]:
                    heads = [c[0] for c in columns]
                    heads[number] = other
                    rest.append((first, *heads))
        yield from rest

    def source(self, state: State) -> str:
        """'x, mask=m' style source: keywords for keyword-only parameters."""
        parts = []
        for parameter, spec in zip(self.given, state, strict=False):
            keyword = parameter.kind is parameter.KEYWORD_ONLY or _is_optional(parameter)
            parts.append(f"{parameter.name}={spec.source()}" if keyword else spec.source())
        return ", ".join(parts)

    def attempt(self, state: State) -> Exception | None:
        self.tries += 1
        source = self.source(state)
        try:
            with _Scratch(self) as scratch, torch.no_grad(), torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(self.seed)
                scope = {"torch": torch, "module": scratch}
                eval(f"module({source})", scope)
        except Exception as error:
            return error
        return None

    def variants(self, state: State) -> Iterator[State]:
        """Other batches and lengths, and a mask where one may be given."""
        yield tuple(_replaced(spec, BATCH, BATCH + 1, 0) for spec in state)
        yield tuple(_replaced(spec, LENGTH, LENGTH - 2, 1) for spec in state)
        optional = [p for p in self.parameters or () if _is_optional(p) and p not in self.given]
        masks = [p for p in optional if MASKS.fullmatch(p.name.lower())]
        main = next((spec for spec in state if spec.is_tensor), None)
        if masks and main is not None:
            self.given = [*self.given, masks[0]]
            for spec in guess_next(masks[0], None, main, self.facts, self.graph)[1:4]:
                yield (*state, spec)


class _Scratch:
    """The module to try on: a copy, or the module itself with its attributes put back."""

    def __init__(self, search: _Search) -> None:
        self.search = search
        self.saved: list[tuple[nn.Module, dict[str, Any]]] = []

    def __enter__(self) -> nn.Module:
        module = self.search.module
        large = _size_of(module) > LARGE
        if large and self.search.shared is not None:
            return self.search.shared
        try:
            twin = copy.deepcopy(module).eval()
        except Exception:
            self.saved = [
                (inner, {k: copy.copy(v) if isinstance(v, dict) else v
                         for k, v in vars(inner).items()})
                for inner in module.modules()
            ]  # fmt: skip
            return module.eval()
        if large:
            self.search.shared = twin
        return twin

    def __exit__(self, *_: object) -> None:
        for inner, attributes in self.saved:
            vars(inner).clear()
            vars(inner).update(attributes)


def _size_of(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if not is_lazy(p))


def _replaced(spec: Spec, old: int, new: int, place: int) -> Spec:
    if not spec.is_tensor or len(spec.shape) <= place or spec.shape[place] != old:
        return spec
    return replace(spec, shape=(*spec.shape[:place], new, *spec.shape[place + 1 :]))


def _forward_parameters(module: nn.Module) -> list[inspect.Parameter] | None:
    """The parameters of forward, None where there is no forward."""
    if type(module).forward is nn.Module.forward:
        return None
    try:
        found = list(inspect.signature(module.forward).parameters.values())
    except (ValueError, TypeError):
        return None
    return [p for p in found if p.kind is not p.VAR_KEYWORD]


def _forward_hints(module: nn.Module) -> dict[str, Any]:
    try:
        return typing.get_type_hints(type(module).forward)
    except Exception:
        return dict(getattr(type(module).forward, "__annotations__", {}))


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL


def _is_optional(parameter: inspect.Parameter) -> bool:
    return parameter.default is not parameter.empty
