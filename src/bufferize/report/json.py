"""The report as one JSON document. In: a `Report`. Out: bytes that schema.json describes.

It refuses to know colour, terminals and how much a reader wants to see: programs get everything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import bufferize
from bufferize.model import SCHEMA_VERSION, Failed, Finding, Report, Verdict
from bufferize.report import exit_code
from bufferize.report.tally import count, failures, in_order, line_of, warnings


def render(report: Report) -> bytes:
    return dump(
        {
            "schema_version": SCHEMA_VERSION,
            "tool": {"name": "bufferize", "version": bufferize.__version__},
            "command": report.command,
            "exit_code": exit_code(report),
            "verified": report.verified,
            "written": report.written,
            "proof": report.proof,
            "summary": asdict(count(report)),
            "findings": [finding_entry(finding) for finding in in_order(report.findings)],
            "failures": [failed_entry(failed) for failed in failures(report)],
            "warnings": [failed_entry(warning) for warning in warnings(report)],
            "notes": list(report.notes),
        }
    )


def dump(document: Mapping[str, object]) -> bytes:
    # escapes keep paths that are no UTF-8 (lone surrogates) valid JSON
    return (json.dumps(document, indent=2) + "\n").encode("ascii")


def finding_entry(finding: Finding) -> dict[str, object]:
    site, line = finding.site, line_of(finding)
    return {
        "path": site.name,
        "cell": site.cell,
        "line": line,
        "column": site.span.column + 1,
        "end_line": line + site.span.end_line - site.span.line,
        "end_column": site.span.end_column + 1,
        "module": site.module,
        "class": site.cls,
        "attribute": site.attribute,
        "decision": str(finding.action),
        "persistent": finding.persistent,
        "persistence_reason": asdict(finding.reason) if finding.reason else None,
        "safety": str(finding.safety),
        "hazards": [asdict(hazard) for hazard in finding.hazards],
        "chain": list(finding.chain),
        "verdict": str(finding.verdict.answer) if finding.verdict else None,
        "evidence": [asdict(check) for check in finding.verdict.evidence]
        if finding.verdict
        else [],
        "proof": proof_entry(finding.verdict) if finding.verdict else None,
    }


def proof_entry(verdict: Verdict) -> dict[str, object]:
    """What stands behind a verdict besides its single checks."""
    entry = asdict(verdict)
    del entry["answer"], entry["evidence"]
    return entry


def failed_entry(failed: Failed) -> dict[str, object]:
    return {
        "path": failed.name,
        "cell": failed.cell,
        "line": failed.line,
        "column": None if failed.column is None else failed.column + 1,
        "message": failed.message,
    }
