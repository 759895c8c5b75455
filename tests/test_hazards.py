"""Holds every hazard file to its own words: its examples are judged as the docstring says."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from pathlib import Path

import pytest

from bufferize.classes import Candidate, ClassView, Survey
from bufferize.hazards import registry
from bufferize.hazards.assigned_earlier import convertible_none_writes
from bufferize.hazards.before_super_init import super_call_to_move_behind
from bufferize.hazards.class_attribute import class_statement_to_drop
from bufferize.model import Hazard, Safety, SourceFile
from bufferize.project import Project

HEAD = "import torch\nfrom torch import nn\n\n"
# the decision room makes these, from all sites or targets at once
MADE_ELSEWHERE = {"sibling-site", "tuple-collision"}
RULES = registry()


def survey_of(files: dict[str, str]) -> Survey:
    sources = []
    for name, text in files.items():
        ast.parse(text)
        sources.append(SourceFile(Path("/nowhere") / name, name, text.encode(), text))
    return Survey.of(Project(sources))


def judged(
    hazard: str, text: str, name: str = "net.py", **others: str
) -> dict[tuple[str, str], Hazard]:
    """What the hazard says of each candidate, where it bites, by (class, attribute)."""
    files = {name: text} | {f"{stem}.py": source for stem, source in others.items()}
    survey = survey_of(files)
    found = {}
    for candidate in survey.candidates():
        answer = RULES[hazard].judge(candidate, survey.views[candidate.cls])
        if answer is not None:
            assert answer.id == hazard
            found[candidate.cls.qualname, candidate.attribute] = answer
    return found


def examples(hazard: str) -> dict[str, str]:
    module = importlib.import_module("bufferize.hazards." + hazard.replace("-", "_"))
    pattern = r"^(Bites|Harmless)\b[^\n]*:\n((?:\n|[ \t]+[^\n]*(?:\n|$))+)"
    matches = re.finditer(pattern, module.__doc__ or "", re.MULTILINE)
    return {m[1].lower(): textwrap.dedent(m[2]).strip("\n") + "\n" for m in matches}


def with_imports(source: str) -> str:
    return source if "import torch\nfrom torch import nn" in source else HEAD + source


@pytest.fixture(params=sorted(RULES))
def hazard(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_docstring_has_title_reason_and_both_examples(hazard: str) -> None:
    doc = RULES[hazard].doc
    title, blank, reason = doc.split("\n")[:3]
    assert title.endswith((".", "`...")) and not blank and reason
    assert set(examples(hazard)) == {"bites", "harmless"}
    for source in examples(hazard).values():
        assert any(isinstance(node, ast.ClassDef) for node in ast.parse(source).body)


def test_bites_as_it_says(hazard: str) -> None:
    found = judged(hazard, with_imports(examples(hazard)["bites"]))
    assert bool(found) != (hazard in MADE_ELSEWHERE)
    for answer in found.values():
        assert "\n" not in answer.text
        assert re.fullmatch(r"net\.py:\d+", answer.where) or not answer.where


def test_lets_the_harmless_one_pass(hazard: str) -> None:
    source = with_imports(examples(hazard)["harmless"])
    assert list(survey_of({"net.py": source}).candidates()), "the example has nothing to judge"
    assert judged(hazard, source) == {}


def module_with(*body: str, before: str = "", after: str = "") -> str:
    """A module class `Net` with these statements in its constructor, and more around them."""
    lines = "".join(f"        {line}\n" for line in body)
    after = textwrap.indent(textwrap.dedent(after), "    ")
    init = "    def __init__(self, size=4, given=None, flag=True):\n"
    return f"{HEAD}{textwrap.dedent(before)}\n\nclass Net(nn.Module):\n{init}{lines}\n{after}"


def only_candidate(text: str) -> tuple[Candidate, ClassView]:
    survey = survey_of({"net.py": text})
    candidates = [c for c in survey.candidates() if c.value.may_be_tensor]
    assert len(candidates) == 1
    return candidates[0], survey.views[candidates[0].cls]


SUPER = "super().__init__()"
IDS = "self.ids = torch.arange(size)"


@pytest.mark.parametrize(
    "body",
    [
        [IDS, SUPER],
        ["self.size = size", "self.ids = torch.arange(self.size)", SUPER],
        [IDS, "size = 3", SUPER],
        [IDS, "nn.Module.__init__(self)"],
    ],
    ids=["plain", "own_number", "rebinds_what_it_reads", "explicit_call"],
)
def test_statement_may_move_behind_super(body: list[str]) -> None:
    candidate, view = only_candidate(module_with(*body))
    call = super_call_to_move_behind(candidate, view)
    if "size = 3" in body:
        assert call is None
    else:
        assert call is not None and "__init__" in ast.unparse(call)


@pytest.mark.parametrize(
    "body",
    [
        [IDS, "n = len(self.ids)", SUPER],
        [IDS, "self.prepare()", SUPER],
        [IDS, "given.append(self)", SUPER],
        ["if flag:", "    " + IDS, SUPER],
        ["self.ids = torch.rand(size)", "given = torch.rand(3)", SUPER],
        [SUPER, IDS],
    ],
    ids=["read", "method_runs", "handed_out", "conditional", "random_order", "already_behind"],
)
def test_statement_stays_before_super(body: list[str]) -> None:
    survey = survey_of({"net.py": module_with(*body)})
    (candidate,) = (c for c in survey.candidates() if c.attribute == "ids")
    assert super_call_to_move_behind(candidate, survey.views[candidate.cls]) is None


def test_none_before_becomes_a_registration() -> None:
    text = module_with(SUPER, "self.ids = None", "if flag:", "    " + IDS)
    candidate, view = only_candidate(text)
    (write,) = convertible_none_writes(candidate, view)
    assert ast.unparse(write.node) == "self.ids = None"
    assert judged("assigned-earlier", text)["Net", "ids"].safety is Safety.SAFE


@pytest.mark.parametrize(
    "first", ["self.ids = self.other = None", "self.ids = given", "setattr(self, 'ids', None)"]
)
def test_other_values_before_stay(first: str) -> None:
    text = module_with(SUPER, first, IDS)
    survey = survey_of({"net.py": text})
    (candidate,) = (c for c in survey.candidates() if c.value.is_tensor)
    assert convertible_none_writes(candidate, survey.views[candidate.cls]) == ()
    assert judged("assigned-earlier", text)["Net", "ids"].safety is Safety.DISPLAY_ONLY


CLASS_LEVEL = HEAD + "class Net(nn.Module):\n    ids = None\n\n    def __init__(self, size=4):\n"


@pytest.mark.parametrize(
    ("rest", "drops"),
    [
        ("", True),
        ("def show(net: nn.Module):\n    return net.ids\n", True),
        ("def show():\n    return Net.ids\n", False),
        ("def show(net: nn.Module):\n    return type(net).ids\n", False),
        ("class Sub(Net):\n    def __init__(self):\n        nn.Module.__init__(self)\n", False),
    ],
    ids=["unused", "from_an_object", "from_the_class", "from_its_type", "not_always_set"],
)
def test_class_attribute_is_dropped_where_nobody_reads_it(rest: str, drops: bool) -> None:
    text = f"{CLASS_LEVEL}        {SUPER}\n        {IDS}\n\n\n{rest}"
    candidate, view = only_candidate(text)
    assert (class_statement_to_drop(candidate, view) is not None) is drops
    expected = Safety.SAFE if drops else Safety.DISPLAY_ONLY
    assert judged("class-attribute", text)["Net", "ids"].safety is expected


# (hazard, constructor, more of the class, whether it bites)
SEEN = {
    "comment_in_the_function": (
        "comment-forbids",
        [SUPER, IDS, "# DO NOT USING REGISTER BUFFER HERE, IT WILL LOSE", "self.size = size"],
        "",
        True,
    ),
    "comment_on_another_tensor": (
        "comment-forbids",
        [SUPER, IDS, "# do not register it as a buffer", "self.other = torch.ones(3)"],
        "",
        False,
    ),
    "not_a_parameter": (
        "comment-forbids",
        [SUPER, "# not a parameter, so register it as a buffer", IDS],
        "",
        False,
    ),
    "parameter_takes_the_memory": (
        "aliases-parameter",
        [SUPER, IDS, "self.weight = nn.Parameter(self.ids)"],
        "",
        True,
    ),
    "registered_after_an_early_return": (
        "registered-twin",
        [SUPER, "if flag:", "    self.register_buffer('ids', None)", "    return", IDS],
        "",
        False,
    ),
    "number_in_the_other_branch": (
        "assigned-non-tensor",
        [SUPER, "if flag:", "    " + IDS, "else:", "    self.ids = 3"],
        "",
        False,
    ),
    "number_after_it": ("assigned-non-tensor", [SUPER, IDS, "self.ids = 3"], "", True),
    "parts_of_a_local": (
        "aliases-tensor",
        [SUPER, "both = torch.arange(9)", "self.ids, self.low = both[1:], both[:-1]"],
        "",
        False,
    ),
    "parts_of_a_local_written_to": (
        "aliases-tensor",
        [SUPER, "both = torch.arange(9)", "self.ids, self.low = both[1:], both[:-1]"],
        "def forward(self, x):\n    self.ids[0] = 1\n    return x",
        True,
    ),
    "hides_buffers": (
        "overrides-setattr",
        [SUPER, IDS],
        "def __getattr__(self, name):\n    return getattr(self.given, name)",
        True,
    ),
    "finds_buffers": (
        "overrides-setattr",
        [SUPER, IDS],
        "def __getattr__(self, name):\n    return super().__getattr__(name)",
        False,
    ),
    "running_state_through_a_local": (
        "forward-cache",
        [SUPER, "self.ids = torch.zeros(3)"],
        "def forward(self, x):\n    new = self.ids + x.mean()\n    self.ids = new\n    return x",
        False,
    ),
    "set_once_from_data": (
        "forward-cache",
        [SUPER, "self.ids = torch.ones(size, size)"],
        "def forward(self, x):\n    if self.first:\n        self.ids = x.mean(0)\n    return x",
        False,
    ),
    "placeholder_set_once": (
        "forward-cache",
        [SUPER, "self.ids = torch.zeros(1)"],
        "def forward(self, x):\n    if self.first:\n        self.ids = x.mean(0)\n    return x",
        True,
    ),
    "repr_walks": (
        "dict-loop",
        [SUPER, IDS],
        "def extra_repr(self):\n    return ''.join(k for k in self.__dict__)",
        False,
    ),
    "copied_as_a_whole": (
        "dict-loop",
        [SUPER, IDS],
        "def __getstate__(self):\n    return dict(self.__dict__)",
        False,
    ),
    "looks_for_modules_only": (
        "dict-loop",
        [SUPER, IDS],
        "def go(self):\n    for v in self.__dict__.values():\n"
        "        if isinstance(v, nn.Module):\n            v.eval()",
        False,
    ),
    "looks_for_tensors": (
        "dict-loop",
        [SUPER, IDS],
        "def go(self):\n    for v in self.__dict__.values():\n"
        "        if isinstance(v, torch.Tensor):\n            v.zero_()",
        True,
    ),
    "taken_out_of_a_copy": (
        "dict-loop",
        [SUPER, IDS],
        "def __getstate__(self):\n    state = dict(self.__dict__)\n"
        "    del state['ids']\n    return state",
        True,
    ),
    "device_of_the_rank": (
        "per-rank-value",
        [SUPER, "self.ids = torch.zeros(3, device=torch.distributed.get_rank())"],
        "",
        False,
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_as_seen_in_the_wild(name: str) -> None:
    rule, body, after, bites = SEEN[name]
    found = judged(rule, module_with(*body, after=after))
    assert (("Net", "ids") in found) is bites


def test_average_under_ddp_gets_a_note_and_a_synced_queue_nothing() -> None:
    update = "def forward(self, x):\n    self.ids.mul_(self.momentum).add_(x)\n    return x"
    head = "from torch.nn.parallel import DistributedDataParallel"
    text = module_with(SUPER, "self.ids = torch.zeros(3)", before=head, after=update)
    assert judged("accumulated-in-forward", text)["Net", "ids"].safety is Safety.SAFE
    queue = "def forward(self, x):\n    self.ids[0] = concat_all_gather(x)\n    return x"
    text = module_with(SUPER, "self.ids = torch.zeros(3)", before=head, after=queue)
    assert judged("accumulated-in-forward", text) == {}


def test_argument_that_is_a_weight_where_it_is_called() -> None:
    net = (
        f"{HEAD}class Product(nn.Module):\n    def __init__(self, tensor: torch.Tensor):\n"
        f"        {SUPER}\n        self.tensor = tensor\n"
    )
    use = "from net import Product\n\n\ndef build(model):\n    return Product(model.emb.weight)\n"
    (answer,) = judged("aliases-parameter", net, use=use).values()
    assert answer.where == "use.py:5" and "model.emb.weight" in answer.text
    harmless = use.replace(".weight", ".weight.detach().clone()")
    assert judged("aliases-parameter", net, use=harmless) == {}


@pytest.mark.parametrize("name", ["pkg/third_party/net.py", "_vendor/net.py"])
def test_folder_of_others(name: str) -> None:
    assert judged("vendored-or-generated", module_with(SUPER, IDS), name)


@pytest.mark.parametrize("name", ["vendor.py", "vendors/net.py", "internal/net.py"])
def test_folder_of_ones_own(name: str) -> None:
    assert not judged("vendored-or-generated", module_with(SUPER, IDS), name)
