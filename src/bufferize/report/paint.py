"""Colour and progress, for terminals only. In: streams and wishes. Out: painters, a bar.

It alone imports rich, and only where colour or a bar is really shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO

from bufferize.report import leave_plain

Progress = Callable[[int, int], None]
# a run shorter than this shows no bar
PATIENCE = 1.0

STYLES: Mapping[str, str] = {
    "added": "green",
    "removed": "red",
    "hunk": "cyan",
    "head": "bold",
    "place": "bold",
    "good": "bold green",
    "bad": "bold red",
    "unsure": "bold yellow",
    "faint": "dim",
}


def choose_painter(color: str, stream: TextIO) -> Callable[[str, str], str]:
    return paint if wants_color(color, stream, os.environ) else leave_plain


def wants_color(color: str, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """--color first, then NO_COLOR and FORCE_COLOR, then whether the stream is a terminal."""
    if color != "auto":
        return color == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


def paint(text: str, style: str) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(STYLES[style]).render(text, color_system=ColorSystem.STANDARD)


@contextmanager
def show_progress(title: str, stream: TextIO, wanted: bool) -> Iterator[Progress | None]:
    """A bar on a terminal, once the work has taken a second; None where there is no terminal."""
    if not wanted or not stream.isatty():
        yield None
        return
    state = {"done": 0, "total": 0}

    def report(done: int, total: int) -> None:
        state.update(done=done, total=total)

    finished = Event()
    painter = Thread(target=draw, args=(title, stream, state, finished), daemon=True)
    painter.start()
    try:
        yield report
    finally:
        finished.set()
        painter.join()


def draw(title: str, stream: TextIO, state: Mapping[str, int], finished: Event) -> None:
    if finished.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(file=stream), transient=True) as bar:
        task = bar.add_task(title, total=None)
        while not finished.is_set():
            bar.update(task, completed=state["done"], total=state["total"] or None)
            time.sleep(0.1)
