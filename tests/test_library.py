"""What `import bufferize` offers: the names of `__all__`, loaded when they are asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import bufferize

BEFORE = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mask = torch.ones(3)

    def forward(self, x):
        return x * self.mask
"""
AFTER = BEFORE.replace(
    "self.mask = torch.ones(3)",
    'self.register_buffer("mask", torch.ones(3), persistent=False)',
)
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_every_public_name_is_there():
    for name in bufferize.__all__:
        assert getattr(bufferize, name) is not None
    assert set(bufferize.__all__) <= set(dir(bufferize))
    assert bufferize.__version__ == version("bufferize")


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="'bufferize' has no attribute 'frobnicate'"):
        bufferize.frobnicate  # noqa: B018


def test_importing_loads_nothing_heavy():
    code = "import sys; old = set(sys.modules); import bufferize; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("bufferize")} == {"bufferize"}
    assert "importlib.metadata" not in loaded


def test_rewrite_source_gives_the_new_text():
    outcome = bufferize.rewrite_source(BEFORE)
    assert isinstance(outcome, bufferize.Rewritten)
    assert outcome.text == AFTER
    assert outcome.data == AFTER.encode()
    (finding,) = outcome.findings
    assert (finding.site.name, finding.site.attribute) == ("module.py", "mask")
    assert isinstance(bufferize.rewrite_source(AFTER), bufferize.Unchanged)


def test_rewrite_source_obeys_settings():
    settings = bufferize.Settings(persistent="always", line_length=40)
    outcome = bufferize.rewrite_source(BEFORE, "pkg/net.py", settings)
    assert "        self.register_buffer(\n            " in outcome.text
    assert "persistent=True,\n" in outcome.text
    assert outcome.source.name == "pkg/net.py"


@pytest.mark.parametrize("text", ["def f(:\n", "x = '\ud800'\n", "x\0"])
def test_rewrite_source_never_raises_for_the_text(text):
    outcome = bufferize.rewrite_source(text)
    assert isinstance(outcome, bufferize.Failed)
    assert (outcome.name, outcome.line) == ("module.py", 1)


@pytest.mark.slow
def test_verify_pair_judges_each_class(tmp_path):
    pytest.importorskip("torch")
    settings = bufferize.Settings(root=tmp_path, device="virtual")
    path = str(tmp_path / "net.py")
    verdicts = bufferize.verify_pair(BEFORE, AFTER, path, settings)
    assert {name: str(verdict.answer) for name, verdict in verdicts.items()} == {"Net": "confirmed"}
    wrong = AFTER.replace("torch.ones(3)", "torch.zeros(3)")
    verdicts = bufferize.verify_pair(BEFORE, wrong, path, settings)
    assert str(verdicts["Net"].answer) == "refuted"
    assert list(tmp_path.iterdir()) == []


def test_verify_pair_of_equal_texts_has_nothing_to_say():
    assert bufferize.verify_pair(BEFORE, BEFORE) == {}


def test_verify_pair_names_the_version_that_cannot_be_read():
    with pytest.raises(bufferize.BufferizeError, match=r"net\.py: not valid Python"):
        bufferize.verify_pair(BEFORE, "def f(:\n", "net.py")
    with pytest.raises(bufferize.BufferizeError, match=r"net\.py: the version before cannot"):
        bufferize.verify_pair("def f(:\n", AFTER, "net.py")


@pytest.mark.slow
def test_the_readme_shows_it(capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    exec(example, {"text": BEFORE})
    assert capsys.readouterr().out == AFTER + " {'Net': 'confirmed'}\n"
