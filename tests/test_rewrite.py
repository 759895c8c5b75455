"""Rewriting: samples in rewrite_samples.txt, and what must hold for every file."""

import ast
import json
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferize.errors import UnreadableFile
from bufferize.model import Edit, EditKind, Registration, SourceFile, Span
from bufferize.notebooks import read_cells
from bufferize.rewrite import apply_edits

WIDTH = 88


def read_samples() -> dict[str, tuple[str, str]]:
    text = Path(__file__).with_name("rewrite_samples.txt").read_text("utf-8")
    found = {}
    for part in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        before, after = body.split("---\n")
        assert title not in found, f"two samples are called {title!r}"
        found[title] = (before, after)
    return found


SAMPLES = read_samples()


def span_of(node: ast.AST, text: str) -> Span:
    lines = re.split(r"\r\n|\r|\n", text)

    def column(line: int, offset: int) -> int:
        return len(lines[line - 1].encode()[:offset].decode())

    return Span(
        node.lineno,
        column(node.lineno, node.col_offset),
        node.end_lineno,
        column(node.end_lineno, node.end_col_offset),
    )


def is_self_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


def register(name: str, value: Span | str, quoted: str = "") -> Registration:
    if name.startswith("none"):
        value = "None"
    suffix = ".clone()" if name.startswith("cloned") else ""
    return Registration(quoted or f'"{name}"', value, name.startswith("saved"), suffix)


def edits_of(text: str, constructor: str = "") -> list[Edit]:
    """One edit for every `self.x = ...`; the attribute's first word chooses what becomes of it."""
    tree = ast.parse(text)
    supers = [n for n in ast.walk(tree) if isinstance(n, ast.Expr) and "super" in ast.dump(n)]
    after = span_of(supers[0], text) if supers else None
    found = []
    for node in ast.walk(tree):
        registrations, bind = read_statement(node, text)
        if not registrations:
            continue
        word = registrations[0].name.strip('"').partition("_")[0]
        kind = {"old": EditKind.DELETE, "late": EditKind.MOVE}.get(word, EditKind.REPLACE)
        where = after if kind is EditKind.MOVE else None
        made = () if kind is EditKind.DELETE else tuple(registrations)
        found.append(Edit(kind, span_of(node, text), "self", made, bind, where, constructor))
    return found


def read_statement(node: ast.AST, text: str):
    if isinstance(node, ast.AnnAssign) and is_self_attribute(node.target):
        return [register(node.target.attr, span_of(node.value, text))], None
    if isinstance(node, ast.Expr) and "'setattr'" in ast.dump(node):
        name, value = node.value.args[1:]
        quoted = ast.get_source_segment(text, name)
        return [register("", span_of(value, text), quoted)], None
    if not isinstance(node, ast.Assign):
        return [], None
    target = node.targets[0]
    if isinstance(target, ast.Tuple) and is_self_attribute(target.elts[0]):
        names = [each.attr for each in target.elts]
        if isinstance(node.value, ast.Tuple):
            values = [span_of(each, text) for each in node.value.elts]
            return [register(*each) for each in zip(names, values, strict=True)], None
        bind = (", ".join(names), span_of(node.value, text))
        return [register(name, name) for name in names], bind
    if not is_self_attribute(target):
        return [], None
    first = register(target.attr, span_of(node.value, text))
    others = [
        Registration(f'"{each.attr}"', f"self.{target.attr}", False, ".clone()")
        for each in node.targets[1:]
    ]
    return [first, *others], None


def source_of(text: str, encoding: str = "utf-8", data: bytes | None = None) -> SourceFile:
    data = text.encode(encoding) if data is None else data
    return SourceFile(Path("model.py"), "model.py", data, text, encoding)


def rewrite(text: str, width: int = WIDTH, constructor: str = "") -> str:
    data, new = apply_edits(source_of(text), edits_of(text, constructor), width)
    assert data.decode() == new
    return new


@pytest.mark.parametrize("title", SAMPLES)
def test_sample(title):
    before, after = SAMPLES[title]
    width = 97 if title == "exactly as long as the line" else WIDTH
    assert rewrite(before, width) == after


def test_there_are_enough_samples():
    assert len(SAMPLES) >= 60


def in_method(text: str, indent: str) -> str:
    body = textwrap.indent(text, indent * 2)
    return f"class A(B):\n{indent}def __init__(self):\n{body}{indent * 2}# end\n"


LINES_OF_THEIR_OWN = [
    title for title in SAMPLES if '"""' not in SAMPLES[title][0] and "line" not in title
]


@pytest.mark.parametrize("indent", ["    ", "  ", "\t"])
@pytest.mark.parametrize("title", LINES_OF_THEIR_OWN)
def test_sample_deep_in_a_class_keeps_the_rest(title, indent):
    before = in_method(SAMPLES[title][0], indent)
    new = rewrite(before)
    ast.parse(new)
    assert new.startswith(f"class A(B):\n{indent}def __init__(self):\n")
    assert new.endswith(f"\n{indent * 2}# end\n")
    assert ast.dump(ast.parse(new)) == ast.dump(ast.parse(in_method(SAMPLES[title][1], indent)))


@pytest.mark.parametrize("title", SAMPLES)
@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_sample_with_other_newlines(title, newline):
    before, after = SAMPLES[title]
    if title == "exactly as long as the line":
        return
    assert rewrite(before.replace("\n", newline)) == after.replace("\n", newline)


@pytest.mark.parametrize("title", SAMPLES)
def test_sample_without_a_final_newline(title):
    before, after = SAMPLES[title]
    if title != "exactly as long as the line" and not title.startswith("delete"):
        assert rewrite(before.rstrip("\n")) == after.rstrip("\n")


def test_indents_as_the_file_does():
    tabs = "class A:\n\tdef f(self):\n\t\tself.m = " + "f(a_long_argument, " * 4 + "x))))\n"
    assert '\n\t\t\t"m",\n\t\t\tf(' in rewrite(tabs)
    two = tabs.replace("\t", "  ")
    assert '\n      "m",\n      f(' in rewrite(two)


def test_buffer_constructor():
    new = rewrite('self.m = torch.ones(3)\nsetattr(self, f"m{i}", x)\n', constructor="nn.Buffer")
    assert new == (
        "self.m = nn.Buffer(torch.ones(3), persistent=False)\n"
        'setattr(self, f"m{i}", nn.Buffer(x, persistent=False))\n'
    )


def test_another_receiver():
    edit = Edit(EditKind.REPLACE, Span(1, 0, 1, 9), "module", (Registration('"m"', "x", True),))
    assert apply_edits(source_of("mod.m = x\n"), [edit], 88)[1] == (
        'module.register_buffer("m", x, persistent=True)\n'
    )


def test_a_class_attribute_can_be_deleted():
    text = "class A:\n    mask = None  # later\n\nclass B:\n    mask = None\n    x = 1\n"
    edits = [Edit(EditKind.DELETE, Span(line, 4, line, 15)) for line in (2, 5)]
    assert apply_edits(source_of(text), edits, 88)[1] == (
        "class A:\n    pass\n\nclass B:\n    x = 1\n"
    )


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("utf-8-sig", ""),
        ("latin-1", "# -*- coding: latin-1 -*-\n"),
        ("shift_jis", "# coding: shift_jis\n"),
    ],
)
def test_encodings_survive(encoding, head):
    letter = "表" if encoding == "shift_jis" else "é"
    text = f"{head}x = '{letter}'\nself.m = f('{letter}')\n"
    data, new = apply_edits(source_of(text, encoding), edits_of(text), 88)
    assert new == text.replace("self.m = f(", 'self.register_buffer("m", f(').replace(
        "')\n", "'), persistent=False)\n"
    )
    assert data == new.encode(encoding)


def test_no_edits_change_nothing():
    data = b"\xef\xbb\xbfself.x = 1 \r\n\x0c\n\ty"
    source = source_of("self.x = 1", "utf-8-sig", data)
    assert apply_edits(source, [], 88) == (data, "self.x = 1")


def test_an_edit_that_names_no_statement_is_refused():
    edit = Edit(EditKind.DELETE, Span(1, 0, 1, 3))
    with pytest.raises(ValueError, match="no statement at line 1"):
        apply_edits(source_of("x = 1\n"), [edit], 88)


@pytest.mark.parametrize("link", [".b", "+ b", "()"])
def test_a_value_that_would_overflow_the_parser_is_refused(link):
    text = "self.m = a" + link * 20_000 + "\n"
    edit = Edit(
        EditKind.REPLACE,
        Span(1, 0, 1, len(text) - 1),
        registrations=(Registration('"m"', Span(1, 9, 1, len(text) - 1), True),),
    )
    with pytest.raises((UnreadableFile, RecursionError)):
        apply_edits(source_of(text), [edit], 88)


def test_a_long_table_is_no_deep_one():
    text = "self.m = f([" + "1, " * 2_000 + "])\n"
    assert rewrite(text).startswith('self.register_buffer(\n    "m",\n    f(\n')


NAMES = st.sampled_from(["x", "dim", "torch.pi", "config.max_position_embeddings", "0.5", '"é"'])


def calls(inner):
    function = st.sampled_from(["f", "torch.arange", "torch.nn.functional.pad"])
    arguments = st.lists(inner, max_size=3).map(", ".join)
    operators = st.sampled_from(["+", "*", "**", "@", "<", "and", "if x else"])
    return (
        st.tuples(function, arguments).map(lambda p: f"{p[0]}({p[1]})")
        | st.tuples(inner, operators, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
        | st.tuples(inner, st.sampled_from(["float", "view"])).map(lambda p: f"({p[0]}).{p[1]}(1)")
        | st.tuples(inner, inner).map(lambda p: f"[{p[0]},\n      {p[1]}]  ".rstrip())
        | st.tuples(inner, inner).map(lambda p: f"f(\n  {p[0]},  # c\n  k={p[1]},\n)")
        | inner.map(lambda p: f"(-{p})")
    )


VALUES = st.recursive(NAMES, calls, max_leaves=8)
OTHERS = st.sampled_from(
    ["x = 1", "# words", "", "y = 'é'  # ü", "def g():\n    return 'a\\\nb'", 'z = """\n  q\n"""']
)


@st.composite
def files(draw):
    parts, values = [], []
    for _ in range(draw(st.integers(1, 4))):
        parts.append(draw(OTHERS))
        value = draw(VALUES)
        values.append(value)
        parts.append(f"self.m{len(values)} = {value}" + draw(st.sampled_from(["", "  # why"])))
    parts.append(draw(OTHERS))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return "\n".join(parts).replace("\n", newline) + draw(st.sampled_from(["", newline])), values


@given(files(), st.integers(40, 100))
def test_every_rewrite_says_the_same(sample, width):
    text, values = sample
    edits = edits_of(text)
    new = rewrite(text, width)
    registered = [
        ast.unparse(node.value.args[1])
        for node in ast.parse(new).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    assert registered == [ast.unparse(ast.parse(f"({v})", mode="eval")) for v in values]
    assert len(edits) == len(values)


@given(files(), st.integers(40, 100))
def test_all_outside_the_statements_stays(sample, width):
    text, _ = sample
    starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n", text))]
    gaps, position = [], 0
    for span in sorted(edit.span for edit in edits_of(text)):
        gaps.append(text[position : starts[span.line - 1] + span.column])
        position = starts[span.end_line - 1] + span.end_column
    gaps.append(text[position:])
    call = r"self\.register_buffer\(.*?\)"
    assert re.fullmatch(call.join(re.escape(gap) for gap in gaps), rewrite(text, width), re.DOTALL)


@given(files(), st.integers(40, 100))
def test_a_second_run_finds_nothing(sample, width):
    text, _ = sample
    new = rewrite(text, width)
    assert edits_of(new) == []
    assert rewrite(new, width) == new


def notebook(*cells: str) -> SourceFile:
    stored = [
        {"cell_type": "code", "metadata": {}, "outputs": [], "source": cell.splitlines(True)}
        for cell in cells
    ]
    document = {"cells": stored, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    data = (json.dumps(document, indent=1) + "\n").encode()
    text, found, warnings = read_cells(data)
    assert not warnings
    return SourceFile(Path("a.ipynb"), "a.ipynb", data, text, "utf-8", found)


def test_a_notebook_is_rewritten_cell_by_cell():
    source = notebook(
        "!pip install torch\nimport torch",
        "%%time\nself.a = torch.ones(3)\n%matplotlib inline\nself.old_b = None",
        "self.c, self.d = rope(dim); x",
    )
    data, text = apply_edits(source, edits_of(source.text), 88)
    new = ["".join(cell["source"]) for cell in json.loads(data)["cells"]]
    assert new == [
        "!pip install torch\nimport torch",
        '%%time\nself.register_buffer("a", torch.ones(3), persistent=False)\n%matplotlib inline',
        'c, d = rope(dim); self.register_buffer("c", c, persistent=False); '
        'self.register_buffer("d", d, persistent=False); x',
    ]
    assert text == read_cells(data)[0]
    before, after = source.data.decode().splitlines(), data.decode().splitlines()
    assert [line for line in before if "self." not in line and "matplotlib" not in line] == [
        line for line in after if "self." not in line and "matplotlib" not in line
    ]
