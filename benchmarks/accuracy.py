"""Runs the accuracy benchmarks of a folder and prints one table.

In: `--bench FOLDER`, which holds `inversion/` (invert.py, score.py), `oracle/` (score.py) and
`history/` (replay.py), each with its labels; `--work FOLDER` for downloads and outputs. Out: a
table on standard output; every script's own output is kept below the work folder. It refuses to
know how a benchmark scores: it runs the scripts and reads what they print.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PARTS = ("inversion", "oracle", "history")


def main() -> int:
    options = read_options()
    options.work.mkdir(parents=True, exist_ok=True)
    # the scripts call plain `bufferize`
    os.environ["PATH"] = os.pathsep.join((str(options.command.parent), os.environ["PATH"]))
    rows: list[tuple[str, str]] = []
    failed = False
    for part in options.parts:
        started = time.perf_counter()
        try:
            lines = RUNNERS[part](options)
        except BenchmarkFailed as error:
            failed, lines = True, [f"failed: {error}"]
        seconds = time.perf_counter() - started
        rows += [(part, line) for line in lines]
        rows.append((part, f"took {seconds:.0f} s"))
    print_table(rows)
    return 1 if failed else 0


class BenchmarkFailed(Exception):
    """A script did not end well; the message says which and where its output lies."""


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(tempfile.gettempdir()) / "bufferize-accuracy"
    parser.add_argument("--bench", type=Path, required=True, help="folder with the scripts")
    parser.add_argument("--work", type=Path, default=default, help=f"default: {default}")
    parser.add_argument("--repos", type=Path, help="bare repositories for the history part")
    parser.add_argument("--only", nargs="*", default=[], help="these packages of the inversion")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    beside = Path(sys.executable).with_name("bufferize")
    command = beside if beside.exists() else shutil.which("bufferize")
    if command is None:
        parser.error("there is no `bufferize` command: pip install it first")
    options.command = Path(command)
    options.bench, options.work = options.bench.resolve(), options.work.resolve()
    return options


def run_script(words: Sequence[str | Path], log: Path) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise BenchmarkFailed(f"{words[1]} exited with {done.returncode}; see {log}")
    return done.stdout


# --------------------------------------------------------------------------- the parts


def run_inversion(options: argparse.Namespace) -> list[str]:
    """Turned back into plain assignments, does the tool find what experts registered?"""
    scripts, work = options.bench / "inversion", options.work
    only = ["--only", *options.only] if options.only else []
    if not (work / "labels.jsonl").exists():
        words = [sys.executable, scripts / "invert.py", "--out", work, "--cache", work / "cache"]
        run_script([*words, *only], work / "invert.log")
    output = work / "tool"
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(work / "inverted", output)
    folders = sorted(p for p in output.glob("*/*") if p.is_dir())
    folders = [p for p in folders if not options.only or p.name in options.only]
    with ThreadPoolExecutor(options.processes) as pool:
        ends = list(pool.map(lambda folder: apply(options.command, folder), folders))
    words = [sys.executable, scripts / "score.py", "--inverted", work / "inverted"]
    words += ["--labels", work / "labels.jsonl", "--output", output]
    words += ["--misses", work / "misses.jsonl", "--extras", work / "extras.jsonl"]
    words += ["--package", *options.only] if options.only else []
    printed = run_script(words, work / "inversion.log")
    return [*(end for end in ends if end), *headline(printed)]


def apply(command: Path, folder: Path) -> str:
    """Empty when all went well, else one line."""
    words = [str(command), "apply", "--no-verify", "--quiet", "."]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode in (0, 4):
        return ""
    return f"{folder.name}: exit {done.returncode}: {done.stderr.strip()[-120:]}"


def headline(printed: str) -> list[str]:
    """The totals, which come before the slices."""
    lines = [line.rstrip() for line in printed.splitlines()]
    for i, line in enumerate(lines):
        if i and not line:
            return lines[:i]
    return lines


def run_oracle(options: argparse.Namespace) -> list[str]:
    """Tensors that real modules were seen to leave unregistered: which are registered now?"""
    command = f"{options.command} apply --no-verify --quiet ."
    words = [sys.executable, options.bench / "oracle" / "score.py", "--command", command]
    words += ["--cache", options.work / "oracle", "--json", options.work / "oracle.json"]
    printed = run_script(words, options.work / "oracle.log")
    return printed.splitlines()[-5:]


def run_history(options: argparse.Namespace) -> list[str]:
    """From the parent commit, does the tool make the rewrite that a human made?"""
    if options.repos is None:
        return ["left out: --repos names no folder of bare repositories"]
    words = [sys.executable, options.bench / "history" / "replay.py", "--repos", options.repos]
    words += ["--bufferize", options.command, "--json", options.work / "history.json"]
    printed = run_script(words, options.work / "history.log")
    return printed.splitlines()[-6:]


RUNNERS = {"inversion": run_inversion, "oracle": run_oracle, "history": run_history}


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(part) for part, _ in rows)
    last = ""
    for part, line in rows:
        print(f"{part if part != last else '':{width}}  {line}")
        last = part


if __name__ == "__main__":
    sys.exit(main())
