"""What the proof says about ordinary trees: worlds, reasons, suggestions, interpreters.

The scenes of `SCENES` are proved in one run, each in a folder of its own; its test looks at the
verdicts afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bufferize.errors import BufferizeError
from bufferize.model import Answer, Case, Expected, FileChange, Level, Verdict
from bufferize.settings import Settings
from bufferize.verify import verify_changes

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, n=4):
        super().__init__()
        self.mask = torch.ones(n)

    def forward(self, x):
        return x * self.mask
"""
PLAIN = "self.mask = torch.ones(n)"
BUFFER = 'self.register_buffer("mask", torch.ones(n), persistent=False)'
MASK = (Expected("Net", "mask", False),)
CASE = Case("configuration", "Net(3)", ("torch.randn(2, 3)",))
WIDE = Case("configuration", "Net(5)", ("torch.randn(2, 5)",))

Scene = tuple[list[FileChange], tuple[Case, ...]]
SCENES: dict[str, Callable[[Path], Scene]] = {}


def scene(make: Callable[[Path], Scene]) -> Callable[[Path], Scene]:
    SCENES[make.__name__] = make
    return make


def change(root: Path, before: str, after: str | None = None, expected=MASK, **more) -> FileChange:
    """A change of one file, named after its folder unless said otherwise."""
    module = more.pop("module", root.name)
    path = root / more.pop("path", f"{module}.py")
    text = textwrap.dedent(before)
    return FileChange(
        path=path,
        name=f"{root.name}/{path.name}",
        module=module,
        root=root,
        before=text,
        after=text.replace(PLAIN, BUFFER) if after is None else after,
        expected=expected,
        **more,
    )


def prove(root: Path, *changes: FileChange, cases=(CASE,), **options):
    known = {f"{c.module}:{e.cls}": tuple(cases) for c in changes for e in c.expected}
    settings = Settings(root=root, device="virtual", cases=known, **options)
    return verify_changes(changes, settings)


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    """Every scene's verdicts, by scene and class."""
    root = tmp_path_factory.mktemp("trees")
    changes: dict[str, list[FileChange]] = {}
    cases: dict[str, tuple[Case, ...]] = {}
    for name, make in SCENES.items():
        (root / name).mkdir()
        changes[name], offered = make(root / name)
        cases |= {f"{c.module}:{e.cls}": offered for c in changes[name] for e in c.expected}
    steps: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        # a shell that sets it would hide that children write bytecode
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        result = verify_changes(
            [c for group in changes.values() for c in group],
            Settings(root=root, device="virtual", cases=cases, jobs=2),
            lambda done, total: steps.append((done, total)),
        )
    assert not list(root.rglob("*.pyc"))
    assert steps[-1] == (len(result.verdicts), len(result.verdicts))
    assert result.proof.startswith("torch ") and result.proof.endswith("device virtual")
    return {
        name: {key[1]: v for key, v in result.verdicts.items() if key[0].startswith(f"{name}/")}
        for name in SCENES
    }


def verdict_of(proved, name: str, cls: str = "Net") -> Verdict:
    verdict = proved[name][cls]
    assert "\n" not in verdict.because
    return verdict


def refuting(verdict: Verdict):
    return [e for e in verdict.evidence if e.answer is Answer.REFUTED]


def test_nothing_to_prove_starts_nothing(tmp_path):
    result = verify_changes([], Settings(python=tmp_path / "no-such-python"))
    assert result.verdicts == {} and result.failures == ()


@scene
def headline(root: Path) -> Scene:
    return [change(root, NET)], (CASE,)


@pytest.mark.slow
def test_headline_case_shows_the_old_error(proved):
    verdict = verdict_of(proved, "headline")
    assert verdict.answer is Answer.CONFIRMED and verdict.level is Level.RUNS_ON_DEVICE
    assert "same device" in verdict.old_error and "headline.py:12" in verdict.old_error
    assert verdict.device == "virtual"
    assert verdict.cases == "1 input, 2 seeds, arguments from configuration"
    assert [e.text for e in verdict.evidence if e.level is Level.STATE] == [
        "state_dict: 0 missing, 0 unexpected, 0 new keys; an old checkpoint loads strictly"
    ]


@scene
def package(root: Path) -> Scene:
    """Relative imports, a namespace package, an unchanged file, a file new in one world."""
    folder = root / "space" / "pkg"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "same.py").write_text("from .sizes import SIZE\n")
    (folder / "net.py").write_text("raise RuntimeError('the file on disk')\n")
    check = "assert SIZE == 3\n        assert 'ones' in inspect.getsource(type(self))\n        "
    before = "from .same import SIZE\nimport inspect\n" + NET.replace(PLAIN, check + PLAIN)
    after = before.replace(PLAIN, BUFFER).replace("'ones'", "'register_buffer'")
    after = after.replace("from .same", "from .added import NEW\nfrom .same")
    sizes = change(root, "SIZE = 3\n", expected=(), module="space.pkg.sizes")
    added = change(root, "", "NEW = 1\n", expected=(), module="space.pkg.added")
    net = change(root, before, after, module="space.pkg.net", path="space/pkg/net.py")
    others = [
        replace(sizes, path=folder / "sizes.py"),
        replace(added, path=folder / "added.py", before=None),
    ]
    return [net, *others], (CASE,)


@scene
def folder_of_one_world(root: Path) -> Scene:
    """A namespace package that is not on disk."""
    path = "gone/deep/net.py"
    return [change(root, NET, module="gone.deep.net", path=path)], (CASE,)


@scene
def twin_script(root: Path) -> Scene:
    text = NET.replace("super()", "assert n == 3\n        super()")
    return [change(root, text, module="model")], (CASE, WIDE)


@scene
def twin_script_elsewhere(root: Path) -> Scene:
    text = NET.replace("super()", "assert n == 5\n        super()")
    return [change(root, text, module="model")], (CASE, WIDE)


@scene
def notebook(root: Path) -> Scene:
    text = (
        "import no_such_package\nimport os\nos._exit(1)\nopen('x', 'w')\nn_wide = 1 / 0\n"
        "try:\n    import no_such_either\nexcept ImportError:\n    no_such_either = None\n" + NET
    )
    case = Case("configuration", "Net(size)", ("torch.randn(2, size)",), ("size = 3",))
    return [change(root, text, path="notebook.ipynb", is_notebook=True)], (case,)


@scene
def both_branches(root: Path) -> Scene:
    return [_branches(root, "n > 3")], (CASE, WIDE)


def _branches(root: Path, test: str) -> FileChange:
    branches = f"if {test}:\n            {PLAIN}\n        else:\n            {PLAIN} * 1"
    text = NET.replace(PLAIN, branches)
    after = text.replace(PLAIN + " * 1", BUFFER.replace("ones(n)", "ones(n) * 1"))
    return change(root, text, after.replace(PLAIN, BUFFER))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["package", "folder_of_one_world", "twin_script", "twin_script_elsewhere", "notebook",
     "both_branches"],
)  # fmt: skip
def test_world_is_whole(name, proved):
    verdict = verdict_of(proved, name)
    assert verdict.answer is Answer.CONFIRMED, verdict


@scene
def branch_not_taken(root: Path) -> Scene:
    return [_branches(root, "n > 2**40")], (CASE,)


@pytest.mark.slow
def test_branch_that_no_case_takes_is_not_confirmed(proved):
    verdict = verdict_of(proved, "branch_not_taken")
    assert verdict.answer is Answer.UNDECIDED and verdict.level is Level.RUNS_ON_DEVICE
    assert verdict.because == f"no case runs line 10, `{PLAIN}`"


@scene
def never_a_tensor(root: Path) -> Scene:
    text = NET.replace(PLAIN, f"self.mask = None\n        if n > 2**40:\n            {PLAIN}")
    text = text.replace("* self.mask", "* 2")
    none = 'self.register_buffer("mask", None, persistent=False)'
    return [change(root, text, text.replace(PLAIN, BUFFER).replace("self.mask = None", none))], (
        CASE,
    )


@pytest.mark.slow
def test_attribute_that_no_case_builds_is_not_confirmed(proved):
    verdict = verdict_of(proved, "never_a_tensor")
    assert verdict.answer is Answer.UNDECIDED
    assert "no case builds mask as a tensor" in verdict.because


@scene
def contradiction(root: Path) -> Scene:
    promises = (Expected("Net", "mask", True, 9), Expected("Net", "mask", False, 11))
    return [change(root, NET, None, promises)], (CASE,)


@pytest.mark.slow
def test_flags_that_contradict_each_other_are_refuted(proved):
    verdict = verdict_of(proved, "contradiction")
    assert verdict.answer is Answer.REFUTED
    assert {e.attribute for e in refuting(verdict)} == {"mask"}


def _flip(root: Path, flag: bool) -> Scene:
    texts = [NET.replace(PLAIN, BUFFER.replace("False", str(f))) for f in (not flag, flag)]
    return [change(root, *texts, (Expected("Net", "mask", flag),))], (CASE,)


@scene
def flip_to_saved(root: Path) -> Scene:
    return _flip(root, True)


@scene
def flip_to_not_saved(root: Path) -> Scene:
    return _flip(root, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"), [("flip_to_saved", "lacks mask"), ("flip_to_not_saved", "1 unexpected")]
)
def test_declared_flip_of_a_flag_is_no_surprise(name, words, proved):
    verdict = verdict_of(proved, name)
    assert verdict.answer is Answer.CONFIRMED, verdict
    assert words in verdict.evidence[2].text


@scene
def holder(root: Path) -> Scene:
    inner = NET.replace("class Net", "class Inner").replace("mask", "table")
    text = inner + NET.partition("nn\n")[2]
    text = text.replace("        self.mask", "        self.inner = Inner(n)\n        self.mask")
    text = text.replace("x * self.mask", "self.inner(x) * self.mask")
    wrong = BUFFER.replace("mask", "table").replace("ones", "zeros")
    after = text.replace(PLAIN, BUFFER).replace(PLAIN.replace("mask", "table"), wrong)
    promises = (*MASK, Expected("Inner", "table", False))
    return [change(root, text, after, promises)], ()


@pytest.mark.slow
def test_class_is_not_guilty_of_what_it_holds(proved):
    outer, inner = verdict_of(proved, "holder"), verdict_of(proved, "holder", "Inner")
    assert outer.answer is Answer.UNDECIDED
    assert "holder:Inner.table, which is refuted" in outer.because
    assert inner.answer is Answer.REFUTED
    assert {e.attribute for e in refuting(inner)} == {"table"}


@scene
def flaky(root: Path) -> Scene:
    text = "import time\n" + NET.replace("super()", "self.t = time.time_ns()\n        super()")
    return [change(root, text.replace("self.t", "self.__dict__['t']"))], (CASE,)


@scene
def abstract(root: Path) -> Scene:
    method = "class Net(nn.Module, abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\n"
    return [change(root, "import abc\n" + NET.replace("class Net(nn.Module):", method))], ()


@scene
def imports_nothing_there(root: Path) -> Scene:
    return [change(root, "import no_such_thing\n" + NET)], (CASE,)


@scene
def no_module(root: Path) -> Scene:
    return [change(root, NET.replace("nn.Module", "object"))], (CASE,)


@scene
def local_class(root: Path) -> Scene:
    text = "def make():\n" + textwrap.indent(NET, "    ") + "\n    return Net\n"
    return [change(root, text, None, (Expected("make.<locals>.Net", "mask", False),))], ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cls", "words"),
    [
        ("flaky", "Net", "flaky: two runs of the old version differ at builds"),
        ("abstract", "Net", "abstract"),
        ("imports_nothing_there", "Net", "does not import: ModuleNotFoundError"),
        ("no_module", "Net", "not a module class"),
        ("local_class", "make.<locals>.Net", "defined inside a function"),
    ],
)
def test_reason_of_the_undecided(name, cls, words, proved):
    verdict = verdict_of(proved, name, cls)
    assert verdict.answer is Answer.UNDECIDED
    assert words in verdict.because, verdict.because


@scene
def hard_to_build(root: Path) -> Scene:
    text = NET.replace("n=4", "n").replace("super()", "assert n == 'a \"b\"'\n        super()")
    return [change(root, text)], ()


@pytest.mark.slow
def test_suggestion_is_configuration(proved):
    verdict = verdict_of(proved, "hard_to_build")
    assert verdict.answer is Answer.UNDECIDED and "cannot be built" in verdict.because
    assert "hard_to_build:Net" in tomllib.loads(verdict.suggestion)


@pytest.mark.slow
def test_missing_torch_names_the_extra(tmp_path):
    python = tmp_path / "bare" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    with pytest.raises(BufferizeError, match=r'pip install "bufferize\[verify\]"') as caught:
        prove(tmp_path, change(tmp_path, NET), python=python)
    assert "\n" not in str(caught.value) and str(python) in str(caught.value)
    with pytest.raises(BufferizeError, match="cannot be started"):
        prove(tmp_path, change(tmp_path, NET), python=tmp_path / "nothing")


@pytest.mark.slow
def test_users_interpreter_needs_torch_only(tmp_path):
    """Another environment: torch and what it imports are there, bufferize and click are not."""
    torch = pytest.importorskip("torch")
    home = tmp_path / "theirs"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    packages = next(home.glob("lib/python*/site-packages"))
    ours = ("bufferize", "_bufferize", "click", "libcst", "__")
    for entry in Path(torch.__file__).parent.parent.iterdir():
        if not entry.name.startswith(ours) and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    root = tmp_path / "tree"
    root.mkdir()
    check = "assert not [p for p in sys.path if 'bufferize' in p]\n        super()"
    text = "import sys\n" + NET.replace("super()", check)
    result = prove(root, change(root, text), python=home / "bin" / "python")
    (verdict,) = result.verdicts.values()
    assert verdict.answer is Answer.CONFIRMED, verdict
