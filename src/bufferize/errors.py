"""Errors that end a run, each with its exit code. Refusals are values, not errors."""

from __future__ import annotations


class BufferizeError(Exception):
    """bufferize cannot go on. The message is one line: what, where, what to do."""

    exit_code = 4


class UsageError(BufferizeError):
    """The command line or the configuration asks for something that does not exist."""

    exit_code = 2


class UnreadableFile(BufferizeError):
    """One file cannot be read or parsed; the run goes on without it."""

    def __init__(
        self,
        message: str,
        line: int | None = None,
        column: int | None = None,
        cell: int | None = None,
    ) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.cell = cell


class WriteError(BufferizeError):
    """A file could not be written; nothing of it was changed."""
