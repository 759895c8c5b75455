"""Arguments and inputs for modules that nobody shows how to build or call."""

from __future__ import annotations

import copy
import inspect

import module_shapes
import pytest
import torch
from torch import nn

from bufferize.model import Case
from bufferize.verify.plausible import PROFILES, suggest
from bufferize.verify.probing import MOST_TRIES, _Search
from bufferize.verify.synthesis import build_case, probe_inputs, synthesise_cases

pytestmark = pytest.mark.slow

NAMESPACE = vars(module_shapes)
SHAPES = [
    cls
    for cls in NAMESPACE.values()
    if inspect.isclass(cls) and issubclass(cls, nn.Module) and cls.__module__ == "module_shapes"
    and cls is not module_shapes.Base
]  # fmt: skip


def first_case(cls: type) -> Case:
    return next(synthesise_cases(cls, NAMESPACE, 0))


def test_there_are_shapes_enough():
    assert len(SHAPES) >= 30


@pytest.mark.parametrize("cls", SHAPES, ids=lambda cls: cls.__name__)
def test_a_module_is_built_and_run_from_its_signature(cls):
    case = first_case(cls)
    assert case.source == "signature"
    module = build_case(case, NAMESPACE, 0)
    assert isinstance(module, cls)
    inputs = list(probe_inputs(module, case, 0))
    assert inputs
    for source in inputs:
        torch.manual_seed(0)
        eval(f"module({source})", {"torch": torch, "module": module})


@pytest.mark.parametrize("cls", SHAPES[:6], ids=lambda cls: cls.__name__)
def test_the_same_again(cls):
    once = list(synthesise_cases(cls, NAMESPACE, 0))
    assert once == list(synthesise_cases(cls, NAMESPACE, 0))
    assert len({case.construct for case in once}) == len(once)
    module = build_case(once[0], NAMESPACE, 0)
    assert list(probe_inputs(module, once[0], 0)) == list(probe_inputs(module, once[0], 0))


def test_plain_source_with_heads_that_divide():
    case = first_case(module_shapes.CausalSelfAttention)
    assert case.construct == "CausalSelfAttention(d_model=16, n_heads=4, max_len=16, dropout=0.1)"
    assert case.setup == ()


def test_defaults_are_kept():
    case = first_case(module_shapes.PositionalEncoding)
    assert case.construct == "PositionalEncoding(d_model=16)"


def test_branches_that_defaults_leave_out_are_built_too():
    built = [
        build_case(case, NAMESPACE, 0)
        for case in synthesise_cases(module_shapes.Switched, NAMESPACE, 0)
    ]
    assert any(hasattr(module, "mask") for module in built)
    assert any(hasattr(module, "table") for module in built)
    assert not hasattr(built[0], "mask") and not hasattr(built[0], "table")


def test_a_large_configuration_is_made_small():
    case = first_case(module_shapes.GPT)
    assert "n_embd=16" in case.construct and "vocab_size=40" in case.construct
    module = build_case(case, NAMESPACE, 0)
    assert sum(p.numel() for p in module.parameters()) < 100_000


def test_probing_changes_nothing():
    module = module_shapes.Stateful()
    module.train()
    before = copy.deepcopy(module.state_dict())
    random = torch.get_rng_state()
    assert list(probe_inputs(module, Case("", "Stateful()"), 0))
    assert module.training and module.cell.training
    assert module.count == 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_a_module_that_cannot_be_copied_is_put_back():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(4, 4)
            self.history = self.lin.weight * 2
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            self.seen = x
            return self.lin(x) @ self.history

    module = Stubborn()
    assert list(probe_inputs(module, Case("", "Stubborn()"), 0))
    assert module.calls == 0 and not hasattr(module, "seen")
    assert module.training and module.lin.training


def test_tries_are_bounded():
    class Never(nn.Module):
        def forward(self, x):
            raise RuntimeError(f"shape {tuple(x.shape)} is not 12345")

    search = _Search(Never(), 0)
    assert search.find() is None
    assert 5 < search.tries <= MOST_TRIES
    assert list(probe_inputs(Never(), Case("", "Never()"), 0)) == []


def test_no_forward_no_inputs():
    class Table(nn.Module):
        pass

    assert list(probe_inputs(Table(), Case("", "Table()"), 0)) == []


def test_what_cannot_be_built_gives_no_case_after_few_attempts():
    class Hopeless(nn.Module):
        def __init__(self, thing):
            super().__init__()
            raise RuntimeError("needs a licence")

    attempts = []

    def attempt(case: Case) -> Exception | None:
        attempts.append(case)
        try:
            build_case(case, {"Hopeless": Hopeless}, 0)
        except RuntimeError as error:
            return error
        return None

    qualname = Hopeless.__qualname__
    Hopeless.__qualname__ = "Hopeless"
    try:
        assert list(synthesise_cases(Hopeless, {"Hopeless": Hopeless}, 0, attempt)) == []
    finally:
        Hopeless.__qualname__ = qualname
    assert 1 <= len(attempts) <= 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_heads", "4"), ("nhead", "4"), ("hidden_size", "16"), ("d_model", "16"),
        ("dim_head", "4"), ("vocab_size", "40"), ("context_length", "16"), ("max_len", "16"),
        ("in_channels", "3"), ("out_channels", "16"), ("kernel_size", "3"), ("dropout", "0.1"),
        ("attn_dropout", "0.1"), ("eps", "1e-05"), ("layer_norm_eps", "1e-05"), ("bias", "True"),
        ("num_classes", "5"), ("n_layer", "2"), ("hiddenDim", "32"), ("rope_theta", "10000.0"),
        ("img_size", "32"), ("patch_size", "8"), ("use_cache", "False"), ("pad_token_id", "0"),
        ("thingamajig", None),
    ],
)  # fmt: skip
def test_names_suggest_values(name, value):
    assert suggest(name, PROFILES[0]) == value


@pytest.mark.parametrize("sizes", PROFILES)
def test_profiles_hold_the_usual_constraints(sizes):
    assert sizes["dim"] % sizes["heads"] == 0
    assert sizes["image"] % sizes["patch"] == 0
    assert sizes["head_dim"] * sizes["heads"] == sizes["dim"]
    assert sizes["kernel"] % 2 == 1
