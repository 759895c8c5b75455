"""The warm process: imports torch once, then forks one child for each request.

This file stands alone: it is run as a script by the interpreter whose packages the user's code
needs, where bufferize may not be installed. In: JSON lines on one pipe (first the worlds, then
requests). Out: JSON lines on another: what each child emitted, and how it ended. User code runs in
the children only; the warm process itself never runs a backward and never touches CUDA, since both
would break in a forked child. It refuses to judge what it sees.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import importlib
import io
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
MIB = 2**20
SCRATCH_FILE_LIMIT = 1024 * MIB
# The longest the loop sleeps before it looks at its clocks again.
TICK = 0.25


class Channel:
    """Our end of the pipe to whoever started us."""

    def __init__(self, requests: int, answers: int) -> None:
        self.requests = requests
        self.answers = answers
        self._rest = b""

    def read(self) -> list[dict[str, Any]] | None:
        """Whole lines that have come in; None when the other side is gone."""
        data = os.read(self.requests, 1 << 20)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.answers, data) :]


class Child:
    """One forked process and what it has said."""

    def __init__(self, job: int, pid: int, pipe: int, deadline: float) -> None:
        self.job = job
        self.pid = pid
        self.pipe = pipe
        self.deadline = deadline
        self.late = False
        self.status: int | None = None
        self._rest = b""

    def read(self) -> list[str]:
        """Whole lines; drops what a stray process of the user's wrote without a newline."""
        try:
            data = os.read(self.pipe, 1 << 20)
        except BlockingIOError:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def is_over(self) -> bool:
        """Has the child itself ended? Its own offspring may still hold the pipe."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            if self.status is None:
                os.kill(self.pid, signal.SIGKILL)

    def ending(self) -> dict[str, Any]:
        status = self.status or 0
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        return {"late": self.late, "signal": signalled, "code": code}


class Warm:
    """The loop: requests in, children out."""

    def __init__(self, channel: Channel, setup: dict[str, Any]) -> None:
        self.channel = channel
        self.setup = setup
        self.children: list[Child] = []
        self.look = importlib.import_module("bufferize.verify.observe")
        self.overlay = importlib.import_module("bufferize.verify.overlay")
        warm_up(setup["device"])

    def serve(self) -> None:
        while True:
            pipes = [child.pipe for child in self.children]
            ready = select.select([self.channel.requests, *pipes], [], [], TICK)[0]
            if self.channel.requests in ready:
                requests = self.channel.read()
                if requests is None:
                    break
                for request in requests:
                    self.start(request)
            for child in list(self.children):
                self.attend(child)
            if ready and self.channel.requests not in ready:
                # an ended child's pipe is ready a moment before waitpid knows
                time.sleep(0.001)
        for child in self.children:
            child.kill()

    def start(self, request: dict[str, Any]) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            for other in self.children:
                os.close(other.pipe)
            os.close(reading)
            self.live(request, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            # also done by the child: whoever comes first, so that a kill always finds the group
            os.setpgid(pid, pid)
        deadline = time.monotonic() + self.setup["timeout"]
        self.children.append(Child(request["job"], pid, reading, deadline))
        self.channel.send({"job": request["job"], "pid": pid})

    def attend(self, child: Child) -> None:
        over = child.is_over()
        lines = child.read()
        for line in lines:
            self.channel.send({"job": child.job, "line": line})
        if over and not lines:
            child.kill()
            os.close(child.pipe)
            self.children.remove(child)
            self.end_orphans()
            self.channel.send({"job": child.job, "end": child.ending()})
        elif time.monotonic() > child.deadline and not child.late:
            child.late = True
            child.kill()

    def end_orphans(self) -> None:
        """Kill what left its child's group and outlived it; see `adopt_orphans`."""
        known = {child.pid for child in self.children}
        for listed in Path("/proc/self/task").glob("*/children"):
            for pid in {int(word) for word in listed.read_text().split()} - known:
                with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def live(self, request: dict[str, Any], pipe: int) -> NoReturn:
        """The child's whole life."""
        try:
            os.close(self.channel.requests)
            os.close(self.channel.answers)
            confine(Path(request["scratch"]), self.setup["memory"], request["device"])
            emit = Emitter(pipe)
            files = self.setup["worlds"][request["world"]]
            self.overlay.install_overlay(files, request["root"])
            self.look.observe(request, emit)
            emit({"stage": "done"})
        except BaseException as error:  # ours, not the user's: observe keeps theirs
            with contextlib.suppress(BaseException):
                Emitter(pipe)({"stage": "broken", "text": f"{type(error).__name__}: {error}"})
        finally:
            os._exit(0)


class Emitter:
    """Writes facts to the pipe, from the process that it was made in only."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._pid = os.getpid()
        self._write, self._getpid, self._dumps, self._exit = (
            os.write,
            os.getpid,
            json.dumps,
            os._exit,
        )
        self.forked = False
        os.register_at_fork(after_in_parent=self._note)

    def _note(self) -> None:
        if not self.forked:
            self.forked = True
            self({"stage": "forked"})

    def __call__(self, fact: dict[str, Any]) -> None:
        if self._getpid() != self._pid:
            # user code forked and the copy came back into ours
            self._exit(0)
        data = self._dumps(fact).encode() + b"\n"
        while data:
            data = data[self._write(self._pipe, data) :]


def confine(scratch: Path, memory: int, device: str) -> None:
    """A process group, a scratch folder, no input, quiet output, and limits."""
    import resource

    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(scratch)
    quiet = os.open("output.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (quiet, 1), (quiet, 2)):
        os.dup2(source, target)
    sys.argv = ["python"]
    most = memory * MIB
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, SCRATCH_FILE_LIMIT),
        (resource.RLIMIT_DATA, most),
        # CUDA reserves far more addresses than it uses
        *(() if may_use_cuda(device) else ((resource.RLIMIT_AS, most + address_space()),)),
    ):
        _, hard = resource.getrlimit(limit)
        fits = hard == resource.RLIM_INFINITY or value <= hard
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value if fits else hard, hard))


def may_use_cuda(device: str) -> bool:
    if device.startswith("cuda"):
        return True
    return device == "auto" and sys.modules["torch"].backends.cuda.is_built()


def address_space() -> int:
    """What is mapped already, torch above all."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 4096 * MIB
    return pages * os.sysconf("SC_PAGE_SIZE")


def warm_up(device: str) -> None:
    """One small forward: an import alone leaves over a second of lazy imports to every child."""
    import torch

    for name in ("numpy.random", "torch.utils.serialization", "bufferize.verify.device.virtual"):
        # what every child would import itself
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module(name)

    # A pool of threads started here would hang in a forked child.
    torch.set_num_threads(1)
    with torch.no_grad():
        layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2), torch.nn.GELU())
        layers(torch.zeros(1, 2)).sum().item()
        saved = io.BytesIO()
        torch.save(copy.deepcopy(layers).state_dict(), saved)
        torch.load(io.BytesIO(saved.getvalue()), weights_only=False)
        if device == "virtual" or not (torch.version.cuda or torch.version.hip):
            activate = importlib.import_module("bufferize.verify.device").activate
            with contextlib.suppress(RuntimeError), activate("virtual") as accelerator:
                accelerator.move_module(layers)
    # a collection in a child would touch, and so copy, every page of ours
    gc.collect()
    gc.freeze()


def adopt_orphans() -> None:
    """Become the parent of processes that children leave behind, where the system can do that."""
    set_child_subreaper = 36
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def find_siblings() -> None:
    """Make our own files importable as `bufferize.verify.…`, without touching sys.path."""
    for name, folder in (("bufferize", HERE.parent), ("bufferize.verify", HERE)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    sys.modules["bufferize"].verify = sys.modules["bufferize.verify"]  # type: ignore[attr-defined]


def main(requests: int, answers: int) -> None:
    sys.dont_write_bytecode = True
    # the folder of this script, which Python puts first
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != HERE]
    channel = Channel(requests, answers)
    if sys.version_info < (3, 10):  # noqa: UP036  (the user's interpreter, not ours)
        channel.send({"cannot": f"Python {sys.version.split()[0]} is too old: 3.10 or later"})
        return
    try:
        import torch
    except Exception as error:
        channel.send({"cannot": f"torch: {type(error).__name__}: {error}"})
        return
    setup: list[dict[str, Any]] = []
    while not setup:
        lines = channel.read()
        if lines is None:
            return
        setup = lines
    adopt_orphans()
    find_siblings()
    warm = Warm(channel, setup[0])
    python = ".".join(map(str, sys.version_info[:3]))
    channel.send({"ready": {"torch": torch.__version__, "python": python}})
    for request in setup[1:]:
        warm.start(request)
    warm.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
