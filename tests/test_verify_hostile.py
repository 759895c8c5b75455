"""Code that misbehaves while it is proved costs its own class the proof, and nothing else."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import pytest

from bufferize.model import Answer, Case, Expected, FileChange
from bufferize.settings import Settings
from bufferize.verify import verify_changes

BEFORE = "self.mask = torch.ones(n)"
AFTER = 'self.register_buffer("mask", torch.ones(n), persistent=False)'
TEMPLATE = """
import os, signal, subprocess, sys, time
import torch
from torch import nn
{top}

class Net(nn.Module):
    def __init__(self, n):
        super().__init__()
        {init}
        MASK

    def forward(self, x):
        {forward}
        return x * self.mask
"""
# what it does -> words that the reason must hold
DEEDS = {
    "raise ValueError('no')": "ValueError: no",
    "time.sleep(60)": "took longer than 12 s",
    "os.fork()": "forks a process",
    "sys.exit(3)": "SystemExit",
    "os._exit(0)": "left the process (exit code 0)",
    "os._exit(7)": "left the process (exit code 7)",
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by signal 9",
    "os.abort()": "was killed by signal 6",
    "torch.empty(10 * 2**30, dtype=torch.uint8).fill_(1)": "memory",
    "bytearray(10 * 2**30)": "MemoryError",
    "os.closerange(3, 64); sys.exit()": "left the process",
}
PLACES = ("top", "init", "forward")


def make(name: str, root: Path, **code: str) -> FileChange:
    parts = {"top": "", "init": "", "forward": "", **code}
    text = textwrap.dedent(TEMPLATE).format(**parts)
    return FileChange(
        path=root / f"{name}.py",
        name=f"{name}.py",
        module=name,
        root=root,
        before=text.replace("MASK", BEFORE),
        after=text.replace("MASK", AFTER),
        expected=(Expected("Net", "mask", False),),
    )


def prove(changes, root: Path, **options):
    case = Case("configuration", "Net(3)", ("torch.randn(2, 3)",))
    settings = Settings(
        root=root,
        cases={f"{change.module}:Net": (case,) for change in changes},
        **{"timeout": 12, "memory": 4096, "jobs": 4, "device": "virtual", **options},
    )
    return {key[0][:-3]: v for key, v in verify_changes(changes, settings).verdicts.items()}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    changes = [make("innocent_first", root)]
    for place in PLACES:
        for number, deed in enumerate(DEEDS):
            changes.append(make(f"{place}_{number}", root, **{place: deed}))
    noise = "os.write(1, bytes(range(256)) * 4096); print('x' * 100_000); sys.stdin.read()"
    changes += [make("noisy", root, forward=noise), make("innocent_last", root)]
    yield prove(changes, root)
    assert list(root.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", range(len(DEEDS)), ids=list(DEEDS))
def test_misdeed_is_undecided_with_its_reason(place, number, verdicts):
    verdict = verdicts[f"{place}_{number}"]
    assert verdict.answer is Answer.UNDECIDED
    assert list(DEEDS.values())[number] in verdict.because, verdict.because


@pytest.mark.slow
@pytest.mark.parametrize("name", ["innocent_first", "innocent_last", "noisy"])
def test_others_keep_their_verdicts(name, verdicts):
    assert verdicts[name].answer is Answer.CONFIRMED, verdicts[name]


@pytest.mark.slow
def test_killer_of_the_warm_process_is_found_out(tmp_path):
    changes = [
        make("innocent_first", tmp_path),
        make("killer", tmp_path, forward="os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)"),
        make("innocent_last", tmp_path),
    ]
    verdicts = prove(changes, tmp_path, jobs=2)
    assert verdicts["killer"].answer is Answer.UNDECIDED
    assert "died with it, twice" in verdicts["killer"].because
    assert verdicts["innocent_first"].answer is Answer.CONFIRMED
    assert verdicts["innocent_last"].answer is Answer.CONFIRMED


@pytest.mark.slow
@pytest.mark.parametrize("session", [False, True])
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_what_a_child_started_does_not_outlive_it(session, tmp_path):
    note = tmp_path / "pid"
    command = f"echo $$ > {note}; exec sleep 300"
    run = f"subprocess.Popen(['sh', '-c', {command!r}], start_new_session={session})"
    starts = f"{run}; time.sleep(60)"
    root = tmp_path / "tree"
    root.mkdir()
    verdicts = prove([make("starter", root, top=starts)], root, timeout=5)
    assert "took longer" in verdicts["starter"].because
    pid = int(note.read_text())
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
def test_only_the_new_version_misbehaving_is_undecided(tmp_path):
    change = make("late", tmp_path)
    after = change.after.replace("return x *", "os._exit(0); return x *")
    verdicts = prove([FileChange(**{**_fields(change), "after": after})], tmp_path)
    assert verdicts["late"].answer is Answer.UNDECIDED
    assert "new version left the process" in verdicts["late"].because


def _fields(change: FileChange):
    return {name: getattr(change, name) for name in FileChange.__slots__}
