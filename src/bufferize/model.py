"""Every value that walks through the rooms. Imports the standard library only.

Glossary (one word per idea, used everywhere):

site        where an attribute is assigned: file, class, attribute, span
candidate   a site whose value may be a tensor
hazard      a reason why registering at a site could change or break the program
finding     what was decided about one site, with every reason: what people read
edit        one change of one statement, by position; `rewrite` alone applies it
decision    a finding's action: rewrite, skip or suggest
outcome     what became of one file: unchanged, rewritten or failed
verdict     what the proof said about a rewritten class: confirmed, refuted or undecided

Everything is frozen all the way down: tuples and strings, never a list or a syntax node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

SCHEMA_VERSION = "1.0"


class Text(str, Enum):
    """A string enum that prints as its value (enum.StrEnum needs Python 3.11)."""

    def __str__(self) -> str:
        return str(self.value)


class Action(Text):
    REWRITE = "rewrite"
    SKIP = "skip"
    SUGGEST = "suggest"


class Safety(Text):
    """Ruff's three classes. A hazard of class SAFE is a note: it informs and holds nothing back."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY_ONLY = "display-only"


class Answer(Text):
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    CONFIRMED = "confirmed"


class Level(Text):
    """How far a proof got, in order."""

    NOTHING = "nothing"
    IMPORTS = "imports"
    BUILDS = "builds"
    STATE = "state"
    MOVES = "moves"
    RUNS = "runs"
    RUNS_ON_DEVICE = "runs on the device"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of text: lines from 1, columns from 0, in code points; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One Python code cell of a notebook, as it lies in `SourceFile.text`."""

    # position among all cells of the notebook (markdown too), from 1
    number: int
    # first line of the cell in SourceFile.text, from 1, and how many lines it has there
    line: int
    lines: int
    # the cell's source as stored, magics included; line-aligned with its part of SourceFile.text
    source: str


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file as read. `text` is Python: of a notebook, its code cells joined, magics masked."""

    path: Path
    # the path as users see it: relative to the current directory where possible, posix slashes
    name: str
    data: bytes
    text: str
    encoding: str = "utf-8"
    # None for .py files
    cells: tuple[Cell, ...] | None = None
    # what was passed over in it: notebook cells that hold no valid Python
    warnings: tuple[Failed, ...] = ()

    @property
    def is_notebook(self) -> bool:
        return self.cells is not None

    def cell_at(self, line: int) -> Cell | None:
        """The cell that holds `line` of `text`, None in a plain file."""
        for cell in self.cells or ():
            if cell.line <= line < cell.line + cell.lines:
                return cell
        return None


@dataclass(frozen=True, slots=True)
class Failed:
    """A file or class that could not be handled: what, where, what to do, in one line."""

    name: str
    message: str
    line: int | None = None
    column: int | None = None
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    module: str
    cls: str
    attribute: str
    span: Span
    # notebook cell number, None in a plain file; line_in_cell counts from the cell's first line
    cell: int | None = None
    line_in_cell: int | None = None


@dataclass(frozen=True, slots=True)
class Hazard:
    id: str
    text: str
    safety: Safety = Safety.UNSAFE
    # where the evidence stands, as "file.py:12", or empty
    where: str = ""
    # what the user can do to make it safe, or empty
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the persistent flag is what it is."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Registration:
    """One `register_buffer` call to be written."""

    # Python source of the first argument: '"mask"' or 'f"pos_{i}"'
    name: str
    # the value: a span of the file's text, or Python source such as 'None' or 'cos'
    value: Span | str
    persistent: bool
    # a method call appended to the value: '.clone()', '.contiguous()' or ''
    suffix: str = ""


class EditKind(Text):
    # the statement at `span` gives way to `bind` (if any) and the registrations
    REPLACE = "replace"
    # the statement at `span` goes, with its line if nothing else stands there; a body left
    # empty gets `pass`
    DELETE = "delete"
    # as REPLACE, but the new statements stand after the statement that ends at `after`
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Edit:
    """One changed statement. Several edits of a file never overlap."""

    kind: EditKind
    span: Span
    receiver: str = "self"
    registrations: tuple[Registration, ...] = ()
    # (targets, value): local names bound before the registrations: ('cos, sin', span of the value)
    bind: tuple[str, Span] | None = None
    # for MOVE: the span of the statement to stand behind
    after: Span | None = None
    # '' writes self.register_buffer(...); 'nn.Buffer' writes self.x = nn.Buffer(...) with that name
    constructor: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One check of the proof."""

    level: Level
    answer: Answer
    text: str
    # which attribute it speaks of, or empty for the whole class
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the proof said about one class."""

    answer: Answer
    # the highest level passed
    level: Level
    evidence: tuple[Evidence, ...] = ()
    # where arguments and inputs came from: "2 inputs, 2 seeds, arguments from tests/test_m.py:14"
    cases: str = ""
    # 'cuda:0', 'virtual' ..., or empty when no device was reached
    device: str = ""
    # the old version's error on the device, when the new one works there
    old_error: str = ""
    # why it is undecided or refuted, one line
    because: str = ""
    # the line to add to the configuration when arguments or inputs could not be found
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    site: Site
    action: Action
    safety: Safety
    persistent: bool | None = None
    reason: Reason | None = None
    hazards: tuple[Hazard, ...] = ()
    # the change, also for an unsafe finding that is held back
    edits: tuple[Edit, ...] = ()
    # how it is known to be a tensor in a module, from the assignment to the call that made it
    chain: tuple[str, ...] = ()
    # ids of all hazards that were looked for
    looked_for: tuple[str, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    source: SourceFile
    findings: tuple[Finding, ...] = ()
    # unused pragmas and the like: one line each
    warnings: tuple[Failed, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewritten:
    source: SourceFile
    # the new file, byte for byte, and its Python text (line-aligned with cells for a notebook)
    data: bytes
    text: str
    findings: tuple[Finding, ...] = ()
    warnings: tuple[Failed, ...] = ()


FileOutcome = Unchanged | Rewritten | Failed


@dataclass(frozen=True, slots=True)
class Expected:
    """What the rewrite of one attribute promises: the keys of the state_dict follow from it."""

    cls: str
    attribute: str
    persistent: bool
    line: int = 0


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after, for the proof. None where the file is absent on that side."""

    path: Path
    name: str
    # dotted name it is imported under, and the folder to put on sys.path for it
    module: str
    root: Path
    before: str | None
    after: str | None
    expected: tuple[Expected, ...] = ()
    is_notebook: bool = False
    # the cells of a notebook on either side, by which places in it are told
    before_cells: tuple[Cell, ...] = ()
    after_cells: tuple[Cell, ...] = ()
    # why the version after cannot be read (then `after` is None): reported, not proved
    problem: Failed | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One way to build a class and call it, as Python source run in the namespace of its module."""

    # where it comes from, as people read it: 'tests/test_m.py:14', 'configuration', 'signature'
    source: str
    # the constructor call, such as 'Attention(d_in, 2, dropout=0.0)'
    construct: str
    # calls of the module as argument lists: ('x', 'x, mask=None'); empty: inputs are to be probed
    inputs: tuple[str, ...] = ()
    # statements to run first: plain assignments and imports that the names above need, in order
    setup: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run has to say. `report/` renders it; the exit code follows from it."""

    command: str
    outcomes: tuple[FileOutcome, ...] = ()
    # failures that belong to no file of the tree
    failures: tuple[Failed, ...] = ()
    verified: bool = False
    written: bool = False
    strict: bool = False
    # whether finding something is itself the failure: `check`, `diff --check`
    gate: bool = False
    seconds: float = 0.0
    # one line that says on which device and torch the proof ran, or empty
    proof: str = ""
    notes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(f for o in self.outcomes if not isinstance(o, Failed) for f in o.findings)
