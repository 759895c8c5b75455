"""Reports made by hand, for the tests of what people and programs read."""

from __future__ import annotations

from pathlib import Path

from bufferize.model import (
    Action,
    Answer,
    Evidence,
    Failed,
    Finding,
    Hazard,
    Level,
    Reason,
    Report,
    Rewritten,
    Safety,
    Site,
    SourceFile,
    Span,
    Unchanged,
    Verdict,
)

BEFORE = "self.mask = torch.ones(3)\n"
AFTER = 'self.register_buffer("mask", torch.ones(3), persistent=False)\n'
RANDOM = Reason("random", "random draws: a fresh construction would not reproduce them")
PURE = Reason("recomputable", "a pure function of constructor arguments and constants")


def site(attribute: str = "mask", line: int = 1, name: str = "model.py", **more: object) -> Site:
    span = Span(line, 0, line, 25)
    return Site(name, "model", "Attention", attribute, span, **more)  # type: ignore[arg-type]


def rewrite(attribute: str = "mask", line: int = 1, **more: object) -> Finding:
    fields = {"persistent": False, "reason": PURE, **more}
    place = fields.pop("site", None) or site(attribute, line)
    return Finding(place, Action.REWRITE, Safety.SAFE, **fields)


def skip(safety: Safety, *hazards: Hazard, line: int = 9, attribute: str = "scale") -> Finding:
    return Finding(site(attribute, line), Action.SKIP, safety, hazards=hazards)


SCALAR = Hazard(
    "zero-dim-constant", "a constant never written to", remedy="make it a Python number"
)
ALIAS = Hazard("aliases-parameter", "shares memory with weight", Safety.DISPLAY_ONLY, "model.py:7")
NOTE = Hazard("float-rounding", "bfloat16 rounds this table", Safety.SAFE)

CONFIRMED = Verdict(
    Answer.CONFIRMED,
    Level.RUNS_ON_DEVICE,
    evidence=(Evidence(Level.BUILDS, Answer.CONFIRMED, "equal bit for bit", "mask"),),
    cases="2 inputs, 2 seeds, arguments from model.py:40",
    device="virtual",
    old_error="RuntimeError: Expected all tensors to be on the same device",
)
UNDECIDED = Verdict(
    Answer.UNDECIDED,
    Level.IMPORTS,
    because="no arguments found for n_heads",
    suggestion='"model:Attention" = [{ construct = "Attention(...)" }]',
)
REFUTED = Verdict(
    Answer.REFUTED,
    Level.IMPORTS,
    evidence=(Evidence(Level.BUILDS, Answer.REFUTED, "float64 became float32", "mask"),),
    because="the value differs after construction",
)


def source(name: str = "model.py", text: str = BEFORE, path: Path | None = None) -> SourceFile:
    return SourceFile(path or Path(name), name, text.encode(), text)


def rewritten(*findings: Finding, name: str = "model.py", path: Path | None = None) -> Rewritten:
    return Rewritten(source(name, BEFORE, path), AFTER.encode(), AFTER, findings)


def unchanged(*findings: Finding, name: str = "other.py") -> Unchanged:
    return Unchanged(source(name), findings)


def full_report(command: str = "diff", **more: object) -> Report:
    """One of everything that is not a proof."""
    findings = (
        rewrite("mask", 1, hazards=(NOTE,), chain=("torch.ones(3)", "torch.ones gives a tensor")),
        rewrite("noise", 4, persistent=True, reason=RANDOM),
        skip(Safety.UNSAFE, SCALAR, attribute="scale"),
        skip(Safety.DISPLAY_ONLY, ALIAS, attribute="tied", line=12),
    )
    outcomes = (
        rewritten(*findings),
        Failed("broken.py", "not valid Python: invalid syntax", 3, 4),
        Unchanged(source("other.py"), warnings=(Failed("other.py", "unused pragma", 5, 0),)),
    )
    return Report(command, outcomes, **more)  # type: ignore[arg-type]


def proved(verdict: Verdict, command: str = "apply", **more: object) -> Report:
    finding = rewrite(verdict=verdict)
    return Report(command, (rewritten(finding),), verified=True, **more)  # type: ignore[arg-type]
