"""The device room: the virtual accelerator gives the CPU's numbers and CUDA's errors."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import weakref
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from device_cases import RUNS, Attention  # noqa: E402
from device_checks import assert_same, build_twice, makers, observe  # noqa: E402
from device_mixtures import MIXES, MIXTURES, SOURCES  # noqa: E402

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
    assert message.endswith(": `mask` stayed on the CPU")
    assert "\n" not in message


def test_registered_mask_moves(virtual):
    module = virtual.move_module(Attention(registered=True))
    assert virtual.holds(module.mask)
    assert device.stray_tensors(module, virtual) == ()


def test_strays_are_named_by_their_path(virtual):
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = [torch.ones(2), {"sin": torch.ones(3)}]
            self.number = torch.tensor(1.0)
            self.moved = torch.ones(2, device="cuda")
            self.register_buffer("kept", torch.ones(2))

    outer = nn.Sequential(nn.Linear(2, 2), Inner())
    virtual.move_module(outer)
    names = device.stray_tensors(outer, virtual)
    assert names == ("1.tables.0", "1.tables.1.sin", "1.number")


def test_blame_names_the_tensor_that_met(virtual):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias, self.scale = torch.ones(2), torch.ones(2)

        def forward(self, x):
            return x * self.scale[:1].expand(2)

    module = virtual.move_module(Two())
    with pytest.raises(RuntimeError) as caught:
        module(torch.ones(2, device="cuda"))
    assert ": `scale` stayed" in device.blame(caught.value, module, virtual)
    assert device.blame(RuntimeError("no\nmatter"), nn.Linear(1, 1).cuda(), virtual) == "no matter"


Point = namedtuple("Point", "x y")


@dataclass(frozen=True)
class Output:
    logits: torch.Tensor
    extras: tuple = ()


def test_nested_values_move_and_come_back(virtual):
    shared = torch.ones(2, requires_grad=True)
    value = {
        "list": [shared, shared, 3, "text", None],
        "point": Point(torch.zeros(2), 1),
        "output": Output(torch.zeros(1), (torch.ones(1),)),
        "ordered": OrderedDict(a=torch.ones(1)),
    }
    moved = virtual.move(value)
    assert moved["list"][0] is moved["list"][1]
    assert moved["list"][0].requires_grad and moved["list"][0].is_leaf
    assert type(moved["point"]) is Point and virtual.holds(moved["point"].x)
    assert virtual.holds(moved["output"].logits) and virtual.holds(moved["output"].extras[0])
    assert type(moved["ordered"]) is OrderedDict and moved["list"][2:] == [3, "text", None]
    back = virtual.to_cpu(moved)
    assert type(back["list"][0]) is torch.Tensor and back["list"][0].device.type == "cpu"
    assert not virtual.holds(back["output"].extras[0])
    assert not virtual.holds(value["point"].x)


def test_words_of_user_code(virtual):
    assert torch.cuda.is_available() and torch.cuda.device_count() == 1
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.zeros(2, device=place)
    assert x.is_cuda and not x.is_cpu and not x.is_meta and x.get_device() == 0
    assert x.device.type == "cuda" and x.device == torch.ones(1).cuda().device
    assert str(x.device) == "cuda:0" and "device='cuda:0'" in repr(x)
    assert x.type() == "torch.cuda.FloatTensor" and f"{x[0]:.1f}" == "0.0"
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    with torch.cuda.device(torch.cuda.current_device()), torch.cuda.stream(torch.cuda.Stream()):
        assert virtual.holds(torch.ones(1).to(0)) and virtual.holds(torch.ones(1).to("cuda:0"))
    for module in (nn.Linear(2, 2).cuda(), nn.Linear(2, 2).cuda(0), nn.Linear(2, 2).to(0)):
        assert virtual.holds(module.weight)
    generator = torch.Generator(device="cuda").manual_seed(3)
    assert isinstance(generator, torch.Generator) and generator.device.type == "cuda"
    drawn = torch.rand(3, generator=generator, device="cuda")
    assert torch.equal(drawn.cpu(), torch.rand(3, generator=torch.Generator().manual_seed(3)))
    with torch.device("cuda"):
        assert virtual.holds(nn.Linear(2, 2).weight) and virtual.holds(torch.tensor([1.0]))
    with torch.device("meta"):
        assert torch.ones(2).is_meta
    assert not virtual.holds(torch.ones(2))


def test_autocast_on_the_device_is_off_and_said_to_be(virtual):
    layer, x = nn.Linear(3, 2).cuda(), torch.ones(1, 3, device="cuda")
    with torch.autocast("cuda", enabled=False):
        layer(x)
    assert virtual.remarks == ()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.float32
    assert len(virtual.remarks) == 1 and "autocast" in virtual.remarks[0]


def test_parameters_stay_the_same_objects(virtual):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    module.append(nn.Linear(3, 3))
    module[2].weight = module[0].weight
    before, watched = list(module.parameters()), weakref.ref(module[0].bias)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(2, 3)).sum().backward()
    module.to("cuda")
    assert all(one is two for one, two in zip(before, module.parameters(), strict=True))
    assert module[2].weight is module[0].weight and watched() is module[0].bias
    assert all(isinstance(p, nn.Parameter) and virtual.holds(p) for p in before)
    assert all(virtual.holds(p.grad) for p in before)
    module(torch.ones(2, 3, device="cuda")).pow(2).sum().backward()
    optimizer.step()
    for cast in ("half", "bfloat16", "double"):
        getattr(module, cast)()
        dtype = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(cast, torch.float64)
        assert before[0].dtype == dtype and before[0].cpu().dtype == dtype
        assert module(torch.ones(2, 3, device="cuda", dtype=dtype)).dtype == dtype
    module.cpu()
    assert type(before[0]) is nn.Parameter and not virtual.holds(before[0])
    module(torch.ones(2, 3, dtype=torch.float64)).sum().backward()


def test_state_copies_and_files(virtual):
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    plain = {name: value.clone() for name, value in module.state_dict().items()}
    state = module.cuda().state_dict()
    file = io.BytesIO()
    torch.save(state, file)
    for place, there in (
        (None, True),
        ("cuda", True),
        (torch.device("cuda:0"), True),
        ("cpu", False),
    ):
        file.seek(0)
        loaded = torch.load(file, map_location=place, weights_only=True)
        assert all(virtual.holds(value) == there for value in loaded.values())
        assert all(torch.equal(loaded[name].cpu(), plain[name]) for name in plain)
    nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).load_state_dict(state)
    module.load_state_dict(plain)
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        weight = copied[0].weight
        assert virtual.holds(weight) and isinstance(weight, nn.Parameter) and weight.requires_grad
        weight.data.zero_()
        assert torch.equal(module[0].weight.cpu(), plain["0.weight"])


def test_data_and_shape_changes_in_place(virtual):
    layer = nn.Linear(3, 2).cuda()
    layer.weight.data = torch.ones(2, 3, device="cuda")
    layer.weight.data.mul_(2)
    assert layer.weight.sum().item() == 12
    with torch.no_grad():
        layer.weight.copy_(torch.zeros(2, 3))
    assert layer.weight.sum().item() == 0
    x = torch.ones(2)
    x.data = x.data.cuda()
    assert x.is_cuda
    y = torch.ones(2, 3, device="cuda")
    y.t_()
    assert y.shape == (3, 2) and y.stride() == (1, 3)
    assert y.unsqueeze_(0).shape == (1, 3, 2) and y.squeeze_().shape == (3, 2)
    assert y[0].untyped_storage().data_ptr() == y.untyped_storage().data_ptr()
    grown = torch.empty(0, device="cuda")
    torch.add(y, y, out=grown)
    assert grown.shape == (3, 2) and grown.sum() == 12


def test_write_to_a_saved_tensor_is_noticed(virtual):
    x = torch.ones(3, device="cuda", requires_grad=True)
    y = x * 2
    z = F.softplus(F.linear(y, torch.ones(3, 3, device="cuda", requires_grad=True)))
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_bit_equal_tensors_leave_no_trace_of_the_private_device(virtual):
    seen = []
    x = torch.ones(3, device="cuda", requires_grad=True)
    x.register_hook(lambda grad: seen.append(grad.device))
    pack = lambda tensor: seen.append(tensor.device) or tensor  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(pack, pack):
        (x * x).sin().sum().backward()
    assert {str(place) for place in seen} == {"cuda:0"}


LEFTOVERS = """
import contextlib, importlib, sys
import torch
sys.path.insert(0, sys.argv[1])
import device, device.virtual

def snapshot():
    seen = {}
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] != 'torch' or module is None:
            continue
        for key, value in list(vars(module).items()):
            if callable(value):
                seen[name, key] = value
            if isinstance(value, type) and value.__module__ == name:
                seen.update({(name, key, k): v for k, v in list(vars(value).items())})
    return seen

def kernels():
    dump = torch._C._dispatch_dump
    return [dump(name) for name in ('aten::linear', 'aten::lstm.input', 'aten::matmul')]

def modes():
    stacks = torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack()
    return *stacks, torch._C._get_privateuse1_backend_name(), torch.cuda.is_available()

def use():
    with device.activate('virtual') as accelerator:
        layer = accelerator.move_module(torch.nn.LSTM(3, 3))
        layer(torch.ones(2, 1, 3, device='cuda'))[0].sum().backward()
        # bound while our answers are in place
        importlib.import_module('torch.nn.attention.flex_attention')
        raise KeyError('in the block')

before, kernels_before = snapshot(), kernels()
for _ in range(2):
    with contextlib.suppress(KeyError):
        use()
after = snapshot()
changed = [key for key, value in before.items() if after.get(key) is not value]
homes = {key: str(getattr(value, '__module__', '')) for key, value in after.items()}
ours = [key for key, home in homes.items() if home.startswith('device')]
print(changed, ours, kernels() == kernels_before, modes())
"""


def test_nothing_stays_behind():
    answer = subprocess.run(
        [sys.executable, "-c", LEFTOVERS, str(ROOM.parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == "[] [] True (0, 0, 'privateuseone', False)\n", answer.stderr


def test_stands_alone():
    script = "import sys; sys.path.insert(0, sys.argv[1]); import device, device.virtual\n"
    script += "device.activate('virtual').__enter__()\n"
    script += "loaded = {name.partition('.')[0] for name in sys.modules}\n"
    script += "print(sorted(loaded & {'bufferize', 'libcst', 'click', 'rich'}))"
    run = [sys.executable, "-I", "-c", script, str(ROOM.parent)]
    answer = subprocess.run(run, capture_output=True, text=True, check=False)
    assert answer.stdout == "[]\n", answer.stderr


def test_old_torch_is_told_in_one_line(monkeypatch):
    monkeypatch.delattr(torch.library, "Library")
    with pytest.raises(device.DeviceUnavailable) as caught, device.activate("virtual"):
        pass
    message = str(caught.value)
    assert torch.__version__ in message and "newer torch" in message and "\n" not in message
    assert torch._C._len_torch_function_stack() == 0 and not torch.cuda.is_initialized()


@pytest.mark.parametrize("kind", ["cuda:99", "tpu"])
def test_unknown_device_is_refused(kind):
    with pytest.raises(device.DeviceUnavailable, match=kind), device.activate(kind):
        pass


def test_default_kind():
    assert device.default_kind() == ("cuda:0" if torch.cuda.is_available() else "virtual")
