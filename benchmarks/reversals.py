"""Where humans took a buffer back, does the tool make it one again?

In: `--bench FOLDER` with `history/reversals_dev.jsonl` (one attribute a row: repository, commit,
path, class, attribute, what became of it and why) and `--repos FOLDER` with bare git directories
owner+name/repo or owner+name.git. Out: a table by reason, and every row that the tool would turn
back into a buffer by default, with the reason it gives. Exits with 1 if such a row's reason is one
of GUARDED: a cast, complex values, a learnable value, data or cache, an alias, a shape that follows
the data. Runs nothing of the repositories: it reads the tree after the commit.

A row is `buffer` where the attribute is still registered afterwards (only the flag changed), `gone`
where nothing plain is left to register (a property, a Parameter), else `left` or `turned back`.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

# reasons after which a buffer would be wrong again, by words of the label
GUARDED = ("cast", "dtype", "complex", "learnable", "data or cache", "alias", "shape depends")
OUTCOMES = ("buffer", "gone", "left", "turned back")
_SOURCES = (b".py", b".toml", b".cfg", b".ipynb")


@dataclass(frozen=True)
class Scored:
    row: Row
    # one of OUTCOMES
    outcome: str
    # the tool's finding, where it has one
    finding: Row | None

    @property
    def is_guarded(self) -> bool:
        return guarded(self.row["reason"])


def main() -> int:
    options = read_options()
    rows = read_rows(options.bench / "history" / options.rows)
    by_commit: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_commit[row["repo"], row["commit"]].append(row)
    scored: list[Scored] = []
    missing: Counter[str] = Counter()
    for (repo, commit), group in sorted(by_commit.items()):
        git = find_repository(options.repos, repo)
        if git is None:
            missing[repo] += len(group)
            continue
        scored += score_commit(git, commit, group, [options.bufferize, *options.option])
    print_table(scored)
    for repo, count in sorted(missing.items()):
        print(f"no repository: {repo} ({count} rows)")
    wrong = print_exceptions(scored)
    if options.json:
        options.json.write_text(json.dumps([vars(item) for item in scored], indent=1))
    return 1 if wrong else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", type=Path, required=True, help="folder that holds history/")
    parser.add_argument("--repos", type=Path, required=True, help="folder of bare repositories")
    parser.add_argument("--rows", default="reversals_dev.jsonl", help="file below history/")
    parser.add_argument("--bufferize", default=find_command(), help="the command to run")
    parser.add_argument("--option", action="append", default=[], help="passed on, e.g. --unsafe")
    parser.add_argument("--json", type=Path, help="write every row's outcome there")
    return parser.parse_args()


def find_command() -> str:
    beside = Path(sys.executable).with_name("bufferize")
    return str(beside) if beside.exists() else shutil.which("bufferize") or "bufferize"


def read_rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


# --------------------------------------------------------------------------- repositories


def find_repository(folder: Path, name: str) -> Path | None:
    flat = name.replace("/", "+")
    for candidate in (folder / flat / "repo", folder / f"{flat}.git", folder / flat):
        if (candidate / "objects").exists():
            return candidate
    return None


def extract(git: Path, commit: str, tree: Path) -> None:
    """Writes the commit's sources below `tree`; blobs that the repository lacks stay away."""
    command = ["git", "-C", str(git), "ls-tree", "-r", "-z", commit]
    listing = subprocess.run(command, capture_output=True, check=True).stdout
    entries = [entry.split(b"\t", 1) for entry in listing.split(b"\0") if entry]
    wanted = [
        (meta.split()[2].decode(), name.decode("utf-8", "surrogateescape"))
        for meta, name in entries
        if meta.startswith(b"100") and name.endswith(_SOURCES)
    ]
    asked = "".join(f"{blob}\n" for blob, _ in wanted).encode()
    batch = ["git", "-C", str(git), "cat-file", "--batch"]
    answer = subprocess.run(batch, input=asked, capture_output=True, check=True).stdout
    start = 0
    for _, name in wanted:
        end = answer.index(b"\n", start)
        header = answer[start:end].split()
        start = end + 1
        if header[-1] == b"missing":
            continue
        size = int(header[2])
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer[start : start + size])
        start += size + 1


# --------------------------------------------------------------------------- one commit


def score_commit(
    git: Path, commit: str, rows: Sequence[Row], command: Sequence[str]
) -> list[Scored]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        tree = Path(scratch)
        extract(git, commit, tree)
        paths = sorted({row["path"] for row in rows if (tree / row["path"]).exists()})
        findings = check(command, tree, paths) if paths else []
        return [score_row(row, tree, findings) for row in rows]


def check(command: Sequence[str], tree: Path, paths: Iterable[str]) -> list[Row]:
    """The tool's findings; only the files at hand are judged, the rest of the tree is read."""
    words = [command[0], "check", "--format", "json", *command[1:], *paths]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True)
    if not done.stdout.strip():
        raise SystemExit(f"{' '.join(words)} said nothing: {done.stderr.strip()[-300:]}")
    findings: list[Row] = json.loads(done.stdout)["findings"]
    return findings


def score_row(row: Row, tree: Path, findings: Iterable[Row]) -> Scored:
    own = [
        finding
        for finding in findings
        if finding["path"] == row["path"]
        and finding["attribute"] == row["attr"]
        and last(finding["class"]) == last(row["cls"])
    ]
    rewritten = [finding for finding in own if finding["decision"] == "rewrite"]
    if rewritten:
        return Scored(row, "turned back", rewritten[0])
    buffers, plain = names_in(tree / row["path"], last(row["cls"]))
    finding = own[0] if own else None
    if row["attr"] in buffers:
        return Scored(row, "buffer", finding)
    return Scored(row, "left" if finding or row["attr"] in plain else "gone", finding)


def last(qualname: str) -> str:
    return qualname.rpartition(".")[2]


def names_in(path: Path, cls: str) -> tuple[set[str], set[str]]:
    """Names that class `cls` registers, and names it assigns on self."""
    buffers: set[str] = set()
    plain: set[str] = set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return buffers, plain
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call):
                    buffers |= registered_name(inner)
                elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    plain.add(inner.attr)
    return buffers, plain


def registered_name(call: ast.Call) -> set[str]:
    if not (isinstance(call.func, ast.Attribute) and call.func.attr == "register_buffer"):
        return set()
    words = {word.arg: word.value for word in call.keywords}
    name = words.get("name", call.args[0] if call.args else None)
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return {name.value}
    return set()


# --------------------------------------------------------------------------- what is printed


def print_table(scored: Sequence[Scored]) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for item in scored:
        counts[item.row["reason"]][item.outcome] += 1
    print(f"{'reason':72}{'rows':>5}" + "".join(f"{name:>12}" for name in OUTCOMES))
    order = sorted(counts, key=lambda reason: (not guarded(reason), -counts[reason].total()))
    for reason in order:
        mark = "* " if guarded(reason) else "  "
        numbers = "".join(f"{counts[reason][name]:12}" for name in OUTCOMES)
        print(f"{mark}{reason[:70]:70}{counts[reason].total():5}{numbers}")
    total: Counter[str] = Counter(item.outcome for item in scored)
    print(f"{'all':72}{len(scored):5}" + "".join(f"{total[name]:12}" for name in OUTCOMES))
    print("* not to be turned back by default")


def guarded(reason: str) -> bool:
    return any(words in reason for words in GUARDED)


def print_exceptions(scored: Iterable[Scored]) -> int:
    """Every row turned back; returns how many of them are guarded."""
    wrong = 0
    for item in scored:
        if item.outcome != "turned back" or item.finding is None:
            continue
        wrong += item.is_guarded
        row, finding = item.row, item.finding
        why = (finding["persistence_reason"] or {"id": ""})["id"]
        print(
            f"{'WRONG ' if item.is_guarded else ''}turned back: {row['repo']}@{row['commit'][:10]} "
            f"{row['path']}:{finding['line']} {row['cls']}.{row['attr']} "
            f"(persistent={finding['persistent']} {why}; {row['reason']})"
        )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
