"""The device room: the virtual accelerator gives the CPU's numbers and CUDA's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from device_cases import MIXES, MIXTURES, RUNS, SOURCES  # noqa: E402
from device_checks import assert_same, build_twice, makers, observe  # noqa: E402

from bufferize.verify import device  # noqa: E402

nn, F = torch.nn, torch.nn.functional

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

ROOM = Path(device.__file__).parent


@pytest.fixture
def virtual():
    with device.activate("virtual") as accelerator:
        yield accelerator


class Attention(nn.Module):
    def __init__(self, registered, width=8, length=6):
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.dropout = nn.Linear(width, width), nn.Dropout(0.1)
        mask = torch.triu(torch.ones(length, length), diagonal=1)
        if registered:
            self.register_buffer("mask", mask, persistent=False)
        else:
            self.mask = mask

    def forward(self, x):
        n = x.shape[1]
        queries, keys, values = self.query(x), self.key(x), self.value(x)
        attn_scores = queries @ keys.transpose(1, 2)
        attn_scores.masked_fill_(self.mask.bool()[:n, :n], -torch.inf)
        weights = torch.softmax(attn_scores / keys.shape[-1] ** 0.5, dim=-1)
        return self.dropout(weights) @ values


@pytest.mark.parametrize("mode", ["train", "eval", "no_grad", "inference"])
@pytest.mark.parametrize("name", RUNS)
def test_same_numbers_as_the_cpu(name, mode):
    (here, there), inputs, call = build_twice(RUNS[name], mode)
    expected = observe(here, inputs, call, mode)
    with device.activate("virtual") as accelerator:
        if there is not None:
            accelerator.move_module(there)
        moved = accelerator.move(inputs)
        seen = observe(there, moved, call, mode)
        assert all(accelerator.holds(leaf) for leaf in seen if leaf is not None)
        assert_same(expected, accelerator.to_cpu(seen))


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_raises(name, virtual):
    with pytest.raises((RuntimeError, TypeError)) as caught:
        MIXTURES[name](*makers(virtual.device))
    if name not in ("numpy", "second_device"):
        assert "Expected all tensors to be on the same device" in str(caught.value)
        assert "found at least two devices, virtual:0 and cpu!" in str(caught.value)
        assert "meta" not in str(caught.value)
    assert SOURCES[name]


@pytest.mark.parametrize("name", MIXES)
def test_mix_that_cuda_allows(name, virtual):
    MIXES[name](*makers(virtual.device))


def test_plain_mask_stays_behind(virtual):
    module = virtual.move_module(Attention(registered=False))
    assert device.stray_tensors(module, virtual) == ("mask",)
    with pytest.raises(RuntimeError, match="argument mask, position 2, of masked_fill_") as caught:
        module(virtual.move(torch.randn(2, 5, 8)))
    message = device.blame(caught.value, module, virtual)
    assert message.startswith("Expected all tensors to be on the same device")
    assert "attribute 'mask' of Attention stayed on the CPU" in message
    assert "\n" not in message


def test_registered_mask_moves():
    build = lambda: (Attention(registered=True), (torch.randn(2, 5, 8),), lambda m, x: m(x))  # noqa: E731
    (here, there), inputs, call = build_twice(build, "train")
    expected = observe(here, inputs, call, "train")
    with device.activate("virtual") as accelerator:
        accelerator.move_module(there)
        assert device.stray_tensors(there, accelerator) == ()
        seen = observe(there, accelerator.move(inputs), call, "train")
        assert_same(expected, accelerator.to_cpu(seen))
