"""The command line. In: argv, standard input. Out: streams, files and an exit code.

Options become `Settings`; a `Report` becomes text. It decides nothing, and nothing below it sees
click. Rooms are imported when a command runs, so that `--help` waits for no parser.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from bufferize.errors import BufferizeError, UsageError, WriteError
from bufferize.model import Failed, FileChange, FileOutcome, Report, Rewritten
from bufferize.report import Rendered, View, exit_code, leave_plain
from bufferize.settings import Settings, is_device, load_settings

if TYPE_CHECKING:
    from bufferize.report.paint import Progress

STDIN = "-"
INTERRUPTED = 130
Command = TypeVar("Command", bound=Callable[..., None])


class Guarded(click.Group):
    """Turns what a command raises into one line and an exit code.

    A Python program that dies exits with 1, which here means that `check` found something.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BufferizeError as error:
            click.echo(f"bufferize: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("bufferize: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            click.echo(describe_bug(error), err=True)
            ctx.exit(BufferizeError.exit_code)


def describe_bug(error: Exception) -> str:
    trace = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    with tempfile.NamedTemporaryFile(prefix="bufferize-", suffix=".log", delete=False) as log:
        log.write(trace)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    whose = "internal error, a bug in bufferize and not in your files"
    return f"bufferize: {whose}: {what}; see {log.name}"


def check_device(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_device(value):
        raise click.BadParameter(f"{value!r} is not auto, cuda, cuda:N or virtual")
    return value


# None stands for "not given": the configuration speaks then
OUTPUT_OPTIONS = (
    click.option("--format", type=click.Choice(["text", "json"]), help="default: text"),
    click.option("--output", type=click.Path(path_type=Path), help="write there, not to stdout"),
    click.option("--quiet", is_flag=True, default=None, help="only errors, and the diff itself"),
    click.option("--verbose", is_flag=True, default=None, help="evidence and chains too"),
    click.option("--color", type=click.Choice(["auto", "always", "never"]), help="default: auto"),
)
SEARCH_OPTIONS = (
    click.option("--config", type=click.Path(path_type=Path), help="instead of pyproject.toml"),
    click.option("--exclude", multiple=True, metavar="GLOB", help="leave these files out"),
    click.option("--jobs", type=click.IntRange(min=1), help="processes at a time; default: 2"),
    click.option("--select", multiple=True, metavar="ID", help="report only these hazards"),
    click.option("--ignore", multiple=True, metavar="ID", help="do not report these hazards"),
    click.option("--python", metavar="EXE", help="the interpreter whose packages the code uses"),
    click.option("--changed-only", is_flag=True, default=None, help="only files changed since REV"),
    click.option("--base", metavar="REV", help="merge base of REV and HEAD; =REV: exactly REV"),
)
REWRITE_OPTIONS = (
    click.option(
        "--persistent",
        type=click.Choice(["auto", "never", "always"]),
        help="the flag of all buffers; auto: by a reason for each",
    ),
    click.option(
        "--style",
        type=click.Choice(["register_buffer", "nn.Buffer"]),
        help="how registrations are written",
    ),
    click.option("--unsafe/--no-unsafe", default=None, help="rewrite what is held back"),
)
PROOF_OPTIONS = (
    click.option("--strict", is_flag=True, default=None, help="undecided is a failure: exit 3"),
    click.option(
        "--device",
        callback=check_device,
        metavar="auto|cuda[:N]|virtual",
        help="where the proof runs; auto: CUDA if there is one",
    ),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), help="seconds per class"),
    click.option("--memory", type=click.IntRange(min=1), help="MiB per class"),
    click.option("--seed", type=click.IntRange(min=0), help="of the first construction"),
)
PATHS = (click.argument("paths", nargs=-1, type=click.Path(exists=True, allow_dash=True)),)
FILENAME = (click.option("--stdin-filename", metavar="NAME", help="what - is called"),)


def with_options(*groups: Sequence[Callable[[Any], Any]]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bufferize", prog_name="bufferize")
def main() -> None:
    """Find tensors that PyTorch modules forget, register them as buffers, prove each rewrite."""


@main.command()
@with_options(PATHS, FILENAME, OUTPUT_OPTIONS, SEARCH_OPTIONS, REWRITE_OPTIONS, PROOF_OPTIONS)
@click.option("--verify", "proof", is_flag=True, help="prove the proposals; runs your code")
@click.option("--check", "gate", is_flag=True, help="exit 1 if anything would be rewritten")
def diff(paths: tuple[str, ...], proof: bool, gate: bool, **options: Any) -> None:
    """Show what `apply` would change, as a unified diff."""
    settings = read_settings(paths, options)
    report = find(settings)
    if proof:
        report = prove(report, settings)
    finish(replace(report, command="diff", gate=gate), settings)


@main.command()
@with_options(PATHS, FILENAME, OUTPUT_OPTIONS, SEARCH_OPTIONS, REWRITE_OPTIONS)
def check(paths: tuple[str, ...], **options: Any) -> None:
    """List the findings, one a line."""
    settings = read_settings(paths, options)
    finish(replace(find(settings), command="check", gate=True), settings)


@main.command()
@with_options(PATHS, FILENAME, OUTPUT_OPTIONS, SEARCH_OPTIONS, REWRITE_OPTIONS, PROOF_OPTIONS)
@click.option("--verify/--no-verify", "proof", default=True, help="prove first; runs your code")
def apply(paths: tuple[str, ...], proof: bool, **options: Any) -> None:
    """Prove the rewrites, then write those that were not refuted."""
    settings = read_settings(paths, options)
    report = find(settings)
    if proof:
        report = prove(report, settings)
    if settings.stdin is None:
        report = write(report)
    finish(replace(report, command="apply"), settings)


@main.command(short_help="Prove what changed since a git revision.")
@with_options(PATHS, OUTPUT_OPTIONS, SEARCH_OPTIONS, REWRITE_OPTIONS, PROOF_OPTIONS)
@click.option("--before", type=click.Path(exists=True, path_type=Path), help="instead of git")
def verify(paths: tuple[str, ...], before: Path | None, **options: Any) -> None:
    """Prove the working tree against a git revision, or against the folder --before."""
    settings = read_settings(paths, options)
    changes = read_changes(settings, before)
    report = prove_changes(changes, settings)
    finish(replace(report, command="verify"), settings)


@main.command(short_help="Say what was decided about WHAT, and why.")
@click.argument("what")
@with_options(OUTPUT_OPTIONS, SEARCH_OPTIONS, REWRITE_OPTIONS)
def explain(what: str, **options: Any) -> None:
    """Say why: a hazard or reason id, FILE.py:LINE, or pkg.mod:Class.attr."""
    from bufferize.hazards import registry
    from bufferize.report.explain import explain_findings, explain_rule, pick, read_question
    from bufferize.report.text import summary

    question = read_question(what)
    if question is None:
        settings = read_settings((), options)
        emit(Rendered(explain_rule(what, registry(), settings.format), ""), settings)
        return
    settings = read_settings((question.path,) if question.path else (), options)
    report = replace(find(settings), command="explain")
    if settings.format == "json":
        finish(pick(question, report), settings)
    errors = summary(report, View(quiet=True))
    emit(Rendered(explain_findings(question, report), errors), settings)
    click.get_current_context().exit(exit_code(report))


def read_settings(paths: Sequence[str], options: Mapping[str, Any]) -> Settings:
    """Settings of what was given; `-` among the paths stands for standard input."""
    given = {key: value for key, value in options.items() if value not in (None, ())}
    name = given.pop("stdin_filename", None)
    if STDIN not in paths:
        if name:
            raise UsageError("--stdin-filename names standard input: give - as the path")
        for path in paths:
            if not os.path.lexists(path):
                raise UsageError(f"{path}: no such file or folder")
        return load_settings(given, [Path(path) for path in paths] or [Path()])
    if len(paths) > 1:
        raise UsageError("- stands alone: standard input is one file")
    given["stdin"] = sys.stdin.buffer.read()
    return load_settings(given, [Path(name or "stdin.py")])


def find(settings: Settings) -> Report:
    from bufferize import pipeline

    with watch("looking for tensors", settings):
        return pipeline.find(settings)


def prove(report: Report, settings: Settings) -> Report:
    from bufferize import pipeline

    with watch("proving", settings) as progress:
        return replace(pipeline.prove(report, settings, progress), verified=True)


def write(report: Report) -> Report:
    from bufferize import pipeline

    changed = any(isinstance(outcome, Rewritten) for outcome in report.outcomes)
    return replace(pipeline.write(report), written=changed)


def read_changes(settings: Settings, before: Path | None) -> tuple[FileChange, ...]:
    from bufferize.revisions import changes_between, changes_since

    if before is None:
        return changes_since(settings)
    if len(settings.paths) != 1:
        raise UsageError("--before compares with one folder: give one path")
    return changes_between(before, settings.paths[0])


def prove_changes(changes: Sequence[FileChange], settings: Settings) -> Report:
    """A change whose new version cannot be read is a failure; the others are proved."""
    from bufferize import pipeline

    broken = tuple(change.problem for change in changes if change.problem)
    readable = tuple(change for change in changes if not change.problem)
    with watch("proving", settings) as progress:
        report = pipeline.verify(readable, settings, progress)
    failures = report.failures + broken
    return replace(report, failures=failures, verified=True)


def finish(report: Report, settings: Settings) -> NoReturn:
    """Says what the report says, and ends with its exit code."""
    from bufferize.report import json, text

    report = replace(report, strict=settings.strict)
    view = choose_view(settings)
    rendered = text.render(report, view)
    if settings.format == "json":
        rendered = Rendered(json.render(report), text.summary(report, view))
    if report.command == "apply" and settings.stdin is not None:
        # standard output is the rewritten file, so the report gives way to it
        write_stdout(b"".join(result_of(outcome) for outcome in report.outcomes))
        if settings.output is None:
            rendered = Rendered(b"", rendered.out.decode("utf-8", "replace") + rendered.err)
    emit(rendered, settings)
    click.get_current_context().exit(exit_code(report))


def choose_view(settings: Settings) -> View:
    from bufferize.report.paint import choose_painter

    to_file = settings.output is not None
    paint_out = choose_painter(settings.color, sys.stdout)
    return View(
        quiet=settings.quiet,
        verbose=settings.verbose,
        terminal=sys.stdout.isatty() and not to_file,
        paint_out=leave_plain if to_file and settings.color != "always" else paint_out,
        paint_err=choose_painter(settings.color, sys.stderr),
    )


def result_of(outcome: FileOutcome) -> bytes:
    if isinstance(outcome, Failed):
        return b""
    return outcome.data if isinstance(outcome, Rewritten) else outcome.source.data


def emit(rendered: Rendered, settings: Settings) -> None:
    if settings.output is None:
        write_stdout(rendered.out)
    else:
        try:
            settings.output.write_bytes(rendered.out)
        except OSError as error:
            raise WriteError(f"{settings.output}: cannot be written: {error.strerror}") from error
    text = rendered.err.encode("utf-8", "backslashreplace")
    sys.stderr.buffer.write(text)
    sys.stderr.buffer.flush()


def write_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # the reader, `head` perhaps, has seen enough; Python's own flush at exit must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def watch(title: str, settings: Settings) -> AbstractContextManager[Progress | None]:
    from bufferize.report.paint import show_progress

    return show_progress(title, sys.stderr, wanted=not settings.quiet)
