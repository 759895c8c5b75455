"""How cases are found where none is at hand, and how rewritten names are read. Runs nothing alien.

In: classes and texts of this file. Out: cases, names, heirs.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bufferize.model import Case, SourceFile
from bufferize.verify.heirs import find_heirs
from bufferize.verify.levels import find_promises
from bufferize.verify.naming import find_named, split_address
from bufferize.verify.suggesting import Skeleton, read_skeleton, suggest_case
from bufferize.verify.touched import find_touched

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from bufferize.verify import scene  # noqa: E402
from bufferize.verify.shrinking import shrink_case  # noqa: E402
from bufferize.verify.switching import switch_case  # noqa: E402
from bufferize.verify.synthesis import synthesise_cases  # noqa: E402


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("mask", ("", "mask")),
        ("pkg.m:Net.mask", ("pkg.m:Net", "mask")),
        ("pkg.m:Outer.Inner.mask", ("pkg.m:Outer.Inner", "mask")),
        ("p{self.i}", ("", "p{self.i}")),
        ("m:Net.p{self.i}_x", ("m:Net", "p{self.i}_x")),
    ],
)
def test_addresses_come_apart(address, parts):
    assert split_address(address) == parts


def test_braces_stand_for_any_name():
    names = ["p0", "p11", "q0", "p"]
    assert find_named("p{i}", names) == ["p0", "p11"]
    assert find_named("{name}", names) == names
    assert find_named("p0", names) == ["p0"] and find_named("z", names) == []


def held(**kinds: str) -> dict[str, dict[str, object]]:
    return {name: {"kind": kind, "value": {"bytes": ""}} for name, kind in kinds.items()}


def promised(old, new, attribute, *paths):
    fact = {"persistent": False, "of": "m:Net", "attribute": attribute}
    before = {"builds": {"rewritten": dict.fromkeys(paths, fact), "attributes": old}}
    return set(find_promises(before, {"builds": {"attributes": new}}))


def test_a_pattern_promises_what_became_a_buffer():
    old = held(a="plain", b="plain", c="persistent buffer")
    new = held(a="non-persistent buffer", b="plain", c="persistent buffer")
    assert promised(old, new, "{name}", "a", "b", "c") == {"a"}


def test_a_pattern_that_registered_nothing_is_still_a_promise():
    old = held(a="plain", c="persistent buffer")
    assert promised(old, old, "{name}_x", "a", "c") == {"a"}
    assert promised(old, old, "a", "a") == {"a"}
    # what fits every name says nothing of those it fits
    assert promised(old, old, "{name}", "a", "c") == set()


def test_failures_of_two_runs_read_alike():
    said = scene.describe_failure(TypeError(f"cannot pickle {object()!r}"))["text"]
    assert said == "cannot pickle <object object at 0x...>"


# --- smaller cases


class Deep(nn.Module):
    def __init__(self, dim, depth, heads=8, image_size=32):
        super().__init__()


def test_a_large_case_is_made_smaller_in_steps():
    case = Case("README.md:3", "Deep(1024, 12, heads=16, image_size=256)", ("x",), ("dim = 512",))
    deep, both, wide = shrink_case(case, Deep)
    assert deep.construct == "Deep(1024, 1, heads=16, image_size=256)"
    assert deep.setup == case.setup
    assert both.construct == "Deep(32, 1, heads=16, image_size=256)"
    assert both.setup == ("dim = 32",)
    assert wide.construct == "Deep(32, 12, heads=16, image_size=256)"
    assert both.inputs == ("x",) and both.source == "README.md:3, made smaller"


def test_thousands_of_anything_are_made_few():
    found = list(shrink_case(Case("x", "Deep(dim=8, num_slots=65536, depth=(2, 3))"), Deep))
    assert [case.construct for case in found] == [
        "Deep(dim=8, num_slots=65536, depth=(1, 1))",
        "Deep(dim=8, num_slots=32, depth=(1, 1))",
        "Deep(dim=8, num_slots=32, depth=(2, 3))",
    ]


def test_a_small_case_has_no_smaller_one():
    assert list(shrink_case(Case("x", "Deep(16, depth=1)"), Deep)) == []


class Heavy(nn.Module):
    """Costs time for every layer but one."""

    def __init__(self, depth):
        super().__init__()
        self.mask = torch.ones(3)
        end = time.process_time() + 0.1 * (depth - 1)
        while time.process_time() < end:
            pass

    def forward(self, x):
        return x * self.mask


@pytest.mark.parametrize(
    ("source", "construct"), [("README.md:1", "Heavy(1)"), ("configuration", "Heavy(3)")]
)
def test_a_slow_example_is_tried_smaller_unless_the_user_wrote_it(source, construct, monkeypatch):
    monkeypatch.setattr(scene, "SLOW", 0.05)
    search = scene.Search(scene.Scene(__name__, "Heavy", 0), ["mask"], scene.Tracer("x", []))
    (chosen,) = search.run([Case(source, "Heavy(3)", ("torch.ones(2, 3)",))])
    assert chosen.construct == construct and chosen.inputs == ("torch.ones(2, 3)",)


def test_a_slow_example_is_taken_where_nothing_else_works(monkeypatch):
    monkeypatch.setattr(scene, "SLOW", -1.0)
    search = scene.Search(scene.Scene(__name__, "Heavy", 0), ["mask"], scene.Tracer("x", []))
    (chosen,) = search.run([Case("README.md:1", "Heavy(2)", ("torch.ones(2, 3)",))])
    assert chosen.construct == "Heavy(2)"


# --- branches


class Forked(nn.Module):
    def __init__(self, dim, rotate=False, mode="plain", scale=None):
        super().__init__()
        self.rotate = rotate
        if rotate:
            self.a = dim
        if mode == "deep":
            self.b = dim
        self.c = dim if scale is None else scale

    def forward(self, x):
        if self.rotate:
            return -x
        return x


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip() == text)


@pytest.mark.parametrize(
    ("line", "construct"),
    [
        ("self.a = dim", "Forked(4, rotate=True)"),
        ("self.b = dim", "Forked(4, mode='deep')"),
        ("self.c = dim if scale is None else scale", "Forked(4, scale=0.5)"),
        ("return -x", "Forked(4, rotate=True)"),
    ],
)
def test_the_argument_that_a_branch_reads_is_set_otherwise(line, construct):
    found = switch_case(Case("README.md:1", "Forked(4)"), Forked, [line_of(line)])
    assert next(found).construct == construct


def test_no_switch_where_every_line_runs():
    assert list(switch_case(Case("x", "Forked(4)"), Forked, [])) == []
    assert list(switch_case(Case("x", "Forked(*args)"), Forked, [line_of("self.a = dim")])) == []


TABLE = {"H": 1, "C": 6, "N": 7}


def look_up(symbol):
    return TABLE[symbol]


class Looked(nn.Module):
    def __init__(self, symbols: list[str], first: str):
        super().__init__()
        self.numbers = torch.tensor([TABLE[s] for s in symbols])
        self.first = look_up(first)


def test_a_table_says_which_keys_it_knows():
    case = next(synthesise_cases(Looked, globals(), 0))
    assert case.construct == "Looked(symbols=['H', 'C'], first='H')"


# --- subclasses


def source(path: Path, text: str) -> SourceFile:
    return SourceFile(path, path.name, text.encode(), text)


def test_heirs_are_found_across_files_and_steps(tmp_path):
    for name in ("pkg/__init__.py", "pkg/base.py", "pkg/mid.py", "use.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sources = [
        source(tmp_path / "pkg/base.py", "class Base: pass\nclass Near(Base): pass\n"),
        source(
            tmp_path / "pkg/mid.py",
            "from .base import Base as B\nclass Mid(B):\n    class Inner(B): pass\n",
        ),
        source(
            tmp_path / "use.py",
            "from pkg.mid import Mid\nfrom other import Base\n"
            "class Far(Mid): pass\nclass Alien(Base): pass\n",
        ),
    ]
    heirs = find_heirs([("pkg.base", "Base")], sources, tmp_path, ())
    found = {(heir.module, heir.cls) for heir in heirs["pkg.base", "Base"]}
    assert found == {
        ("pkg.base", "Near"),
        ("pkg.mid", "Mid"),
        ("pkg.mid", "Mid.Inner"),
        ("use", "Far"),
    }


def test_touched_statements_say_where_they_stand():
    before = "class A:\n    def f(self):\n        self.x = 1\n"
    (statement,) = find_touched(before, before.replace("= 1", "= 2"), "A")
    assert (statement.where, statement.text) == ("line 3", "self.x = 1")


SOURCE = """
class Outer:
    class Net(Module):
        def __init__(self, dim, depth=2, *, heads, mode="x"):
            pass

        def forward(self, x, mask, scale=1.0):
            pass
"""


def test_the_suggestion_names_what_must_be_given():
    skeleton = read_skeleton(SOURCE, "Outer.Net")
    assert skeleton == Skeleton(
        "Net(dim=..., heads=...)", "x=torch.randn(...), mask=torch.randn(...)"
    )
    line = suggest_case("m:Outer.Net", skeleton, 'Net(4, heads="a")')
    assert tomllib.loads(line) == {
        "m:Outer.Net": [{"construct": 'Net(4, heads="a")', "inputs": [skeleton.inputs]}]
    }
    assert read_skeleton(SOURCE, "Gone") == Skeleton("Gone(...)", "torch.randn(...)")
