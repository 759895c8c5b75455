"""The device room on a real CUDA device: the virtual one's promises, held against the original."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from device_cases import RANDOM, RANDOM_IN_TRAINING, RUNS, Attention  # noqa: E402
from device_checks import assert_same, build_twice, makers, observe  # noqa: E402
from device_mixtures import MIXES, MIXTURES, SOURCES  # noqa: E402

from bufferize.verify import device  # noqa: E402

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.fixture
def cuda():
    with device.activate("cuda:0") as accelerator:
        yield accelerator


# cuDNN's recurrent layers have no backward in eval mode
CASES = [(name, "no_grad") for name in RUNS if name not in RANDOM]
CASES += [(name, "train") for name, _ in CASES if name not in RANDOM_IN_TRAINING]


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_same_numbers_as_the_cpu(name, mode, cuda):
    (here, there), inputs, call = build_twice(RUNS[name], mode)
    expected = observe(here, inputs, call, mode)
    if there is not None:
        cuda.move_module(there)
    seen = observe(there, cuda.move(inputs), call, mode)
    assert all(cuda.holds(leaf) for leaf in seen if leaf is not None)
    assert_same(expected, cuda.to_cpu(seen), exact=False)


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_raises(name, cuda):
    with pytest.raises((RuntimeError, TypeError)):
        MIXTURES[name](*makers(cuda.device))
        torch.cuda.synchronize()
    assert SOURCES[name]


@pytest.mark.parametrize("name", MIXES)
def test_mix_that_the_virtual_device_allows(name, cuda):
    MIXES[name](*makers(cuda.device))
    torch.cuda.synchronize()


def test_plain_mask_stays_behind(cuda):
    module = cuda.move_module(Attention(registered=False))
    assert device.stray_tensors(module, cuda) == ("mask",)
    with pytest.raises(RuntimeError) as caught:
        module(cuda.move(torch.randn(2, 5, 8)))
    message = device.blame(caught.value, module, cuda)
    assert message.endswith(": `mask` stayed on the CPU")


def test_tf32_is_off_inside_and_comes_back():
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, True
    try:
        with device.activate("cuda:0") as accelerator:
            assert accelerator.name == "cuda:0" and not matmul.allow_tf32
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before
