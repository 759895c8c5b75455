"""Planted wrong rewrites are refuted, right ones confirmed: one folder each, no Python to add."""

from __future__ import annotations

from pathlib import Path

import pytest

from bufferize.model import Answer, Case, Expected, FileChange, Level, Verdict
from bufferize.settings import Settings
from bufferize.verify import verify_changes

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

FIXTURES = Path(__file__).parent / "fixtures"
WRONG = sorted(p.parent for p in (FIXTURES / "zoo").rglob("before.py"))
RIGHT = sorted(p.parent for p in (FIXTURES / "zoo_right").rglob("before.py"))


def read_note(folder: Path):
    return tomllib.loads((folder / "case.toml").read_text("utf-8"))


def make_change(folder: Path, note) -> FileChange:
    module = f"{folder.parent.name}_{folder.name}"
    return FileChange(
        path=folder / "model.py",
        name=f"{folder.parent.name}/{folder.name}/model.py",
        module=module,
        root=folder,
        before=(folder / "before.py").read_text("utf-8"),
        after=(folder / "after.py").read_text("utf-8"),
        expected=tuple(
            Expected(e.get("class", note["class"]), e["attribute"], e["persistent"])
            for e in note["expected"]
        ),
    )


def prove(folders, device: str) -> dict[Path, Verdict]:
    notes = {folder: read_note(folder) for folder in folders}
    changes = {folder: make_change(folder, note) for folder, note in notes.items()}
    cases = {
        f"{changes[folder].module}:{note['class']}": tuple(
            Case("configuration", case["construct"], tuple(case["inputs"])) for case in note["case"]
        )
        for folder, note in notes.items()
    }
    settings = Settings(root=FIXTURES, cases=cases, jobs=2, device=device, timeout=60)
    result = verify_changes(list(changes.values()), settings)
    return {
        folder: result.verdicts[changes[folder].name, notes[folder]["class"]] for folder in folders
    }


@pytest.fixture(scope="module")
def verdicts() -> dict[Path, Verdict]:
    return prove([*WRONG, *RIGHT], "virtual")


@pytest.mark.slow
@pytest.mark.parametrize("folder", WRONG, ids=lambda folder: folder.name)
def test_wrong_rewrite_is_refuted(folder, verdicts):
    note, verdict = read_note(folder), verdicts[folder]
    assert verdict.answer is Answer.REFUTED, verdict
    refuting = [e for e in verdict.evidence if e.answer is Answer.REFUTED]
    assert {e.level for e in refuting} == {Level(note["level"])}
    assert refuting[0].attribute == note.get("attribute", "")
    assert note.get("words", "") in verdict.because or any(
        note["words"] in e.text for e in refuting
    )
    assert list(Level).index(verdict.level) < list(Level).index(refuting[0].level)


@pytest.mark.slow
@pytest.mark.parametrize("folder", RIGHT, ids=lambda folder: folder.name)
def test_right_rewrite_is_confirmed(folder, verdicts):
    verdict = verdicts[folder]
    assert verdict.answer is Answer.CONFIRMED, verdict
    has_forward = "def forward" in (folder / "before.py").read_text("utf-8")
    assert verdict.level is (Level.RUNS_ON_DEVICE if has_forward else Level.MOVES)


def test_zoo_is_large_enough_and_whole():
    assert len(WRONG) >= 18
    assert len(RIGHT) >= 8
    for folder in (*WRONG, *RIGHT):
        assert {p.name for p in folder.iterdir()} == {"before.py", "after.py", "case.toml"}, folder


def has_cuda() -> bool:
    torch = pytest.importorskip("torch")
    return bool(torch.cuda.is_available())


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.skipif(not has_cuda(), reason="torch sees no CUDA device")
def test_zoo_on_a_real_device():
    verdicts = prove([*WRONG, *RIGHT], "cuda:0")
    wrong = {folder.name for folder in WRONG if verdicts[folder].answer is not Answer.REFUTED}
    right = {folder.name for folder in RIGHT if verdicts[folder].answer is not Answer.CONFIRMED}
    assert (wrong, right) == (set(), set())
    assert {verdicts[folder].device for folder in RIGHT} == {"cuda:0"}
