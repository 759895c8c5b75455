"""Cases mined from a repository's own text: what is found, what is left alone."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from bufferize.model import Case, Cell, SourceFile
from bufferize.settings import Settings
from bufferize.verify.cases import MOST_CASES, mine_cases

ATTENTION = """
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.heads = heads
        self.mask = torch.ones(dim, dim)

    def forward(self, x, mask=None):
        return x
"""
KEY = ("pkg.attention", "Attention")


def source(root: Path, name: str, text: str) -> SourceFile:
    text = textwrap.dedent(text).lstrip("\n")
    return SourceFile(root / name, name, text.encode(), text)


def notebook(root: Path, name: str, cells: dict[int, str]) -> SourceFile:
    text, line, read = "", 1, []
    for number, content in cells.items():
        content = textwrap.dedent(content).strip("\n")
        lines = content.count("\n") + 1
        read.append(Cell(number, line, lines, content))
        text += content + "\n"
        line += lines
    return SourceFile(root / name, name, b"{}", text, cells=tuple(read))


def mine(root: Path, files: dict[str, str], key=KEY, settings=None) -> tuple[Case, ...]:
    sources = [source(root, name, text) for name, text in files.items()]
    return mine_cases([key], sources, root, settings or Settings())[key]


def mine_test(root: Path, text: str) -> tuple[Case, ...]:
    return mine(root, {"pkg/attention.py": ATTENTION, "tests/test_attention.py": text})


def test_a_lesson_gives_its_arguments_and_its_input(tmp_path):
    lesson = notebook(
        tmp_path,
        "lesson.ipynb",
        {
            2: "import torch\nimport torch.nn as nn\nclass Causal(nn.Module):\n    pass",
            3: """
            torch.manual_seed(7)

            rows = torch.tensor(
              [[0.4, 0.1, 0.8],  # first
               [0.5, 0.8, 0.6]]  # second
            )

            batch = torch.stack((rows, rows), dim=0)
            length = batch.shape[1]
            d_in = rows.shape[1]
            d_out = 2

            causal = Causal(d_in, d_out, length, 0.0)

            with torch.no_grad():
                out = causal(batch)
            """,
            5: 'batch = batch.to("cuda")\ncausal.to("cuda");',
            6: "causal.mask = causal.mask.to('cuda')\nout = causal(batch)",
        },
    )
    key = ("lesson", "Causal")
    (case,) = mine_cases([key], [lesson], tmp_path, Settings())[key]
    assert case == Case(
        source="lesson.ipynb cell 3:13",
        construct="Causal(d_in, d_out, length, 0.0)",
        inputs=("batch",),
        setup=(
            "rows = torch.tensor([[0.4, 0.1, 0.8], [0.5, 0.8, 0.6]])",
            "batch = torch.stack((rows, rows), dim=0)",
            "length = batch.shape[1]",
            "d_in = rows.shape[1]",
            "d_out = 2",
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "from pkg.attention import Attention\nAttention(8)",
        "from pkg.attention import Attention as A\nA(8)",
        "import pkg.attention\npkg.attention.Attention(8)",
        "import pkg.attention as att\natt.Attention(8)",
        "from pkg import attention\nattention.Attention(8)",
        "from pkg.attention import *\nAttention(8)",
        "def test():\n    from pkg.attention import Attention\n    Attention(8)",
    ],
    ids=["from", "alias", "dotted", "module alias", "module from", "star", "in a function"],
)
def test_a_callee_resolves_through(tmp_path, text):
    (case,) = mine_test(tmp_path, text)
    assert case.construct == "Attention(8)"
    assert case.setup == ()


@pytest.mark.parametrize(
    "text",
    [
        "from other.attention import Attention\nAttention(8)",
        "from pkg.layers import Attention\nAttention(8)",
        "class Attention: pass\nAttention(8)",
        "Attention(8)",
    ],
    ids=["another package", "another module", "a class of its own", "not imported"],
)
def test_another_class_of_that_name_is_left_alone(tmp_path, text):
    files = {
        "pkg/attention.py": ATTENTION,
        "pkg/layers.py": "class Attention: pass",
        "tests/test_attention.py": text,
    }
    assert mine(tmp_path, files) == ()


def test_a_package_may_export_the_class(tmp_path):
    files = {
        "src/pkg/attention.py": ATTENTION,
        "src/pkg/__init__.py": "from .attention import Attention",
        "tests/test_it.py": "import pkg\nm = pkg.Attention(8)\nm(1)",
    }
    (case,) = mine(tmp_path, files)
    assert (case.construct, case.inputs) == ("Attention(8)", ("1",))


def test_a_package_that_exports_a_namesake_does_not(tmp_path):
    files = {
        "pkg/attention.py": ATTENTION,
        "pkg/fast.py": "class Attention: pass",
        "pkg/__init__.py": "from .fast import Attention",
        "tests/test_it.py": "import pkg\npkg.Attention(8)",
    }
    assert mine(tmp_path, files) == ()


def test_relative_imports_resolve_and_are_written_absolute(tmp_path):
    files = {
        "pkg/attention.py": ATTENTION,
        "pkg/config.py": "WIDTH = 8",
        "pkg/models/small.py": """
            from ..attention import Attention
            from ..config import WIDTH, OTHER
            def small(heads=4, **kwargs):
                return Attention(WIDTH, heads, **kwargs)
        """,
    }
    (case,) = mine(tmp_path, files)
    assert case.construct == "Attention(WIDTH, heads, **kwargs)"
    assert case.setup == ("from pkg.config import WIDTH", "heads = 4", "kwargs = {}")


def test_main_block_of_the_same_file(tmp_path):
    text = ATTENTION + textwrap.dedent("""
        WIDTH = 8

        if __name__ == "__main__":
            device = "cuda" if torch.cuda.is_available() else "cpu"
            heads = 4
            x = torch.randn(2, WIDTH, device=device).to(device)
            model = Attention(WIDTH, heads).to(device)
            y = model(x, mask=torch.ones(2).cuda())
            print(y.shape)
    """)
    (case,) = mine(tmp_path, {"pkg/attention.py": text})
    assert case.setup == ("heads = 4", "x = torch.randn(2, WIDTH)")
    assert case.construct == "Attention(WIDTH, heads)"
    assert case.inputs == ("x, mask=torch.ones(2)",)


def test_readme_blocks_share_their_names(tmp_path):
    (tmp_path / "README.md").write_text(
        "# pkg\n\n```bash\npip install pkg\n```\n\n```python\nimport torch\n"
        "from pkg import Attention\n\nmodel = Attention(dim=8)\n```\n\nThen:\n\n"
        "```python\nx = torch.randn(1, 4, 8)\nmodel(x)\n```\n\n"
        "```python\nthis is ... not python\n```\n"
    )
    (case,) = mine(tmp_path, {"pkg/attention.py": ATTENTION})
    assert case.source == "README.md:11"
    assert case.construct == "Attention(dim=8)"
    assert case.inputs == ("x",)
    assert case.setup == ("import torch", "x = torch.randn(1, 4, 8)")


def test_rst_pages_below_docs(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/usage.rst").write_text(
        "Usage\n=====\n\n.. code-block:: python\n   :linenos:\n\n   from pkg import Attention\n"
        "   layer = Attention(8)\n   layer.forward(torch.ones(2, 8))\n"
    )
    (case,) = mine(tmp_path, {"pkg/attention.py": ATTENTION})
    assert (case.source, case.inputs) == ("docs/usage.rst:8", ("torch.ones(2, 8)",))
    assert case.setup == ("import torch",)


@pytest.mark.parametrize(
    "example",
    [
        ">>> m = Attention(8)\n>>> x = torch.rand(\n...     2, 8)\n>>> m(x)\ntorch.Size([2, 8])",
        "Examples::\n\n    m = Attention(8)\n    x = torch.rand(2, 8)\n    out = m(x)",
        "```python\nm = Attention(8)\nx = torch.rand(2, 8)\nm(x)\n```",
    ],
    ids=["doctest", "literal block", "fence"],
)
def test_docstring_examples(tmp_path, example):
    text = ATTENTION.replace(
        "class Attention(nn.Module):\n",
        'class Attention(nn.Module):\n    """Attends.\n\n'
        + textwrap.indent(example, "    ")
        + '\n    """\n',
    )
    (case,) = mine(tmp_path, {"pkg/attention.py": text})
    assert case.construct == "Attention(8)"
    assert case.setup == ("x = torch.rand(2, 8)",)
    assert case.inputs == ("x",)
    assert case.source.startswith("pkg/attention.py:")


def test_parametrized_tests_and_fixtures(tmp_path):
    cases = mine_test(
        tmp_path,
        """
        import pytest, torch
        from pkg.attention import Attention

        @pytest.fixture
        def width():
            return 8

        @pytest.fixture
        def model(width):
            built = Attention(width)
            return built

        def test_shape(model, width):
            assert model(torch.ones(2, width)).shape == (2, width)

        @pytest.mark.parametrize("heads, x", [(4, torch.ones(3, 8)), (2, None)])
        def test_heads(heads, x):
            Attention(8, heads=heads)(x)
        """,
    )
    by_construct = {case.construct: case for case in cases}
    fixture = by_construct["Attention(width)"]
    assert fixture.inputs == ("torch.ones(2, width)",)
    assert "def width():\n    return 8" in fixture.setup
    assert "width = width()" in fixture.setup
    marked = by_construct["Attention(8, heads=heads)"]
    assert marked.setup == ("import torch", "heads, x = (4, torch.ones(3, 8))")
    assert marked.inputs == ("x",)


def test_test_cases_keep_their_model_on_self(tmp_path):
    (case,) = mine_test(
        tmp_path,
        """
        import torch, unittest
        from pkg.attention import Attention

        class AttentionTest(unittest.TestCase):
            def setUp(self):
                self.dim = 8
                self.model = Attention(self.dim)

            def test_forward(self):
                x = torch.ones(2, self.dim)
                self.model(x)
        """,
    )
    assert case.construct == "Attention(self_dim)"
    assert case.setup == ("import torch", "self_dim = 8", "x = torch.ones(2, self_dim)")
    assert case.inputs == ("x",)


def test_helpers_and_config_classes_of_another_file_come_along(tmp_path):
    (case,) = mine_test(
        tmp_path,
        """
        from dataclasses import dataclass
        from pkg.attention import Attention

        @dataclass
        class Config:
            dim: int = 4

        def make():
            return Config()

        config = make()
        config.dim = 8
        Attention(config.dim)
        """,
    )
    assert case.setup[0] == "from dataclasses import dataclass"
    assert case.setup[-2:] == ("config = make()", "config.dim = 8")
    assert any(line.startswith("@dataclass") for line in case.setup)


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nargs = torch.load('args.pt')\nAttention(args)",
        "with open('dim.txt') as f:\n    dim = int(f.read())\nAttention(dim)",
        "def build(dim):\n    return Attention(dim)",
        "import sys\nAttention(int(sys.argv[1]), open('x'))",
        "import argparse\nargs = argparse.ArgumentParser().parse_args()\nAttention(args.dim)",
    ],
    ids=["load", "open", "parameter", "open in the call", "command line"],
)
def test_what_needs_files_or_callers_is_no_case(tmp_path, text):
    assert mine_test(tmp_path, "from pkg.attention import Attention\n" + text) == ()


def test_inputs_from_data_are_left_out_but_the_constructor_stays(tmp_path):
    (case,) = mine_test(
        tmp_path,
        """
        from pkg.attention import Attention
        model = Attention(8)
        for batch in DataLoader(data):
            model(batch)
        """,
    )
    assert (case.construct, case.inputs, case.setup) == ("Attention(8)", (), ())


def test_an_input_that_would_change_the_constructor_is_left_out(tmp_path):
    first, second = mine_test(
        tmp_path,
        """
        import torch
        from pkg.attention import Attention
        dim = 4
        one = Attention(dim)
        one(torch.ones(dim))
        dim = 8
        one(torch.ones(dim))
        two = Attention(dim)
        two(torch.zeros(dim))
        """,
    )
    assert first.setup == ("import torch", "dim = 4")
    assert first.inputs == ("torch.ones(dim)",)
    assert second.setup == ("import torch", "dim = 8")
    assert second.inputs == ("torch.zeros(dim)",)


def test_an_input_made_by_the_module_itself_is_left_out(tmp_path):
    (case,) = mine_test(
        tmp_path,
        """
        from pkg.attention import Attention
        model = Attention(8)
        x = model.start()
        model(x)
        """,
    )
    assert case.inputs == ()


def test_configuration_comes_first(tmp_path):
    mine_case = Case(source="", construct="Attention(16)", inputs=("torch.ones(1)",))
    settings = Settings(cases={"pkg.attention:Attention": (mine_case,)})
    files = {
        "pkg/attention.py": ATTENTION,
        "tests/t.py": "from pkg.attention import Attention\nAttention(8)",
    }
    first, second = mine(tmp_path, files, settings=settings)
    assert (first.source, first.construct) == ("configuration", "Attention(16)")
    assert second.source == "tests/t.py:2"


def test_order_bound_and_no_duplicates(tmp_path):
    calls = "\n".join(f"Attention({n % 10 + 1})" for n in range(30))
    files = {
        "far/away/deep/script.py": "from pkg.attention import Attention\nAttention(99)",
        "pkg/near.py": f"from pkg.attention import Attention\nn = 5\nAttention(n)\n{calls}",
        "pkg/attention.py": ATTENTION,
    }
    cases = mine(tmp_path, files)
    assert len(cases) == MOST_CASES
    assert len({case.construct for case in cases}) == MOST_CASES
    assert cases[0].source == "pkg/near.py:4"
    assert all(case.construct != "Attention(n)" for case in cases)


def test_nested_classes_and_unparsable_neighbours(tmp_path):
    files = {
        "pkg/outer.py": "class Outer:\n    class Inner: ...\nOuter.Inner(3)",
        "pkg/broken.py": "Inner(",
    }
    (case,) = mine(tmp_path, files, key=("pkg.outer", "Outer.Inner"))
    assert case.construct == "Outer.Inner(3)"


def test_nothing_to_mine(tmp_path):
    assert mine_cases([], [], tmp_path, Settings()) == {}
    assert mine(tmp_path, {"pkg/attention.py": ATTENTION}) == ()
