"""Bad input through the command line: one line each, and every other file is done all the same."""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bufferize.cli import main

HEAD = "import torch\nfrom torch import nn\n\n\n"
MODEL = (
    HEAD
    + """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        VALUE

    def forward(self, x):
        return x * self.mask
"""
)


def model(value: str) -> str:
    return MODEL.replace("VALUE", value)


GOOD = model("self.mask = torch.ones(3)")
DONE = model('self.register_buffer("mask", torch.ones(3), persistent=False)')
DEEP = "nested too deeply to be analysed: split the expression or exclude the file"
# which of the two stumbles first, the parser or the analysis, depends on the Python
TOO_DEEP = "nested too deeply to be "
ELIFS = "".join(f"    elif x == {number}:\n        pass\n" for number in range(3000))
# file -> what stands in it, and the end of the one line that is said of it
BAD = {
    "null.py": (b"x = 1\ny\0 = 2\n", ":2:2: error: a null byte: not Python source"),
    "latin.py": (b"\nx = '\xe9'\n", ":2:6: error: not utf-8: declare the file's encoding"),
    "cookie.py": (b"# coding: nonsense\n", ":1:1: error: encoding not understood"),
    "lying_cookie.py": (b"# coding: ascii\n# \xc3\xa9\n", ":2:3: error: not ascii"),
    "utf16.py": ("x = 1\n".encode("utf-16"), ":1:1: error: UTF-16 or UTF-32"),
    "syntax.py": ("x = 1\ndef f(:\n", ":2:7: error: not valid Python"),
    "unclosed.py": ("x = (\n", ":1:5: error: not valid Python: '(' was never closed"),
    "tabs.py": ("def f():\n\tx\n        y\n", ":3:1: error: not valid Python: inconsistent use"),
    "python2.py": ("x = 1\nprint 'x'\n", ":2:1: error: looks like Python 2"),
    "except2.py": ("try:\n    x\nexcept A, e:\n    y\n", ":3:8: error: looks like Python 2"),
    "huge.py": (GOOD + "#" * 5_000_000, ": error: 4.8 MB, over the limit of 4 MB"),
    "parens.py": (
        model("self.mask = " + "(" * 2000 + "torch.ones(3)" + ")" * 2000),
        ": error: brackets nested more than 200 deep (line 8)",
    ),
    "brackets.py": ("[" * 50_000, ": error: brackets nested more than 200 deep (line 1)"),
    "sum_of_3000.py": (
        model("self.mask = torch.ones(3)" + " + 1" * 30_000),
        f": error: {TOO_DEEP}",
    ),
    "sum_of_900.py": (model("self.mask = torch.ones(3)" + " + 1" * 900), f":8: error: {DEEP}"),
    "attributes.py": (model("self.mask = torch.ones(3)" + ".T" * 900), f":8: error: {DEEP}"),
    "calls.py": (model("self.mask = torch.ones(3)" + ".clone()" * 400), f":8: error: {DEEP}"),
    "items.py": (model("self.mask = torch.ones(3)" + "[0:3]" * 900), f":8: error: {DEEP}"),
    "ternaries.py": (model("self.mask = " + "1 if 0 else " * 700 + "0"), f":8: error: {DEEP}"),
    "elifs.py": (f"def f(x):\n    if x:\n        pass\n{ELIFS}", f": error: {TOO_DEEP}"),
    "not_json.ipynb": ("{\n", ": error: "),
    "no_cells.ipynb": ('{"cells": 3}', ": error: "),
    "empty.ipynb": ("", ": error: "),
}
NEWER = {
    "newer.py": (
        "x = 1\n\n\ndef f[T](x: T) -> T:\n    return x\n",
        ":4:6: error: needs a newer Python than ",
    )
}
if sys.version_info < (3, 12):
    BAD |= NEWER
LINKS = {
    "loop.py": ("loop.py", ": error: cannot be read: the link leads back to itself"),
    "dangling.py": ("nowhere.py", ": error: cannot be read: a link to nowhere"),
    # a file that even root may open and not read
    "unreadable.py": ("/proc/self/mem", ": error: cannot be read: Input/output error"),
}
if not Path("/proc/self/mem").exists():
    del LINKS["unreadable.py"]
EXPECTED = {name: words for name, (_, words) in {**BAD, **LINKS}.items()}


def bufferize(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bufferize", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False, **options)


def lay_out(folder: Path) -> None:
    for name, (content, _) in BAD.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
    for name, (target, _) in LINKS.items():
        (folder / name).symlink_to(target)
    (folder / "again").symlink_to(folder)
    (folder / "aaa.py").write_text(GOOD)
    (folder / "zzz.py").write_text(GOOD)


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """A folder of bad files with two good ones, and what one process said and did there."""
    folder = tmp_path_factory.mktemp("bad")
    lay_out(folder)
    return folder, bufferize("apply", "--no-verify", cwd=folder, timeout=300)


def test_the_good_files_are_done(applied):
    folder, done = applied
    assert done.returncode == 4, done.stderr.decode()
    assert (folder / "aaa.py").read_text() == (folder / "zzz.py").read_text() == DONE
    assert done.stdout.decode().count("Net.mask -> buffer, persistent=False") == 2


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_file_is_one_line_with_its_place(applied, name):
    lines = [line for line in applied[1].stderr.decode().splitlines() if line.startswith(name)]
    assert len(lines) == 1, lines
    assert EXPECTED[name] in lines[0]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stays_as_it_is(applied, name):
    content = BAD[name][0]
    data = content.encode() if isinstance(content, str) else content
    assert (applied[0] / name).read_bytes() == data


def test_nothing_else_is_said(applied):
    lines = applied[1].stderr.decode().splitlines()
    assert len(lines) == len(EXPECTED) + 1
    assert lines[-1] == f"2 rewrites in 2 files written; {len(EXPECTED)} failures"


def test_programs_read_the_same(applied):
    done = bufferize("check", "--format", "json", cwd=applied[0], timeout=300)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 4
    assert {failure["path"] for failure in document["failures"]} == set(EXPECTED)


# A deep file must not spoil the judgement of others that mention the same attribute.


def test_a_deep_file_without_a_class_spoils_no_other(tmp_path):
    deep = "def f(net, x):\n    net.mask = x" + ".T" * 900 + "\n"
    (tmp_path / "deep.py").write_text(deep)
    (tmp_path / "good.py").write_text(GOOD)
    done = bufferize("apply", "--no-verify", cwd=tmp_path)
    assert "Traceback" not in done.stderr.decode()
    assert (tmp_path / "good.py").read_text() == DONE


def test_a_notebook_with_one_broken_cell_is_done_but_for_that(tmp_path):
    cells = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": s}
        for s in (GOOD, "def f(:\n", "print 'x'")
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "book.ipynb").write_text(json.dumps(book))
    done = bufferize("apply", "--no-verify", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    new = json.loads((tmp_path / "book.ipynb").read_text())
    assert "".join(new["cells"][0]["source"]) == DONE
    assert new["cells"][1:] == cells[1:]
    assert "book.ipynb:cell 2:1" in done.stderr.decode()
    assert "book.ipynb:cell 3:1" in done.stderr.decode()


VANISHES = """
import sys
from pathlib import Path
from bufferize import discover
find = discover.find_paths
def find_then_lose(settings):
    found = find(settings)
    Path("lost.py").unlink()
    return found
discover.find_paths = find_then_lose
from bufferize.cli import main
main(sys.argv[1:], prog_name="bufferize")
"""


def test_a_file_that_vanishes_after_it_was_listed(tmp_path):
    for name in ("lost.py", "good.py"):
        (tmp_path / name).write_text(GOOD)
    command = [sys.executable, "-c", VANISHES, "apply", "--no-verify"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "lost.py: error: cannot be read: the file has vanished\n" in done.stderr
    assert (tmp_path / "good.py").read_text() == DONE


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_files_and_folders_without_the_right_to_read(tmp_path):
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "secret.py").write_text(GOOD)
    (tmp_path / "closed").mkdir()
    (tmp_path / "secret.py").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        done = bufferize("apply", "--no-verify", cwd=tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)
    said = done.stderr.decode()
    assert done.returncode == 4
    assert "secret.py: error: cannot be read: Permission denied" in said
    assert "closed: error: folder cannot be read: Permission denied" in said
    assert (tmp_path / "good.py").read_text() == DONE


# Bugs of bufferize itself.


def stumble(candidate, view):
    if view.cls.qualname == "Cursed":
        raise KeyError("no such thing")


def test_our_bug_costs_one_file_and_reads_as_ours(tmp_path, monkeypatch):
    decide = importlib.import_module("bufferize.decisions.decide")

    class Rule:
        judge = staticmethod(stumble)

    rules = {**decide.registry(), "stumble": Rule}
    monkeypatch.setattr(decide, "registry", lambda: rules)
    monkeypatch.chdir(tmp_path)
    cursed = GOOD.replace("class Net", "class Cursed")
    Path("cursed.py").write_text(cursed)
    Path("good.py").write_text(GOOD)
    result = CliRunner().invoke(main, ["apply", "--no-verify"])
    assert result.exit_code == 4
    assert Path("good.py").read_text() == DONE
    assert Path("cursed.py").read_text() == cursed
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("cursed.py")]
    assert re.fullmatch(
        r"cursed\.py:\d+: error: internal error, a bug in bufferize and not in your file: "
        r"KeyError: 'no such thing' \(decide\.py:\d+\); the file is left as it is",
        line,
    )


# Usage.


@pytest.mark.parametrize(
    "arguments",
    [
        ("diff", "no/such/path"),
        ("check", "good.py", "no/such/path"),
        ("apply", "--no-such-option"),
        ("check", "--select", "no-such-hazard"),
        ("explain", "no-such-hazard"),
        ("frobnicate",),
    ],
)
def test_what_does_not_exist_is_a_usage_error(tmp_path, arguments):
    (tmp_path / "good.py").write_text(GOOD)
    done = bufferize(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "good.py").read_text() == GOOD


# An interpreter without torch.


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


@pytest.mark.parametrize(
    "arguments", [("apply",), ("diff", "--verify"), ("verify", "--before", "../before")]
)
def test_without_torch_the_extra_is_named(tmp_path, bare_python, arguments):
    for folder, text in (("before", GOOD), ("now", DONE if arguments[0] == "verify" else GOOD)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(text)
    paths = [".", *arguments[1:]]
    done = bufferize(arguments[0], *paths, "--python", bare_python, cwd=tmp_path / "now")
    assert (done.returncode, done.stdout) == (4, b"")
    (line,) = done.stderr.decode().splitlines()
    assert "torch" in line
    assert "bufferize[verify]" in line
    if arguments[0] != "verify":
        assert (tmp_path / "now" / "net.py").read_text() == GOOD


# Code that misbehaves while it is proved.

HOSTILE = {
    "raises": ("int('no')", "ValueError: invalid literal"),
    "hangs": ("time.sleep(300)", "took longer than 8 s"),
    "forks": ("os.fork()", "forks a process"),
    "exits": ("sys.exit(3)", "SystemExit"),
    "leaves": ("os._exit(7)", "left the process (exit code 7)"),
    "eats": ("bytearray(10 * 2**30)", "MemoryError"),
}
NOISE = (
    r"sys.stdout.buffer.write(b'\xff\x00{\x1b[31m\n'); os.write(1, b'\xfe'); os.write(2, b'\xfe')"
)


def hostile(top: str, init: str) -> str:
    value = f"{init}\n        self.mask = torch.ones(3)" if init else "self.mask = torch.ones(3)"
    return f"import os, sys, time\n{model(value)}{top}\n"


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    files = {"good": hostile("", ""), "noisy": hostile(NOISE, NOISE)}
    for name, (deed, _) in HOSTILE.items():
        files[f"{name}_at_import"] = hostile(deed, "")
        files[f"{name}_in_constructor"] = hostile("", deed)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    options = ("--timeout", "8", "--memory", "4096", "--jobs", "2", "--device", "virtual")
    return folder, bufferize("apply", *options, "--format", "json", cwd=folder, timeout=400)


def finding_of(proved, name: str) -> dict:
    findings = json.loads(proved[1].stdout)["findings"]
    return next(each for each in findings if each["path"] == f"{name}.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["good", "noisy"])
def test_the_innocent_are_confirmed_among_the_hostile(proved, name):
    assert finding_of(proved, name)["verdict"] == "confirmed"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["at_import", "in_constructor"])
@pytest.mark.parametrize("name", HOSTILE)
def test_the_hostile_are_undecided_with_the_reason(proved, name, place):
    finding = finding_of(proved, f"{name}_{place}")
    assert finding["verdict"] == "undecided"
    assert HOSTILE[name][1] in finding["proof"]["because"]


@pytest.mark.slow
def test_apply_goes_on_past_the_hostile(proved):
    folder, done = proved
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1
    for path in folder.glob("*.py"):
        assert 'self.register_buffer("mask"' in path.read_text(), path.name


# Interruptions.

COUNT = 40


def start_apply(folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "bufferize", "apply", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # whatever runs the tests in the background may have it ignored, and a child inherits that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def is_alive(pid: str) -> bool:
    """Whether the process runs: one that nobody has waited for is as good as gone."""
    try:
        status = Path("/proc", pid, "status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


def wait_for(condition, process: subprocess.Popen, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.0005)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["int", "kill"])
def test_apply_interrupted_leaves_every_file_old_or_new(tmp_path, sent, number):
    names = [f"net{index}.py" for index in range(COUNT)]
    for name in names:
        (tmp_path / name).write_text(GOOD)
    process = start_apply(tmp_path, "--no-verify")
    # the first staged file shows that writing has begun
    wait_for(lambda: any(tmp_path.glob(".*.bufferize")), process)
    time.sleep(random.Random(number).random() * 0.02 * number)
    process.send_signal(sent)
    said = process.communicate(timeout=60)[1]
    texts = [(tmp_path / name).read_text() for name in names]
    assert set(texts) <= {GOOD, DONE}
    if sent is signal.SIGINT:
        # all or none, and nothing left lying about
        assert len(set(texts)) == 1
        assert {path.name for path in tmp_path.iterdir()} == set(names)
        # Python dies of the signal itself where it comes after the last line of the program
        outcomes = {(130, True), (0, False), (-signal.SIGINT, False)}
        assert (process.returncode, "interrupted" in said) in outcomes
    again = bufferize("apply", "--no-verify", cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    assert {(tmp_path / name).read_text() for name in names} == {DONE}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["int", "kill"])
def test_apply_interrupted_in_its_proof_writes_nothing(tmp_path, sent):
    note = tmp_path / "pid"
    tree = tmp_path / "tree"
    tree.mkdir()
    deed = "print(os.getpid(), file=open(os.environ['NOTE'], 'w')); time.sleep(300)"
    text = hostile("", deed)
    (tree / "net.py").write_text(text)
    os.environ["NOTE"] = str(note)
    try:
        process = start_apply(tree, "--timeout", "200", "--device", "virtual")
    finally:
        del os.environ["NOTE"]
    wait_for(lambda: note.exists() and note.read_text().strip(), process)
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == (130 if sent is signal.SIGINT else -sent)
    assert (tree / "net.py").read_text() == text
    child = note.read_text().strip()
    limit = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not is_alive(child), "the proof goes on after its parent"
