"""What people and programs read of a run. In: a `Report`. Out: bytes and an exit code.

The rooms of this folder choose words; they decide nothing, print nothing and open no file but the
notebook text that a diff of cells needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bufferize.model import Action, Answer, Failed, Report, Rewritten


def leave_plain(text: str, style: str) -> str:
    """The painter of a stream without colour."""
    return text


@dataclass(frozen=True, slots=True)
class View:
    """How a reader wants it."""

    quiet: bool = False
    verbose: bool = False
    # whether the document goes to a terminal: notebooks are then shown by cell
    terminal: bool = False
    paint_out: Callable[[str, str], str] = leave_plain
    paint_err: Callable[[str, str], str] = leave_plain


@dataclass(frozen=True, slots=True)
class Rendered:
    """The document, for standard output or a file, and the commentary, for standard error."""

    out: bytes
    err: str


def exit_code(report: Report) -> int:
    """0 to 5, the highest that applies."""
    code = 0
    if report.gate and has_something_to_do(report):
        code = 1
    if report.strict and report.verified and has_unproved(report):
        code = 3
    if report.failures or any(isinstance(outcome, Failed) for outcome in report.outcomes):
        code = 4
    if any(f.verdict and f.verdict.answer is Answer.REFUTED for f in report.findings):
        code = 5
    return code


def has_something_to_do(report: Report) -> bool:
    """`check` asks for findings, `diff --check` for rewrites."""
    if report.command == "check":
        return bool(report.findings)
    return any(isinstance(outcome, Rewritten) for outcome in report.outcomes)


def has_unproved(report: Report) -> bool:
    """Whether a rewrite was proved neither right nor wrong, also where no proof was reached."""
    return any(
        finding.verdict.answer is Answer.UNDECIDED
        if finding.verdict
        else finding.action is Action.REWRITE
        for finding in report.findings
    )
