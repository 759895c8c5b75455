"""Notebook bytes to Python text and back. It alone knows nbformat and IPython's magics.

`read_cells` joins the Python code cells to one text, line for line, with magics masked by harmless
Python. `replace_cells` puts changed cells back into the bytes: it finds where each cell's source
lies in the JSON and touches nothing else, so outputs, metadata, key order, indentation and escapes
stay as they are. It knows nothing of tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bufferize.errors import UnreadableFile
from bufferize.model import Cell, Failed
from bufferize.syntax import NEWLINE, next_logical_line, parse_text, too_deep

# Cell magics that run the rest of the cell as Python in the notebook's own namespace.
PYTHON_CELL_MAGICS = frozenset({"capture", "debug", "memit", "prun", "time", "timeit", "wandb"})

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")
_CELL_MAGIC = re.compile(r"%%(\w*)")
_LINE_MAGIC = re.compile(r"[ \t\f]*(?:[%!?]|[/,;](?=\w))|[ \t\f]*%?[\w.*]+\?\??[ \t]*(?:\r|\n|\Z)")
_ASSIGNED_MAGIC = re.compile(r"(?P<targets>[ \t\f]*[A-Za-z_][\w.,\[\]'\" \t]*?)[ \t]*=[ \t]*[!%]")
_ESCAPED = re.compile(r"\\u(?:00[89a-fA-F]|0[1-9a-fA-F]|[1-9a-fA-F])")
_BOM = "\ufeff"
_MAGIC_BODY = re.compile(r"(?:\\(?:\r\n|\r|\n)|[^\r\n])*")


@dataclass(frozen=True, slots=True)
class _Stored:
    """One cell as it lies in the JSON text: `source` is text[start:end]."""

    number: int
    start: int
    end: int
    source: str
    lines: tuple[str, ...] | None
    fields: Mapping[str, object]


def read_cells(data: bytes, name: str = "") -> tuple[str, tuple[Cell, ...], tuple[Failed, ...]]:
    """The Python text of a notebook, its code cells, and a warning for each cell masked whole.

    Raises UnreadableFile if the bytes are no notebook of format 4.
    """
    _, top, found = _scan(data)
    if not _is_python(top):
        return "", (), ()
    parts: list[str] = []
    cells: list[Cell] = []
    warnings: list[Failed] = []
    line = 1
    for stored in found:
        if not _is_python_cell(stored.fields):
            continue
        masked, warning = _mask(stored.source)
        count = len(NEWLINE.findall(stored.source)) + 1
        cells.append(Cell(stored.number, line, count, stored.source))
        parts.append(masked)
        line += count
        if warning is not None:
            warnings.append(Failed(name, *warning, cell=stored.number))
    return "".join(part + "\n" for part in parts), tuple(cells), tuple(warnings)


def replace_cells(data: bytes, sources: Mapping[int, str]) -> bytes:
    """`data` with the source of the cells in `sources` (by number from 1) replaced in place."""
    text, _, found = _scan(data)
    escaped = text.isascii() and _ESCAPED.search(text) is not None
    pieces: list[str] = []
    position = 0
    for stored in found:
        new = sources.get(stored.number)
        if new is None or new == stored.source:
            continue
        pieces.append(text[position : stored.start])
        pieces.append(_write_source(text[stored.start : stored.end], stored, new, escaped))
        position = stored.end
    pieces.append(text[position:])
    return "".join(pieces).encode("utf-8")


# Reading the JSON: where every cell's source lies.


def _scan(data: bytes) -> tuple[str, dict[str, object], tuple[_Stored, ...]]:
    """The text, the top-level fields without the cells, and the cells that have a source."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"broken notebook: not UTF-8 at byte {error.start}") from None
    try:
        return text, *_scan_text(text)
    except json.JSONDecodeError as error:
        message = f"broken notebook: not JSON ({error.msg})"
        raise UnreadableFile(message, error.lineno, error.colno - 1) from None
    except RecursionError:
        raise UnreadableFile("broken notebook: JSON nested too deeply") from None


def _scan_text(text: str) -> tuple[dict[str, object], tuple[_Stored, ...]]:
    start = _skip_blank(text, 1 if text.startswith(_BOM) else 0)
    top, end = _DECODER.raw_decode(text, start)
    end = _skip_blank(text, end)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    if not isinstance(top, dict):
        raise UnreadableFile("broken notebook: the file holds no JSON object")
    if top.get("nbformat") != 4:
        _refuse_format(top.get("nbformat"))
    if not isinstance(top.get("cells"), list):
        raise UnreadableFile("broken notebook: it has no list of cells")
    # of a key that stands twice the last one counts, as for every JSON reader in Python
    cells_at = {key: at for key, at, _ in _members(text, start)}["cells"]
    spans = _items(text, cells_at)
    found = (
        _scan_cell(text, number, at, fields)
        for number, (at, fields) in enumerate(zip(spans, top["cells"], strict=True), 1)
    )
    return top, tuple(cell for cell in found if cell is not None)


def _refuse_format(stated: object) -> None:
    if isinstance(stated, int) and not isinstance(stated, bool):
        raise UnreadableFile(
            f"notebook format {stated}: convert it first (jupyter nbconvert --to notebook)"
        )
    raise UnreadableFile("broken notebook: it states no nbformat")


def _scan_cell(text: str, number: int, start: int, fields: object) -> _Stored | None:
    if not isinstance(fields, dict) or not isinstance(fields.get("cell_type"), str):
        message = f"broken notebook: cell {number} has no cell_type"
        raise UnreadableFile(message, cell=number)
    if "source" not in fields:
        return None
    spans = {key: (at, end) for key, at, end in _members(text, start)}
    source = fields["source"]
    if isinstance(source, str):
        return _Stored(number, *spans["source"], source, None, fields)
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        return _Stored(number, *spans["source"], "".join(source), tuple(source), fields)
    raise UnreadableFile(f"broken notebook: the source of cell {number} is no text", cell=number)


def _members(text: str, start: int) -> Iterator[tuple[str, int, int]]:
    """(key, start of value, end of value) for every member of the object at `start`."""
    at = _skip_blank(text, start + 1)
    while not text.startswith("}", at):
        key, at = _DECODER.raw_decode(text, at)
        at = _skip_comma(text, at, ":")
        _, end = _DECODER.raw_decode(text, at)
        yield key, at, end
        at = _skip_comma(text, end, ",")


def _items(text: str, start: int) -> Iterator[int]:
    """Where every element of the array at `start` begins."""
    at = _skip_blank(text, start + 1)
    while not text.startswith("]", at):
        yield at
        _, end = _DECODER.raw_decode(text, at)
        at = _skip_comma(text, end, ",")


def _skip_comma(text: str, at: int, separator: str) -> int:
    at = _skip_blank(text, at)
    return _skip_blank(text, at + 1) if text.startswith(separator, at) else at


def _skip_blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


# Reading the cells: which are Python, and what of them is not.


def _is_python(top: Mapping[str, object]) -> bool:
    """Whether the kernel speaks Python; a notebook that does not say is taken for one that does."""
    metadata = top.get("metadata")
    if not isinstance(metadata, dict):
        return True
    for field, key in (("kernelspec", "language"), ("language_info", "name")):
        stated = metadata.get(field)
        value = stated.get(key) if isinstance(stated, dict) else None
        if isinstance(value, str) and value:
            return "python" in value.lower()
    return True


def _is_python_cell(fields: Mapping[str, object]) -> bool:
    if fields.get("cell_type") != "code":
        return False
    metadata = fields.get("metadata")
    editor = metadata.get("vscode") if isinstance(metadata, dict) else None
    language = editor.get("languageId") if isinstance(editor, dict) else None
    return language in (None, "python")


def _mask(source: str) -> tuple[str, tuple[str, int, int] | None]:
    """Python of as many lines as `source`; with (message, line, column) if nothing of it stays."""
    if _parses(source) is None:
        return source, None
    masked = _mask_magics(source)
    if masked is None:
        return _blank(source), None
    refused = _parses(masked)
    if refused is None:
        return masked, None
    said, line, column = refused
    return _blank(source), (f"cell passed over, not valid Python: {said}", line, column)


def _parses(text: str) -> tuple[str, int, int] | None:
    """None, or what is wrong and where."""
    try:
        if too_deep(text) is None:
            parse_text(text)
            return None
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        return " ".join(error.msg.split()), error.lineno or 1, column
    except (RecursionError, MemoryError, ValueError):
        pass
    return "nested too deeply or not text", 1, 0


def _mask_magics(source: str) -> str | None:
    """`source` with its magics replaced line for line; None if its cell magic takes it whole."""
    pieces: list[str] = []
    heading = True
    at = 0
    while at < len(source):
        magic = _CELL_MAGIC.match(source, at) if heading else None
        if magic is not None and magic.group(1) not in PYTHON_CELL_MAGICS:
            return None
        heading = heading and (magic is not None or _is_blank_line(source, at))
        end, harmless = _mask_line(source, at)
        # scanned afresh from here: what stands in a magic opens no bracket and no string
        following = next_logical_line(source, end)
        pieces.append(harmless + source[end:following])
        at = following
    return "".join(pieces)


def _is_blank_line(source: str, start: int) -> bool:
    return source.startswith(("\r", "\n"), _skip_spaces(source, start))


def _skip_spaces(source: str, start: int) -> int:
    while source.startswith((" ", "\t"), start):
        start += 1
    return start


def _mask_line(source: str, start: int) -> tuple[int, str]:
    """The end of the magic at `start`, continued lines included, and what stands in for it."""
    assigned = _ASSIGNED_MAGIC.match(source, start)
    if assigned is None and _LINE_MAGIC.match(source, start) is None:
        return start, ""
    end = _MAGIC_BODY.match(source, start).end()  # type: ignore[union-attr]
    breaks = "".join(NEWLINE.findall(source, start, end))
    if assigned is not None:
        return end, f"{assigned.group('targets')} = None{breaks}"
    return end, source[start : _skip_spaces(source, start)] + "pass" + breaks


def _blank(source: str) -> str:
    return "".join(NEWLINE.findall(source))


# Writing a cell back in the style it was stored in.


def _write_source(raw: str, stored: _Stored, new: str, escaped: bool) -> str:
    if stored.lines is None:
        return json.dumps(new, ensure_ascii=escaped or _is_escaped(raw))
    escaped = escaped or _is_escaped(raw)
    old, spans = stored.lines, list(_element_spans(raw))
    head = _shared_head(old, new)
    tail = _shared_tail(old[head:], new[len("".join(old[:head])) :])
    kept = new[len("".join(old[:head])) : len(new) - len("".join(old[len(old) - tail :]))]
    known = {line: raw[a:b] for line, (a, b) in zip(old, spans, strict=True)}
    fresh = [known.get(line) or json.dumps(line, ensure_ascii=escaped) for line in _lines(kept)]
    elements = [
        *(raw[a:b] for a, b in spans[:head]),
        *fresh,
        *(raw[a:b] for a, b in spans[len(old) - tail :]),
    ]
    lead = raw[1 : spans[0][0]] if spans else ""
    between = raw[spans[0][1] : spans[1][0]] if len(spans) > 1 else "," + (lead or " ")
    closing = raw[spans[-1][1] :] if spans else "]"
    return "[" + lead + between.join(elements) + closing


def _is_escaped(raw: str) -> bool:
    return raw.isascii() and _ESCAPED.search(raw) is not None


def _element_spans(raw: str) -> Iterator[tuple[int, int]]:
    for at in _items(raw, 0):
        yield at, _DECODER.raw_decode(raw, at)[1]


def _shared_head(old: tuple[str, ...], new: str) -> int:
    """How many elements from the first on begin `new` as well."""
    at = count = 0
    for line in old:
        # an element that does not end its line may have to be split elsewhere now
        if not new.startswith(line, at) or not line.endswith("\n"):
            break
        at += len(line)
        count += 1
    return count


def _shared_tail(old: tuple[str, ...], new: str) -> int:
    end, count = len(new), 0
    for line in reversed(old):
        before = new[: end - len(line)]
        if not new.endswith(line, 0, end) or (before and not before.endswith("\n")):
            break
        end -= len(line)
        count += 1
    return count


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"(?<=\n)", text) if line]
