"""Runs `bufferize apply --no-verify` over published packages and checks what it left behind.

In: pinned packages, downloaded as wheels with pip into a cache folder; nothing of them is imported
or run, and nothing is written beside the cache. Out: a table, one line for each mistake, and the
decisions at four sites that experts have opinions on. Exits with 1 if a check failed.

For each package: the exit code is 0, or 4 with only files that this Python cannot parse either
(run it under a new one); every other file still compiles; a second run changes nothing; no
registered value is something else than a tensor by its spelling.
"""

from __future__ import annotations

import argparse
import ast
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

PACKAGES = (
    "speechbrain==1.1.2",
    "lerobot==0.6.1",
    "pyro-ppl==1.9.2",
    "timm==1.0.31",
    "x-transformers==2.31.10",
)

# package, class, attribute: decided with a reason, one way or the other
SITES = (
    ("speechbrain", "ContextWindow", "kernel"),
    ("speechbrain", "KeyValueAttention", "scaling"),
    ("pyro-ppl", "ProfileHMM", "indel_prior"),
    ("lerobot", "VLAFlowMatching", "image_end_token"),
)

# calls that give no tensor, though they begin with torch
NOT_TENSORS = (
    "torch.device",
    "torch.Generator",
    "torch.Size",
    "torch.get_default_dtype",
    "torch.get_default_device",
    "torch.get_rng_state_size",
    "torch.compile",
    "torch.finfo",
    "torch.iinfo",
    "torch.is_tensor",
    "torch.is_complex",
    "torch.is_floating_point",
    "torch.numel",
    "torch.no_grad",
    "torch.enable_grad",
    "torch.cuda.Stream",
    "torch.cuda.Event",
    "torch.cuda.is_available",
    "torch.cuda.device_count",
    "torch.optim.",
    "torch.nn.Linear",
    "torch.nn.Module",
    "torch.nn.Parameter",
    "torch.distributions.",
    "torch.jit.",
    "torch.utils.",
    "torch.autograd.",
)


@dataclass
class Result:
    package: str
    files: int = 0
    changed: int = 0
    buffers: int = 0
    code: int = 0
    seconds: float = 0.0
    mistakes: list[str] = field(default_factory=list)


def main() -> int:
    options = read_options()
    results = []
    for package in options.packages:
        name = package.split("==")[0]
        result = check_package(package, options.cache, options.bufferize)
        results.append(result)
        print_result(result)
        for site in (site for site in SITES if site[0] == name):
            print_site(site, options.cache / "original" / package, options.bufferize)
    wrong = sum(len(result.mistakes) for result in results)
    print(f"{len(results)} packages, {sum(r.buffers for r in results)} buffers, {wrong} mistakes")
    return 1 if wrong else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(tempfile.gettempdir()) / "bufferize-benchmarks"
    parser.add_argument("--cache", type=Path, default=default, help=f"default: {default}")
    parser.add_argument("--bufferize", default=find_command(), help="the command to run")
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), metavar="NAME==VERSION")
    options = parser.parse_args()
    options.cache = options.cache.resolve()
    return options


def find_command() -> str:
    beside = Path(sys.executable).with_name("bufferize")
    return str(beside) if beside.exists() else shutil.which("bufferize") or "bufferize"


# --------------------------------------------------------------------------- one package


def check_package(package: str, cache: Path, command: str) -> Result:
    original = unpack(package, cache)
    output = cache / "output" / package
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(original, output)
    result = Result(package)
    started = time.perf_counter()
    done = apply(command, output)
    result.seconds = time.perf_counter() - started
    result.code = done.returncode
    broken = compare(result, original, output)
    if done.returncode == 4:
        check_failures(result, done.stderr, broken)
    elif done.returncode != 0:
        result.mistakes.append(f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    first = read_tree(output)
    again = apply(command, output)
    if again.returncode != done.returncode:
        result.mistakes.append(f"second run: exit code {again.returncode}")
    second = read_tree(output)
    moved = sorted(name for name in first if first[name] != second.get(name))
    result.mistakes += [f"{name}: changed by the second run" for name in moved]
    return result


def unpack(package: str, cache: Path) -> Path:
    """The package's .py, .ipynb and .toml files, downloaded once."""
    tree = cache / "original" / package
    if tree.exists():
        return tree
    wheels = cache / "wheels" / package
    wheels.mkdir(parents=True, exist_ok=True)
    if not list(wheels.glob("*.whl")):
        # pure wheels: what Python they ask for does not matter to a reader of text
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--python-version=3.13"]
        subprocess.run([*pip, "--only-binary=:all:", "-d", str(wheels), package], check=True)
    partial = tree.with_name(tree.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wanted = (".py", ".ipynb", ".toml")
        wheel.extractall(partial, [n for n in wheel.namelist() if n.endswith(wanted)])
    return partial.rename(tree)


def apply(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [command, "apply", "--no-verify", "--quiet", "."]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def read_tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def compare(result: Result, original: Path, output: Path) -> set[str]:
    """Checks every file of the output; returns the names of those that never parsed."""
    before, after = read_tree(original), read_tree(output)
    if set(before) != set(after):
        result.mistakes.append(f"files came or went: {sorted(set(before) ^ set(after))[:5]}")
    broken = set()
    for name in sorted(set(before) & set(after)):
        if not name.endswith(".py"):
            continue
        result.files += 1
        if parse(before[name]) is None:
            broken.add(name)
            if before[name] != after[name]:
                result.mistakes.append(f"{name}: does not parse, and was changed")
        elif before[name] != after[name]:
            result.changed += 1
            check_file(result, name, before[name], after[name])
    return broken


def check_file(result: Result, name: str, before: bytes, after: bytes) -> None:
    tree, old = parse(after), parse(before)
    if tree is None or old is None:
        result.mistakes.append(f"{name}: does not compile any more")
        return
    known = {ast.dump(value) for _, value in registrations(old)}
    for line, value in registrations(tree):
        if ast.dump(value) in known:
            continue
        result.buffers += 1
        spelling = ast.unparse(value)
        if looks_like_no_tensor(value):
            result.mistakes.append(f"{name}:{line}: registers {spelling}")


def check_failures(result: Result, stderr: str, broken: set[str]) -> None:
    """Exit code 4 is owed to unparsable files alone, and each must be named."""
    if not broken:
        result.mistakes.append(f"exit code 4, but every file parses: {stderr.strip()[-300:]}")
    for name in sorted(broken):
        if name not in stderr:
            result.mistakes.append(f"{name}: does not parse, and is not named")


def parse(data: bytes) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
            compile(data, "file", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return tree


def registrations(tree: ast.Module) -> Iterator[tuple[int, ast.expr]]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr == "register_buffer":
            words = {word.arg: word.value for word in node.keywords}
            value = words.get("tensor", node.args[1] if len(node.args) > 1 else None)
            if value is not None:
                yield node.lineno, value


def looks_like_no_tensor(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return value.value is not None
    if isinstance(value, (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.JoinedStr, ast.Lambda)):
        return True
    if isinstance(value, ast.Attribute):
        value = ast.Call(value, [], [])
    if not isinstance(value, ast.Call):
        return False
    called = ast.unparse(value.func)
    if called.endswith((".item", ".tolist", ".numpy", ".size", ".dim", ".numel")):
        return True
    for name in NOT_TENSORS:
        full = called if called.startswith("torch.") else "torch." + called
        if full == name or (name.endswith(".") and full.startswith(name)):
            return True
    return False


# --------------------------------------------------------------------------- what is printed


def print_result(result: Result) -> None:
    counts = f"{result.files:5} files {result.changed:4} changed {result.buffers:4} buffers"
    print(f"{result.package:28}{counts}  exit {result.code}  {result.seconds:6.1f} s", flush=True)
    for mistake in result.mistakes:
        print(f"  WRONG {mistake}")


def print_site(site: tuple[str, str, str], original: Path, command: str) -> None:
    """What was decided at one site, and why."""
    _, cls, attribute = site
    found = [
        finding
        for finding in check(command, original)
        if (finding["class"], finding["attribute"]) == (cls, attribute)
    ]
    if not found:
        print(f"  {cls}.{attribute}: no finding")
    for finding in found:
        hazards = ", ".join(hazard["id"] for hazard in finding["hazards"]) or "none"
        why = (finding["persistence_reason"] or {"id": ""})["id"]
        flag = "" if finding["persistent"] is None else f" persistent={finding['persistent']} {why}"
        print(
            f"  {cls}.{attribute} ({finding['path']}:{finding['line']}): {finding['decision']}"
            f"{flag} ({finding['safety']}; hazards: {hazards})"
        )


@lru_cache
def check(command: str, folder: Path) -> list[dict[str, Any]]:
    words = [command, "check", "--format", "json", "."]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    findings: list[dict[str, Any]] = json.loads(done.stdout or '{"findings": []}')["findings"]
    return findings


if __name__ == "__main__":
    sys.exit(main())
