"""An exception out of the analysis in, the file it was looking at out, as a `Failed`.

The rooms look at one class at a time, through files that it inherits from or mentions. Which of
them they held when they stumbled is read from the stack: the innermost frame speaks. It handles
no exception itself and refuses to know what any room does.
"""

from __future__ import annotations

import ast
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType

from bufferize.model import Failed, SourceFile

# fields by which rooms hold a file: `info.module.source`, `candidate.cls.module.source` ...
_LEADS = ("source", "module", "cls", "candidate")
_OWN = Path(__file__).parent


def blame(error: Exception, sources: Iterable[SourceFile]) -> tuple[SourceFile, Failed] | None:
    """The file of the run whose content the analysis could not handle; None if it held none."""
    known = {id(source): source for source in sources}
    line: int | None = None
    for frame in _innermost_first(error.__traceback__):
        values = list(frame.f_locals.values())
        line = line or next(filter(None, map(_line_of, values)), None)
        source = next((s for value in values for s in _leads_to(value, known)), None)
        if source is not None:
            return source, _failed(error, source, line)
    return None


def _innermost_first(trace: TracebackType | None) -> Iterator[FrameType]:
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    yield from reversed(frames)


def _leads_to(value: object, known: dict[int, SourceFile], steps: int = 4) -> Iterator[SourceFile]:
    if isinstance(value, SourceFile):
        if id(value) in known:
            yield value
    elif steps:
        for name in _LEADS:
            yield from _leads_to(_field(value, name), known, steps - 1)


def _line_of(value: object) -> int | None:
    cls = _field(value, "cls")
    nodes = (value, _field(value, "node"), _field(cls, "node"))
    return next((n.lineno for n in nodes if isinstance(n, ast.stmt | ast.expr)), None)


def _field(value: object, name: str) -> object:
    """A plain field of one of our own values: a property could run the analysis again."""
    own = type(value).__module__.startswith("bufferize.")
    if not own or isinstance(getattr(type(value), name, None), property):
        return None
    return getattr(value, name, None)


def _failed(error: Exception, source: SourceFile, line: int | None) -> Failed:
    if line is not None and line > source.text.count("\n") + 1:
        line = None
    cell = source.cell_at(line) if line is not None else None
    if line is not None and cell is not None:
        line -= cell.line - 1
    return Failed(source.name, _explain(error), line, None, cell.number if cell else None)


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply to be analysed: split the expression or exclude the file"
    if isinstance(error, MemoryError):
        return "takes more memory than there is: exclude the file"
    said = " ".join(str(error).split())
    return (
        "internal error, a bug in bufferize and not in your file: "
        f"{type(error).__name__}: {said} ({_place_in_bufferize(error)}); the file is left as it is"
    )


def _place_in_bufferize(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(_OWN)] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
