"""Bytes in, `SourceFile`s out, newlines kept; UnreadableFile says in one line why not."""

from __future__ import annotations

import codecs
import errno
import io
import re
import stat
import tokenize
from pathlib import Path

from bufferize.errors import UnreadableFile
from bufferize.model import SourceFile
from bufferize.notebooks import read_cells

SIZE_LIMIT = 4 * 1024 * 1024
# notebooks hold pictures: only their Python text falls under SIZE_LIMIT
NOTEBOOK_LIMIT = 128 * 1024 * 1024

_WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
# every text that decodes from these encodes to the same bytes again
_EXACT = frozenset({"utf-8", "utf-8-sig", "iso-8859-1", "ascii"})
_BYTE_NEWLINE = re.compile(rb"\r\n|\r|\n")


def read_source(path: Path, name: str, *, whole: bool = False) -> SourceFile:
    """The file as a SourceFile, newlines kept; `whole` lifts the size limit.

    Raises UnreadableFile with one line: what is wrong, where, and what to do.
    """
    data = _read_bytes(path, whole)
    if path.suffix == ".ipynb":
        return _from_notebook(path, name, data, whole)
    return _from_python(path, name, data)


def stdin_source(data: bytes, name: str) -> SourceFile:
    """Standard input as a SourceFile; `name` says whether it is a notebook."""
    path = Path(name)
    if path.suffix == ".ipynb":
        return _from_notebook(path, name, data, whole=True)
    return _from_python(path, name, data)


def _read_bytes(path: Path, whole: bool) -> bytes:
    limit = NOTEBOOK_LIMIT if path.suffix == ".ipynb" else SIZE_LIMIT
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableFile("not a regular file")
        if status.st_size > limit and not whole:
            raise UnreadableFile(_too_large(status.st_size, limit))
        return path.read_bytes()
    except FileNotFoundError:
        gone = "a link to nowhere" if path.is_symlink() else "the file has vanished"
        raise UnreadableFile(f"cannot be read: {gone}") from None
    except RuntimeError:
        raise UnreadableFile("cannot be read: the link leads back to itself") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableFile("cannot be read: the link leads back to itself") from None
        reason = error.strerror or type(error).__name__
        raise UnreadableFile(f"cannot be read: {reason}") from None


def _too_large(size: int, limit: int) -> str:
    mib = 1024 * 1024
    return (
        f"{size / mib:.1f} MB, over the limit of {limit // mib} MB for one file: "
        "exclude it, or name the file itself to take it anyway"
    )


def _from_python(path: Path, name: str, data: bytes) -> SourceFile:
    encoding = _find_encoding(data)
    text = _decode(data, encoding)
    if "\0" in text:
        line, column = _place(data, data.index(b"\0"))
        raise UnreadableFile("a null byte: not Python source", line, column)
    if encoding not in _EXACT and text.encode(encoding) != data:
        raise UnreadableFile(f"does not survive a round trip through {encoding}: convert to UTF-8")
    return SourceFile(path, name, data, text, encoding)


def _find_encoding(data: bytes) -> str:
    if data.startswith(_WIDE_BOMS):
        raise UnreadableFile("UTF-16 or UTF-32: Python source has to be converted to UTF-8", 1, 0)
    # the declaration stands in the first two lines, whichever newline ends them
    head = _BYTE_NEWLINE.sub(b"\n", data[:4096])
    first_two = b"\n".join(head.split(b"\n")[:2])
    if not data.startswith(codecs.BOM_UTF8) and b"coding" not in first_two:
        return "utf-8"
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(first_two + b"\n").readline)
        codecs.lookup(encoding)
    except (SyntaxError, LookupError) as error:
        raise UnreadableFile(f"encoding not understood: {error}", 1, 0) from None
    return encoding


def _decode(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _place(data, error.start)
        message = f"not {encoding}: declare the file's encoding on line 1 or convert it to UTF-8"
        raise UnreadableFile(message, line, column) from None
    except (LookupError, ValueError) as error:
        raise UnreadableFile(f"encoding {encoding} cannot be used: {error}", 1, 0) from None


def _place(data: bytes, offset: int) -> tuple[int, int]:
    breaks = list(_BYTE_NEWLINE.finditer(data, 0, offset))
    return len(breaks) + 1, offset - (breaks[-1].end() if breaks else 0)


def _from_notebook(path: Path, name: str, data: bytes, whole: bool) -> SourceFile:
    text, cells, warnings = read_cells(data, name)
    if len(text) > SIZE_LIMIT and not whole:
        raise UnreadableFile(_too_large(len(text), SIZE_LIMIT))
    return SourceFile(path, name, data, text, "utf-8", cells, warnings)
