"""Start the warm process, give it the classes one after the other, collect the verdicts.

In: changed files and settings. Out: a verdict for every class that a change promises something
about. It refuses to import torch or the user's code: `worker.py` does, in its own process, under
the interpreter whose packages the code needs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from bufferize.errors import BufferizeError
from bufferize.model import Answer, Case, Failed, FileChange, Level, SourceFile, Verdict
from bufferize.settings import Settings
from bufferize.verify.compare import (
    Observation,
    blame_others,
    find_flaw,
    judge,
    judge_control,
    say_inherited,
)
from bufferize.verify.heirs import Heir
from bufferize.verify.plan import ClassPlan, Plan, make_plan
from bufferize.verify.process import Warm

# User code may take the warm process down with it (by killing its parent): so often we start anew.
MOST_STARTS = 5
# How long the warm process may take to say what it saw after a deadline.
GRACE = 30.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What the proof has to say about every class."""

    # (FileChange.name, class) -> verdict
    verdicts: Mapping[tuple[str, str], Verdict]
    # one line: with which torch, Python and device
    proof: str = ""
    failures: tuple[Failed, ...] = ()


def verify_changes(
    changes: Sequence[FileChange],
    settings: Settings,
    progress: Progress | None = None,
    sources: Sequence[SourceFile] = (),
    only: Collection[tuple[str, str]] | None = None,
) -> VerifyResult:
    """Prove every rewritten class; raises BufferizeError where nothing can be proved at all.

    `sources` are files that may show how the classes are used; `only` names the classes to prove
    by (FileChange.name, class) where not all are to be.
    """
    if not any(change.expected for change in changes):
        return VerifyResult({})
    plan = make_plan(changes, sources, settings)
    with tempfile.TemporaryDirectory(prefix="bufferize-", ignore_cleanup_errors=True) as folder:
        classes = [c for c in plan.classes if only is None or c.key in only]
        proof = _Proof(plan, classes, settings, Path(folder))
        try:
            verdicts = proof.run(progress or (lambda done, total: None))
        finally:
            proof.warm.stop()
    devices = sorted({verdict.device for verdict in verdicts.values() if verdict.device})
    where = f", device {', '.join(devices)}" if devices else ""
    known = proof.warm.known
    return VerifyResult(verdicts, f"torch {known['torch']}, Python {known['python']}{where}")


# A class's proof asks for one observation after the other, and ends in a verdict.
_Steps = Generator[dict[str, Any], Observation, Verdict]


@dataclass
class _Task:
    """One class under way."""

    plan: ClassPlan
    steps: _Steps
    request: dict[str, Any]
    facts: list[dict[str, Any]] = field(default_factory=list)
    retried: bool = False
    # of the child at work, whose process group has the same number
    pid: int = 0


class _Proof:
    """All classes of one run."""

    def __init__(
        self, plan: Plan, classes: Sequence[ClassPlan], settings: Settings, folder: Path
    ) -> None:
        self.plan = plan
        self.classes = classes
        self.settings = settings
        self.jobs = settings.jobs or min(2, os.cpu_count() or 1)
        self.folder = folder
        self.warm = Warm(plan, settings, folder)
        self.under_way: dict[int, _Task] = {}
        # under way when the warm process died: tried again, one at a time
        self.suspects: list[_Task] = []
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        self._last_job = 0

    def run(self, progress: Progress) -> dict[tuple[str, str], Verdict]:
        waiting = list(self.classes)
        self.warm.start()
        while waiting or self.under_way or self.suspects:
            if self.suspects and not self.under_way:
                self._send(self.suspects.pop(0))
            while waiting and not self.suspects and len(self.under_way) < self.jobs:
                self._begin(waiting.pop(0))
            self._hear()
            progress(len(self.verdicts), len(self.classes))
        ordered = {plan.key: self.verdicts[plan.key] for plan in self.classes}
        return blame_others(self.plan.classes, ordered)

    def _begin(self, plan: ClassPlan) -> None:
        steps = self._prove(plan)
        self._send(_Task(plan, steps, next(steps)))

    def _send(self, task: _Task) -> None:
        self._last_job += 1
        task.facts, task.pid = [], 0
        task.request["job"] = self._last_job
        task.request["scratch"] = str(self.folder / f"job-{self._last_job}")
        self.under_way[self._last_job] = task
        self.warm.send(task.request)

    def _hear(self) -> None:
        try:
            message = self.warm.receive(self.settings.timeout + GRACE)
        except Empty:
            message = None
        if message is None:
            self._start_anew()
            return
        task = self.under_way.get(message["job"])
        if task is None:
            return
        if "end" in message:
            del self.under_way[message["job"]]
            self._go_on(task, message["end"])
        elif "pid" in message:
            task.pid = message["pid"]
        else:
            fact = _read_fact(message["line"])
            if fact is not None:
                task.facts.append(fact)

    def _go_on(self, task: _Task, end: Mapping[str, Any]) -> None:
        seen = _understand(task.facts, end, self.settings)
        try:
            task.request = task.steps.send(seen)
        except StopIteration as stop:
            self.verdicts[task.plan.key] = stop.value
        else:
            self._send(task)

    def _start_anew(self) -> None:
        """The warm process died: what was under way gets one more try, each class alone."""
        self.warm.stop()
        lost = list(self.under_way.values())
        self.under_way.clear()
        for task in lost:
            _kill_group(task.pid)
        if self.warm.starts >= MOST_STARTS:
            raise BufferizeError(
                f"the process that runs the proof died {MOST_STARTS} times, last while proving "
                f"{', '.join(task.plan.address for task in lost)}: leave these out with --exclude"
            )
        self.warm.start()
        for task in lost:
            if task.retried:
                because = "the process that ran the proof died with it, twice"
                self.verdicts[task.plan.key] = Verdict(
                    Answer.UNDECIDED, Level.NOTHING, because=because
                )
            else:
                task.retried = True
                self.suspects.append(task)

    def _prove(self, plan: ClassPlan) -> _Steps:
        """The class itself, or where that settles nothing a subclass in its stead."""
        verdict = yield from self._prove_as(plan, plan.subject, plan.cases)
        if verdict.answer is not Answer.UNDECIDED:
            return verdict
        for heir, cases in plan.heirs:
            other = yield from self._prove_as(plan, heir, cases)
            if other.answer is not Answer.UNDECIDED:
                return say_inherited(other, heir, plan, verdict)
        return verdict

    def _prove_as(self, plan: ClassPlan, subject: Heir, cases: Sequence[Case]) -> _Steps:
        """Control, control again, candidate version; the control finds the cases."""
        exchange = self.folder / f"exchange-{self._last_job}-{len(self.verdicts)}"
        exchange.mkdir()
        offered = [
            {"source": c.source, "construct": c.construct, "inputs": c.inputs, "setup": c.setup}
            for c in cases
        ]
        ask = _Asker(self.plan, plan, subject, self.settings, str(exchange))
        control = yield ask("before", offered, replay=False)
        verdict = judge_control(plan, control)
        if verdict is not None:
            return verdict
        again = yield ask("before", control.chosen, replay=True, on_device=False)
        flaw = find_flaw(control, again)
        if flaw:
            # the first child also tried other cases, which may have left something behind
            chosen = tuple(fact for fact in control.facts if fact["stage"] == "cases")
            alone = yield ask("before", control.chosen, replay=True)
            control = Observation((*chosen, *alone.facts), alone.vanished)
            flaw = find_flaw(control, again)
        if flaw:
            return Verdict(Answer.UNDECIDED, Level.IMPORTS, because=flaw)
        candidate = yield ask("after", control.chosen, replay=True)
        return judge(self.plan, plan, control, candidate)


@dataclass(frozen=True)
class _Asker:
    """Words a request."""

    whole: Plan
    plan: ClassPlan
    subject: Heir
    settings: Settings
    exchange: str

    def __call__(
        self, world: str, cases: Sequence[Any], replay: bool, on_device: bool = True
    ) -> dict[str, Any]:
        return {
            "world": world,
            "module": self.subject.module,
            "root": self.subject.root,
            "cls": self.subject.cls,
            "path": self.plan.path,
            "touched": [[statement.first, statement.last] for statement in self.plan.touched],
            "seed": self.settings.seed,
            "device": self.settings.device,
            "cases": cases,
            "replay": replay,
            "on_device": on_device,
            "rewritten": self.whole.rewritten_for(self.subject.root),
            "exchange": self.exchange,
        }


def _kill_group(pid: int) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _read_fact(line: str) -> dict[str, Any] | None:
    """A fact, unless user code wrote to the pipe."""
    try:
        fact = json.loads(line)
    except ValueError:
        return None
    return fact if isinstance(fact, dict) and "stage" in fact else None


def _understand(
    lines: Sequence[dict[str, Any]], end: Mapping[str, Any], settings: Settings
) -> Observation:
    """Why a child stopped, in words, from how it ended and what it began last."""
    facts = tuple(f for f in lines if f["stage"] not in ("begins", "done", "forked", "broken"))
    begun = [f["what"] for f in lines if f["stage"] == "begins"]
    during = f" while at '{begun[-1]}'" if begun else ""
    broken = [f["text"] for f in lines if f["stage"] == "broken"]
    if any(f["stage"] == "forked" for f in lines):
        why = f"forks a process{during}, which the proof does not follow"
    elif broken:
        why = f"could not be looked at, an error of bufferize itself: {broken[0]}"
    elif any(f["stage"] == "done" for f in lines):
        why = ""
    elif end["late"]:
        more = "smaller arguments or a longer --timeout would decide it"
        why = f"took longer than {settings.timeout:g} s{during}: {more}"
    elif end["signal"]:
        why = f"was killed by signal {end['signal']}{during}"
    else:
        why = f"left the process (exit code {end['code']}){during}"
    return Observation(facts, why)
