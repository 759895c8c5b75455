"""Builds modules that nobody shows how to build: arguments from the constructor itself.

In: a class and the namespace that it lives in. Out: cases whose constructor call succeeds, few,
deterministic, smallest first; and, by `probe_inputs`, arguments under which the module runs. Runs
user code, so it belongs to the worker: standard library and torch only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch

from bufferize.model import Case
from bufferize.verify.arguments import Draft
from bufferize.verify.lessons import learn
from bufferize.verify.plausible import PROFILES
from bufferize.verify.probing import probe_inputs
from bufferize.verify.usage import Path, parameters_of, read_usage

MOST_SIZES = 4
MOST_FLIPS = 5
MOST_LESSONS = 10

__all__ = ["build_case", "probe_inputs", "synthesise_cases"]


def build_case(case: Case, namespace: Mapping[str, object], seed: int) -> Any:
    """Run a case's setup and constructor call in a copy of `namespace`, under `seed`."""
    scope = dict(namespace)
    # torch.manual_seed would wake CUDA, which a child must not do by the way
    torch.default_generator.manual_seed(seed)
    for statement in case.setup:
        exec(statement, scope)
    return eval(case.construct, scope)


def synthesise_cases(
    cls: type,
    namespace: Mapping[str, object],
    seed: int,
    attempt: Callable[[Case], Exception | None] | None = None,
) -> Iterator[Case]:
    """Cases for `cls` that `attempt` takes: `MOST_SIZES` at most, and `MOST_FLIPS`
    with switches set otherwise.

    `attempt` builds the case and gives back what it raised, None for success; an exception with its
    traceback teaches the next try. Without it `build_case` is used. The number of attempts is
    bounded: for each profile of sizes one, and one for each lesson learnt.
    """
    uses = read_usage(cls, namespace)
    tried: set[str] = set()
    given = 0

    def build(case: Case) -> Exception | None:
        try:
            build_case(case, namespace, seed)
        except Exception as error:
            return error
        return None

    for number, sizes in enumerate(PROFILES):
        keep_large = number == len(PROFILES) - 1
        draft = Draft(cls, namespace, sizes, keep_large, uses=dict(uses))
        case = _succeed(draft, tried, attempt or build)
        if case is None:
            continue
        yield case
        given += 1
        learnt = dict(draft.taught)
        # branches that the defaults leave out hold tensors too
        for flip in _flips(draft) if given == 2 else ():
            other = _succeed(draft, tried, attempt or build, {**learnt, **flip})
            if other is not None:
                yield other
        if given == MOST_SIZES:
            return


def _flips(draft: Draft) -> list[dict[Path, str]]:
    """Switches and choices that the constructor tests, each set otherwise."""
    found: list[dict[Path, str]] = []
    for parameter in parameters_of(draft.cls):
        path, default = (parameter.name,), parameter.default
        use = draft.uses.get(path)
        now = draft.taught.get(path, "False")
        if isinstance(default, bool) or (use and use.is_tested and default is parameter.empty):
            on = default if isinstance(default, bool) else now == "True"
            found.append({path: repr(not on)})
        elif use and use.strings:
            choices = [text for text in dict.fromkeys(use.strings) if text != default]
            found.extend({path: repr(text)} for text in choices[:3])
    return found[:MOST_FLIPS]


def _succeed(
    draft: Draft,
    tried: set[str],
    attempt: Callable[[Case], Exception | None],
    taught: Mapping[Path, str] = MappingProxyType({}),
) -> Case | None:
    for _ in range(MOST_LESSONS):
        draft.setup.clear()
        draft.made.clear()
        draft.taught = taught
        construct = draft.call()
        if construct in tried:
            return None
        tried.add(construct)
        case = Case(source="signature", construct=construct, setup=tuple(draft.setup))
        error = attempt(case)
        if error is None:
            return case
        lesson = learn(error, draft)
        if not lesson:
            return None
        taught = {**taught, **lesson}
    return None
