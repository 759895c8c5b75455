"""The tables of facts: what they say, and that torch agrees."""

from bufferize.facts import function_returns


def test_a_factory_is_known():
    assert function_returns("torch.zeros").kind == "tensor"
