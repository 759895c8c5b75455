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
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bufferize.errors import BufferizeError
from bufferize.model import Answer, Failed, FileChange, Level, SourceFile, Verdict
from bufferize.settings import Settings
from bufferize.verify.compare import Observation, blame_others, find_flaw, judge, judge_control
from bufferize.verify.plan import ClassPlan, Plan, make_plan

WORKER = Path(__file__).with_name("worker.py")
# User code may take the warm process down with it (by killing its parent): so often we start anew.
MOST_STARTS = 5
# How long torch may take to be imported, and the warm process to say what it saw after a deadline.
PATIENCE = 300.0
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
) -> VerifyResult:
    """Prove every rewritten class; raises BufferizeError where nothing can be proved at all."""
    if not any(change.expected for change in changes):
        return VerifyResult({})
    plan = make_plan(changes, sources, settings)
    with tempfile.TemporaryDirectory(prefix="bufferize-", ignore_cleanup_errors=True) as folder:
        proof = _Proof(plan, settings, Path(folder))
        try:
            verdicts = proof.run(progress or (lambda done, total: None))
        finally:
            proof.warm.stop()
    devices = sorted({verdict.device for verdict in verdicts.values() if verdict.device})
    where = f", device {', '.join(devices)}" if devices else ""
    known = proof.warm.known
    return VerifyResult(verdicts, f"torch {known['torch']}, Python {known['python']}{where}")


class _Warm:
    """The warm process, started anew when it dies."""

    def __init__(self, plan: Plan, settings: Settings, folder: Path) -> None:
        self.setup = {
            "worlds": {"before": plan.before, "after": plan.after},
            "timeout": settings.timeout,
            "memory": settings.memory,
            "device": settings.device,
        }
        self.python = str(settings.python or sys.executable)
        self.log = folder / "warm.txt"
        self.messages: SimpleQueue[tuple[int, dict[str, Any] | None]] = SimpleQueue()
        self.starts = 0
        self.known: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def start(self) -> None:
        """Start it and wait until torch is there."""
        self.starts += 1
        theirs, self._pipe = os.pipe()
        answers, answering = os.pipe()
        command = [self.python, str(WORKER), str(theirs), str(answering)]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs, answering),
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            os.close(answers)
            raise BufferizeError(f"{self.python}: cannot be started: {error.strerror}") from error
        finally:
            os.close(theirs)
            os.close(answering)
        reader = threading.Thread(target=self._listen, args=(answers, self.starts), daemon=True)
        reader.start()
        self.send(self.setup)
        self._await_ready()

    def _listen(self, answers: int, start: int) -> None:
        with os.fdopen(answers, "rb") as lines:
            for line in lines:
                try:
                    self.messages.put((start, json.loads(line)))
                except ValueError:
                    continue
        self.messages.put((start, None))

    def _await_ready(self) -> None:
        try:
            message = self.receive(PATIENCE)
        except Empty:
            message = None
        if message is not None and "ready" in message:
            self.known = message["ready"]
            return
        self.stop()
        if message is not None and "cannot" in message:
            raise BufferizeError(
                f"{self.python}: the proof needs torch there ({message['cannot']}); "
                'run pip install "bufferize[verify]", or name another interpreter with --python'
            )
        said = self.log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise BufferizeError(
            f"{self.python}: the process that runs the proof did not start: {''.join(said)}"
        )

    def send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._pipe, data) :]
        except BrokenPipeError:
            # `receive` hears of its end
            return

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None when the process has died. Raises Empty."""
        deadline = time.monotonic() + timeout
        while True:
            start, message = self.messages.get(timeout=max(0.0, deadline - time.monotonic()))
            if start == self.starts:
                return message

    def stop(self) -> None:
        if self._process is None:
            return
        os.close(self._pipe)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


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

    def __init__(self, plan: Plan, settings: Settings, folder: Path) -> None:
        self.plan = plan
        self.settings = settings
        self.folder = folder
        self.warm = _Warm(plan, settings, folder)
        self.under_way: dict[int, _Task] = {}
        # under way when the warm process died: tried again, one at a time
        self.suspects: list[_Task] = []
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        self._last_job = 0

    def run(self, progress: Progress) -> dict[tuple[str, str], Verdict]:
        waiting = list(self.plan.classes)
        self.warm.start()
        while waiting or self.under_way or self.suspects:
            if self.suspects and not self.under_way:
                self._send(self.suspects.pop(0))
            while waiting and not self.suspects and len(self.under_way) < self.settings.jobs:
                self._begin(waiting.pop(0))
            self._hear()
            progress(len(self.verdicts), len(self.plan.classes))
        ordered = {plan.key: self.verdicts[plan.key] for plan in self.plan.classes}
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
        """Control, control again, candidate version; the control finds the cases."""
        exchange = self.folder / f"exchange-{len(self.verdicts)}-{self._last_job}"
        exchange.mkdir()
        offered = [
            {"source": c.source, "construct": c.construct, "inputs": c.inputs, "setup": c.setup}
            for c in plan.cases
        ]
        ask = _Asker(self.plan, plan, self.settings, str(exchange))
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
    settings: Settings
    exchange: str

    def __call__(
        self, world: str, cases: Sequence[Any], replay: bool, on_device: bool = True
    ) -> dict[str, Any]:
        return {
            "world": world,
            "module": self.plan.module,
            "root": self.plan.root,
            "cls": self.plan.cls,
            "path": self.plan.path,
            "touched": [[statement.first, statement.last] for statement in self.plan.touched],
            "seed": self.settings.seed,
            "device": self.settings.device,
            "cases": cases,
            "replay": replay,
            "on_device": on_device,
            "rewritten": self.whole.rewritten_for(self.plan.root),
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
        why = f"took longer than {settings.timeout:g} s{during}"
    elif end["signal"]:
        why = f"was killed by signal {end['signal']}{during}"
    else:
        why = f"left the process (exit code {end['code']}){during}"
    return Observation(facts, why)
