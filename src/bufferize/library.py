"""The functions that `import bufferize` offers: text in, values out. Touches no stream and no argv.

They go through the same corridor as the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bufferize.model import FileOutcome, Verdict
from bufferize.settings import Settings


def rewrite_source(
    text: str, filename: str = "module.py", settings: Settings | None = None
) -> FileOutcome:
    """What becomes of one file: `Rewritten` (with its new `text`), `Unchanged` or `Failed`.

    Runs nothing of it. A `filename` that ends in .ipynb takes and gives a notebook's JSON; the
    file need not exist.
    """
    from bufferize import pipeline

    settings = settings or Settings()
    given = text.encode("utf-8", "surrogatepass")
    report = pipeline.find(replace(settings, paths=(Path(filename),), stdin=given))
    return (*report.outcomes, *report.failures)[0]


def verify_pair(
    before: str, after: str, filename: str = "module.py", settings: Settings | None = None
) -> Mapping[str, Verdict]:
    """The verdict on every class whose registered buffers differ between two versions of a file.

    Runs both versions in child processes. Raises BufferizeError where nothing can be proved at
    all: a version that cannot be parsed, an interpreter without torch.
    """
    from bufferize.errors import BufferizeError
    from bufferize.revisions import make_change
    from bufferize.verify import verify_changes

    sides = [text.encode("utf-8", "surrogatepass") for text in (before, after)]
    change = make_change(Path(filename), *sides)
    if change is None:
        return {}
    if change.problem is not None:
        raise BufferizeError(f"{change.problem.name}: {change.problem.message}")
    if change.before is None:
        raise BufferizeError(f"{change.name}: the version before cannot be parsed")
    verdicts = verify_changes([change], settings or Settings()).verdicts
    return {cls: verdict for (_, cls), verdict in verdicts.items()}
