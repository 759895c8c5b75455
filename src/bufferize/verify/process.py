"""The warm process as seen from outside: started, written to, listened to, ended.

In: a plan and settings. Out: messages. It refuses to know what is asked and what the answers mean.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from bufferize.errors import BufferizeError
from bufferize.settings import Settings
from bufferize.verify.plan import Plan

WORKER = Path(__file__).with_name("worker.py")
# How long torch may take to be imported.
PATIENCE = 300.0


class Warm:
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
