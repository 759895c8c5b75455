"""Notebooks: magics masked line for line, cells put back without touching another byte."""

import ast
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufferize.errors import UnreadableFile
from bufferize.notebooks import read_cells, replace_cells


def document(*cells, **fields) -> dict:
    made = [
        cell
        if isinstance(cell, dict)
        else {"cell_type": "code", "metadata": {}, "outputs": [], "source": cell}
        for cell in cells
    ]
    return {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **fields}


def dump(*cells, **fields) -> bytes:
    return json.dumps(document(*cells, **fields)).encode()


def masked(source: str) -> str:
    text, cells, warnings = read_cells(dump(source))
    assert warnings == ()
    assert [cell.source for cell in cells] == [source]
    assert text.endswith("\n")
    return text[:-1]


MASKED = {
    "plain": ("x = 1\ny = 2", "x = 1\ny = 2"),
    "shell": ("!pip install torch\nx = 1", "pass\nx = 1"),
    "line magic": ("%matplotlib inline\nx = 1", "pass\nx = 1"),
    "indented": ("if x:\n    !ls\n    %cd y\nz = 1", "if x:\n    pass\n    pass\nz = 1"),
    "continued": ("!pip install \\\n  torch\nx = 1", "pass\n\nx = 1"),
    "assigned shell": ("files = !ls 'a\nx = 1", "files = None\nx = 1"),
    "assigned magic": ("a, b = %sql select (\nx = 1", "a, b = None\nx = 1"),
    "help": ("torch.ones?\nx = 1\n?x\nx??", "pass\nx = 1\npass\npass"),
    "question in a comment": ("x = 1 # why?", "x = 1 # why?"),
    "percent operator": ("x = (a\n% b)\n%time y", "x = (a\n% b)\npass"),
    "inside a string": ('x = """\n!ls\n%a\n"""\n!ls', 'x = """\n!ls\n%a\n"""\npass'),
    "open quotes and brackets in a magic": ("!echo don't (\nx = 1", "pass\nx = 1"),
    "not equal": ("a = b != c\n!ls", "a = b != c\npass"),
    "whole cell": ("%%bash\nls '\nfor x", "\n\n"),
    "unknown cell magic": ("%%mystery a\nx = 1", "\n"),
    "python cell magic": ("%%time\nx = 1", "pass\nx = 1"),
    "stacked cell magics": ("%%capture out\n%%time\nx = 1", "pass\npass\nx = 1"),
    "cell magic below blank lines": ("\n%%bash\nls '", "\n\n"),
    "double percent further down": ("x = 1\n%%time\ny = 2", "x = 1\npass\ny = 2"),
    "await at the top": ("x = await f()\n!ls", "x = await f()\npass"),
    "empty": ("", ""),
    "ends in a newline": ("!ls\n", "pass\n"),
    "carriage returns": ("!ls\r\nx = 1\r\n", "pass\r\nx = 1\r\n"),
    "quiet help": ("%pinfo x\n/f 1\n,f a", "pass\npass\npass"),
}


@pytest.mark.parametrize("case", MASKED)
def test_masks(case):
    source, expected = MASKED[case]
    assert masked(source) == expected
    ast.parse(expected)
    assert len(expected.splitlines()) <= len(source.splitlines())


def test_cells_are_joined_line_for_line():
    markdown = {"cell_type": "markdown", "metadata": {}, "source": ["# not python"]}
    raw = {"cell_type": "raw", "source": "raw"}
    data = dump(["a = 1\n", "b = 2"], markdown, "!ls\n", raw, [], "c = 3")
    text, cells, warnings = read_cells(data)
    assert text == "a = 1\nb = 2\npass\n\n\nc = 3\n"
    assert [(cell.number, cell.line, cell.lines) for cell in cells] == [
        (1, 1, 2),
        (3, 3, 2),
        (5, 5, 1),
        (6, 6, 1),
    ]
    assert warnings == ()


def test_a_cell_that_is_no_python_stops_no_other():
    text, cells, warnings = read_cells(dump("a = 1", "def (:\n  x", "b = 2"), "n.ipynb")
    assert text == "a = 1\n\n\nb = 2\n"
    assert len(cells) == 3
    (warning,) = warnings
    assert (warning.name, warning.cell, warning.line) == ("n.ipynb", 2, 1)
    assert "not valid Python" in warning.message
    assert "\n" not in warning.message


@pytest.mark.parametrize("source", ["(" * 3000 + ")" * 3000, "x = '\ud800'", "a\0b"])
def test_odd_cells_are_passed_over(source):
    text, _, (warning,) = read_cells(dump(source, "b = 2"))
    assert text == "\nb = 2\n"
    assert warning.cell == 1


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"language": "R", "name": "ir"}},
        {"kernelspec": {"name": "julia-1.9"}, "language_info": {"name": "julia"}},
        {"language_info": {"name": "bash"}},
    ],
)
def test_other_languages_have_no_cells(metadata):
    assert read_cells(dump("x = 1", metadata=metadata)) == ("", (), ())


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"language": "python", "name": "x"}},
        {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "accelerator": "GPU"},
        {"language_info": {"name": "ipython", "version": "3.11"}},
        {},
    ],
)
def test_python_is_read(metadata):
    assert read_cells(dump("x = 1", metadata=metadata))[0] == "x = 1\n"


def test_a_cell_in_another_language_is_left_out():
    shell = {"cell_type": "code", "metadata": {"vscode": {"languageId": "shellscript"}}}
    text, cells, _ = read_cells(dump({**shell, "source": "ls"}, "x = 1"))
    assert text == "x = 1\n"
    assert [cell.number for cell in cells] == [2]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"cells": [}', "not JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "states no nbformat"),
        (b'{"nbformat": 3, "worksheets": []}', "notebook format 3"),
        (b'{"nbformat": 4}', "no list of cells"),
        (b'{"nbformat": 4, "cells": {}}', "no list of cells"),
        (b'{"nbformat": 4, "cells": [1]}', "cell 1 has no cell_type"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}', "is no text"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [5]}]}', "is no text"),
        (b'{"nbformat": 4, "cells": []} x', "not JSON (Extra data)"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_broken_notebooks_are_refused_in_one_line(data, said):
    with pytest.raises(UnreadableFile) as caught:
        read_cells(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


STYLES = {
    "jupyter": {"indent": 1, "ensure_ascii": False},
    "escaped": {"indent": 1, "ensure_ascii": True},
    "compact": {"separators": (",", ":"), "ensure_ascii": False},
    "one line": {},
    "tabs": {"indent": "\t", "sort_keys": True},
}


@pytest.mark.parametrize("tail", ["", "\n", " \r\n"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("as_list", [True, False])
def test_a_replaced_cell_reads_as_if_it_had_been_saved_so(style, as_list, tail):
    def make(source: str) -> bytes:
        lines = source.splitlines(True) if as_list else source
        cells = ["é = 1", lines, {"cell_type": "markdown", "source": ["ü 😀\n"], "x": [1.0, 1e5]}]
        made = document(*cells, metadata={"z": "ß", "a": None})
        return (json.dumps(made, **STYLES[style]) + tail).encode()

    old = "first = 'ä'\nsecond = 2\nthird\n"
    new = "first = 'ä'\nsecond = '/ö\"\\\\'\nmore = 5\nthird\n"
    assert replace_cells(make(old), {2: new}) == make(new)
    assert replace_cells(make(new), {2: old}) == make(old)
    assert replace_cells(make(old), {2: old}) == make(old)
    assert replace_cells(make(old), {}) == make(old)


def test_odd_bytes_elsewhere_survive():
    data = (
        b'\xef\xbb\xbf{ "nbformat" :4,"cells":[ {"source" : ["a = 1\\n" ,\n\t"b \\u003d \\/2"],'
        b'"cell_type":"code", "outputs":[{"x":1.50, "y":-0, "y":1E3}] } ,'
        b'{"cell_type":"code","source":"c"} ]}'
    )
    new = replace_cells(data, {1: "a = 5\nb = /2", 2: "c\nd"})
    assert new == data.replace(b'"a = 1\\n"', b'"a = 5\\n"').replace(b':"c"', b':"c\\nd"')


def test_of_a_key_that_stands_twice_the_last_counts():
    data = (
        b'{"cells": [], "nbformat": 4, "cells": [{"cell_type": "code", "source": "a",'
        b' "source": "b"}]}'
    )
    assert read_cells(data)[0] == "b\n"
    assert replace_cells(data, {1: "c"}) == data.replace(b'"b"', b'"c"')


TEXTS = st.lists(
    st.sampled_from(["x = 1", "é", '"\\', "", "  # ☃", "\t😀", "y\u2028z", "!ls"]), max_size=5
).map("\n".join)


@given(
    st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=4),
    st.data(),
    st.sampled_from(list(STYLES.values())),
)
def test_replacing_is_exact(cells, data, style):
    def shape(text: str, as_list: bool):
        return [line for line in re.split(r"(?<=\n)", text) if line] if as_list else text

    def make(sources) -> bytes:
        pairs = zip(sources, cells, strict=True)
        stored = [shape(text, as_list) for text, (_, as_list) in pairs]
        return json.dumps(document(*stored), **style).encode()

    number = data.draw(st.integers(1, len(cells)))
    new = data.draw(TEXTS.filter(bool))
    sources = [text for text, _ in cells]
    changed = [*sources[: number - 1], new, *sources[number:]]
    before = make(sources)
    after = replace_cells(before, {number: new})
    read = [cell.source for cell in read_cells(after)[1]]
    assert read == changed
    # an untouched source may have been empty, and then its style is unknown
    if all(sources) and before.isascii() == make(changed).isascii():
        assert json.loads(after) == json.loads(make(changed))
    assert replace_cells(before, dict(enumerate(sources, 1))) == before
