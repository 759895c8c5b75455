"""Descriptions are equal exactly when values are, bit for bit."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from bufferize.verify.describe import (  # noqa: E402
    describe,
    describe_attributes,
    describe_randomness,
    describe_sharing,
    find_own_tensors,
    find_tensors,
)

NAN = float("nan")
SAME = {
    "nan is itself": (torch.tensor([NAN, 1.0]), torch.tensor([-NAN, 1.0])),
    "strides do not count": (torch.ones(2, 3).t().contiguous(), torch.ones(2, 3).t()),
    "lazy conjugate": (torch.tensor([1 - 2j]), torch.tensor([1 + 2j]).conj()),
    "sparse": (torch.eye(2).to_sparse(), torch.eye(2).to_sparse()),
    "bfloat16": (torch.ones(2, dtype=torch.bfloat16), torch.ones(2).to(torch.bfloat16)),
    "empty": (torch.empty(0, 3), torch.zeros(0, 3)),
    "float nan": (NAN, NAN),
    "objects by content": (torch.nn.Identity(), torch.nn.Identity()),
    "sets": ({"a", "b"}, {"b", "a"}),
}
OTHER = {
    "dtype": (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    "integers": (torch.zeros(2, dtype=torch.int32), torch.zeros(2)),
    "shape": (torch.zeros(2, 1), torch.zeros(1, 2)),
    "order": (torch.arange(4).view(2, 2), torch.arange(4).view(2, 2).t()),
    "signed zero": (torch.tensor(0.0), torch.tensor(-0.0)),
    "gradient": (torch.ones(2), torch.ones(2, requires_grad=True)),
    "last bit": (torch.tensor(1.0), torch.tensor(1.0) + 2**-23),
    "complex": (torch.tensor([1 + 2j]), torch.tensor([1 - 2j])),
    "sparse values": (torch.eye(2).to_sparse(), (2 * torch.eye(2)).to_sparse()),
    "bool and int": (True, 1),
    "list and tuple": ([1], (1,)),
    "nesting": ({"a": [torch.ones(1)]}, {"a": [torch.zeros(1)]}),
}


@pytest.mark.parametrize("one, two", SAME.values(), ids=SAME)
def test_equal_values_are_described_alike(one, two):
    assert json.dumps(describe(one)) == json.dumps(describe(two))


@pytest.mark.parametrize("one, two", OTHER.values(), ids=OTHER)
def test_different_values_are_told_apart(one, two):
    assert json.dumps(describe(one)) != json.dumps(describe(two))


def test_cycles_and_strange_objects_end():
    class Strange:
        def __getattr__(self, name):
            raise RuntimeError(name)

    knot: list = [Strange(), print, torch, lambda: 0]
    knot.append({"again": knot})
    json.dumps(describe(knot))


def test_attributes_say_how_they_are_held():
    module = torch.nn.Linear(2, 2)
    module.register_buffer("kept", torch.ones(1))
    module.register_buffer("dropped", torch.ones(1), persistent=False)
    module.plain = torch.ones(1)
    kinds = {path: held["kind"] for path, held in describe_attributes(module).items()}
    assert kinds["weight"] == "parameter" and kinds["plain"] == "plain"
    assert kinds["kept"] == "persistent buffer" and kinds["dropped"] == "non-persistent buffer"
    assert not [path for path in kinds if path.startswith("_")]


def test_sharing_is_seen_through_views_and_lists():
    module = torch.nn.Module()
    module.one = torch.ones(4)
    module.views = [module.one[2:], torch.ones(4)]
    module.empty, module.none = torch.ones(0), torch.ones(0)
    assert describe_sharing(find_tensors(module)) == [["one", "views[0]"]]


def test_own_tensors_come_in_order_once():
    first, second = torch.ones(1), torch.zeros(1)
    assert [id(t) for t in find_own_tensors({"a": [first, (second, first)], "b": 3})] == [
        id(first),
        id(second),
    ]


def test_randomness_moves_with_a_draw():
    before = describe_randomness()
    assert describe_randomness() == before
    torch.rand(1)
    assert describe_randomness() != before
