"""The tables of facts: what they say, how fast, and that torch agrees."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from facts_calls import CALLS

from bufferize.facts import (
    Returns,
    attribute_returns,
    constant_kind,
    function_returns,
    is_tensor_class,
    known_base,
    method_returns,
    module_attributes,
    module_classes,
    numpy_returns,
    torch_version,
)
from bufferize.facts.returns import FLAGS, parse_entry
from bufferize.facts.tables import read_table

FUNCTIONS = """
torch.zeros tensor | torch.rand tensor | torch.einsum tensor | torch.stft tensor
torch.meshgrid tuple | torch.split tuple | torch.functional.split tuple | torch.chunk tuple
torch.unbind tuple | torch.topk tuple | torch.svd tuple | torch.broadcast_tensors tuple
torch.nn.functional.relu tensor | torch.nn.functional.gelu tensor | torch._C._nn.gelu tensor
torch.nn.functional.linear tensor | torch.nn.functional.one_hot tensor
torch.linalg.norm tensor | torch.linalg.svd tuple | torch.linalg.qr tuple
torch.fft.fft tensor | torch.fft.rfftfreq tensor | torch.special.erf tensor
torch.signal.windows.hann tensor | torch.functional.einsum tensor | torch.Tensor.view tensor
torch.Tensor.split tuple | torch.Tensor.size size | torch.nested.nested_tensor tensor
torch.nn.init.xavier_uniform_ tensor | torch.nn.init.calculate_gain number
torch.nn.utils.parameters_to_vector tensor | torch.nn.utils.spectral_norm module
torch.nn.utils.rnn.pad_sequence tensor | torch.nn.utils.weight_norm module
torch.device device | torch.Generator generator | torch.Size size | torch.dtype dtype
torch.get_default_dtype dtype | torch.compile unknown | torch.jit.script unknown
torch.vmap callable | torch.no_grad object | torch.enable_grad object | torch.finfo object
torch.iinfo object | torch.autocast object | torch.cuda.is_available bool | torch.is_tensor bool
torch.is_floating_point bool | torch.numel number | torch.manual_seed generator
torch.initial_seed number | torch.get_rng_state tensor | torch.cuda.get_rng_state tensor
torch.load unknown | torch.hub.load unknown | torch.save none | torch.set_default_dtype none
torch.typename object | torch.result_type dtype | torch.can_cast bool | torch.promote_types dtype
torch.distributed.get_rank number | torch.distributed.get_world_size number
torch.distributed.is_initialized bool | torch.cuda.device_count number | torch.cuda.Stream object
torch.optim.Adam object | torch.utils.data.DataLoader object | torch.distributions.Normal object
torch.nn.Parameter parameter | torch.nn.parameter.Parameter parameter | torch.nn.Buffer buffer
torch.nn.Linear module | torch.nn.ModuleList module | torch.nn.Sequential module
torch.FloatTensor tensor | torch.cuda.LongTensor unlisted | torch.symeig tuple
torch.from_numpy tensor | torch.as_tensor tensor | torch.tensor tensor | torch.where tensor
torch.get_num_threads number | torch.is_grad_enabled bool | torch.func.vmap callable
torch.testing.make_tensor tensor | torch.utils.data.random_split object | torch.nope unlisted
"""
METHODS = """
view tensor | expand tensor | to tensor | item number | tolist object | numpy array | size size
split tuple | max tensor | sum tensor | stride object | dim number | numel number | backward none
fill_ tensor | __getitem__ tensor | __add__ tensor | __len__ number | __bool__ bool | type object
data_ptr number | untyped_storage object | register_hook object | new_zeros tensor | T unlisted
is_contiguous bool | topk tuple | requires_grad_ tensor | clone tensor | nope unlisted
"""
ATTRIBUTES = """
shape size | dtype dtype | device device | T tensor | mT tensor | H tensor | real tensor
imag tensor | data tensor | requires_grad bool | ndim number | is_cuda bool | itemsize number
is_leaf bool | is_sparse bool | layout object | nbytes number | view unlisted
"""
RANDOM = """
rand randn randint randperm rand_like randn_like randint_like bernoulli multinomial normal poisson
nn.init.uniform_ nn.init.normal_ nn.init.xavier_uniform_ nn.init.xavier_normal_
nn.init.kaiming_uniform_ nn.init.kaiming_normal_ nn.init.trunc_normal_ nn.init.orthogonal_
nn.init.sparse_ nn.functional.dropout nn.functional.dropout1d nn.functional.dropout2d
nn.functional.dropout3d nn.functional.alpha_dropout nn.functional.feature_alpha_dropout
nn.functional.gumbel_softmax dropout Tensor.uniform_ Tensor.normal_ Tensor.exponential_
Tensor.bernoulli_ Tensor.random_ Tensor.cauchy_ Tensor.geometric_ Tensor.log_normal_
Tensor.bernoulli Tensor.multinomial
"""
NOT_RANDOM = """
nn.init.zeros_ nn.init.ones_ nn.init.constant_ nn.init.eye_ nn.init.dirac_ zeros empty arange
nn.functional.relu nn.functional.scaled_dot_product_attention Tensor.fill_ Tensor.zero_ eye
"""
FLAGGED = """
view Tensor.view Tensor.transpose Tensor.permute torch.unsqueeze torch.from_numpy Tensor.detach
may-view Tensor.reshape Tensor.to Tensor.contiguous torch.as_tensor Tensor.float
expand Tensor.expand Tensor.expand_as torch.broadcast_to torch.meshgrid Tensor.unfold
complex torch.fft.fft torch.polar torch.complex torch.view_as_complex torch.linalg.eig
inplace Tensor.fill_ torch.nn.init.zeros_ Tensor.requires_grad_ torch.nn.functional.relu_
uninitialised torch.empty torch.empty_like torch.Tensor Tensor.new_empty
loads torch.load torch.hub.load torch.hub.load_state_dict_from_url
factory torch.zeros torch.arange torch.tensor torch.hann_window torch.linspace
dtype torch.zeros torch.arange torch.tensor Tensor.sum
like torch.zeros_like Tensor.new_ones
"""
BASES = """
torch.nn.Module module | torch.nn.modules.module.Module module | torch.nn.LSTM module
torch.nn.modules.batchnorm._BatchNorm module | torch.jit.ScriptModule script
torch.utils.data.Dataset not-module | torch.utils.data.dataset.Dataset not-module
torch.optim.Optimizer not-module | torch.autograd.Function not-module | object not-module
torch.distributions.Distribution not-module | torch.Tensor not-module | typing.Generic not-module
typing.Protocol not-module | builtins.object not-module | abc.ABC not-module
Exception not-module | sklearn.base.BaseEstimator not-module | enum.Enum not-module
pytorch_lightning.LightningModule lightning | lightning.LightningModule lightning
lightning.pytorch.LightningModule lightning
pytorch_lightning.core.lightning.LightningModule lightning
lightning.LightningDataModule not-module | pytorch_lightning.callbacks.Callback not-module
torchmetrics.Metric metric | torchmetrics.metric.Metric metric
torchmetrics.classification.BinaryAccuracy metric | torchmetrics.MetricCollection module
transformers.PreTrainedModel pretrained | transformers.BertPreTrainedModel pretrained
transformers.models.bert.modeling_bert.BertModel pretrained | transformers.BertModel pretrained
transformers.models.llama.modeling_llama.LlamaAttention module
transformers.TFBertModel not-module | transformers.BertConfig not-module
transformers.Trainer not-module | transformers.modeling_outputs.BaseModelOutput not-module
diffusers.ModelMixin pretrained | diffusers.configuration_utils.ConfigMixin not-module
torch_geometric.nn.MessagePassing module | torch_geometric.nn.conv.GCNConv module
torch_geometric.data.Data not-module | gpytorch.kernels.Kernel module
gpytorch.models.ExactGP module | gpytorch.likelihoods.GaussianLikelihood module
gpytorch.distributions.MultivariateNormal not-module | pyro.nn.PyroModule module
pyro.nn.PyroParam not-module | fairseq.models.FairseqEncoder module
fairseq.criterions.FairseqCriterion module | fairseq.data.FairseqDataset not-module
mmengine.model.BaseModule module | mmcv.runner.BaseModule module
detectron2.modeling.Backbone module | e3nn.o3.Irreps not-module | e3nn.o3.TensorProduct module
torchvision.transforms.v2.Transform module | torchvision.transforms.Compose not-module
torchvision.models.ResNet module | torchvision.models.resnet.ResNet module
torchaudio.transforms.Spectrogram module | timm.layers.DropPath module
stable_baselines3.common.torch_layers.BaseFeaturesExtractor module
ray.rllib.models.torch.torch_modelv2.TorchModelV2 not-module
skorch.NeuralNet not-module | tensordict.nn.TensorDictModule module
torchrl.envs.EnvBase module | torchrl.data.ReplayBuffer not-module
speechbrain.Brain not-module | nemo.core.NeuralModule module | flair.nn.Model module
einops.layers.torch.Rearrange module | deepspeed.pipe.PipelineModule module
my_package.Model unlisted | transformers.Nope unlisted
"""
NUMPY = """
numpy.zeros array | numpy.linspace array | numpy.arange array | numpy.random.randn unknown
numpy.linalg.inv array | numpy.load unknown | numpy.meshgrid tuple | numpy.where array
numpy.allclose bool | numpy.random.default_rng object | numpy.split list | numpy.dtype dtype
scipy.signal.get_window array | numpy.nope unlisted
"""


def pairs(table: str) -> list[tuple[str, str]]:
    cells = (cell.split() for line in table.strip().splitlines() for cell in line.split("|"))
    return [(name, kind) for name, kind in cells]


def kind_of(returns: Returns | None) -> str:
    return "unlisted" if returns is None else returns.kind


def look_up(name: str) -> Returns:
    """'Tensor.x' is a method, anything else a function of torch."""
    found = method_returns(name[7:]) if name.startswith("Tensor.") else function_returns(name)
    assert found is not None, name
    return found


@pytest.mark.parametrize(("name", "kind"), pairs(FUNCTIONS))
def test_functions(name, kind):
    if name == "torch.cuda.LongTensor":
        assert is_tensor_class(name)
    else:
        assert kind_of(function_returns(name)) == kind


@pytest.mark.parametrize(("name", "kind"), pairs(METHODS))
def test_methods(name, kind):
    assert kind_of(method_returns(name)) == kind


@pytest.mark.parametrize(("name", "kind"), pairs(ATTRIBUTES))
def test_attributes(name, kind):
    assert kind_of(attribute_returns(name)) == kind


@pytest.mark.parametrize("name", RANDOM.split())
def test_random_draws_are_flagged(name):
    assert look_up(name if name.startswith("Tensor.") else f"torch.{name}").has("random")


@pytest.mark.parametrize("name", NOT_RANDOM.split())
def test_what_draws_nothing_is_not_flagged(name):
    assert not look_up(name if name.startswith("Tensor.") else f"torch.{name}").has("random")


@pytest.mark.parametrize("line", FLAGGED.strip().splitlines())
def test_flags(line):
    flag, *names = line.split()
    assert [name for name in names if not look_up(name).has(flag)] == []


@pytest.mark.parametrize(("name", "kind"), pairs(BASES))
def test_known_bases(name, kind):
    base = known_base(name)
    assert ("unlisted" if base is None else base.kind) == kind
    assert base is None or base.is_module == (kind != "not-module")


@pytest.mark.parametrize(("name", "kind"), pairs(NUMPY))
def test_numpy(name, kind):
    assert kind_of(numpy_returns(name)) == kind


def test_numpy_values_that_may_be_numbers_say_so():
    assert numpy_returns("numpy.random.randn").possible == ("array", "number")
    assert numpy_returns("numpy.random.randn").has("random")


def test_tensor_classes_are_told_from_other_classes():
    tensors = ("torch.Tensor", "torch.FloatTensor", "torch.cuda.FloatTensor", "torch.LongTensor")
    others = ("torch.device", "torch.Size", "torch.nn.Parameter", "torch.nn.Linear", "torch.dtype")
    assert all(is_tensor_class(name) for name in tensors)
    assert not any(is_tensor_class(name) for name in others)


def test_constants():
    assert constant_kind("torch.float32") == "dtype"
    assert constant_kind("torch.pi") == "number"
    assert constant_kind("torch.zeros") is None


def test_module_classes_stand_under_every_public_path():
    found = module_classes()
    assert {"torch.nn.Linear", "torch.nn.modules.linear.Linear", "torch.nn.Module"} <= found
    assert {"torch.nn.LSTM", "torch.nn.parallel.DistributedDataParallel"} <= found
    assert not {"torch.Tensor", "torch.nn.Parameter", "torch.optim.Adam"} & found


def test_module_attributes_are_what_register_buffer_refuses():
    import torch

    refused = module_attributes()
    assert {"training", "forward", "float", "half", "register_buffer", "dump_patches"} <= refused
    assert "weight" not in refused
    for name in sorted(refused - {"_buffers"}):
        with pytest.raises((KeyError, AttributeError)):
            torch.nn.Module().register_buffer(name, torch.zeros(1))


def test_an_argument_chooses_among_kinds():
    largest = function_returns("torch.max")
    assert largest.given(["tensor"], {}).kind == "tensor"
    assert largest.given(["tensor", "int"], {}).count == 2
    assert largest.given(["tensor"], {"dim": "?"}).kind == "tuple"
    unsure = largest.given(["tensor", "?"], {})
    assert (unsure.kind, unsure.possible) == ("unknown", ("tensor", "tuple"))
    assert method_returns("max").given(["int"], {}).kind == "tuple"
    assert function_returns("torch.Tensor.max").given(["tensor", "int"], {}).kind == "tuple"
    assert function_returns("torch.where").given(["tensor"], {}).kind == "tuple"


def test_entries_parse_and_use_known_flags_only():
    table = read_table("torch.json")
    rows = (table["functions"], table["methods"], table["attributes"], read_table("numpy.json"))
    for entry in {entry for row in rows for entry in row.values()}:
        assert parse_entry(entry).flags <= FLAGS, entry


def test_base_rows_are_of_known_kinds():
    kinds = {"module", "metric", "script", "lightning", "pretrained", "not-module"}
    assert set(read_table("bases.json").values()) == kinds


def test_looking_up_loads_no_torch_and_is_quick():
    code = (
        "import sys, time, bufferize.model; t = time.process_time();"
        "from bufferize.facts import *;"
        "function_returns('torch.zeros'); known_base('transformers.BertModel');"
        "module_classes(); numpy_returns('numpy.zeros');"
        "assert 'torch' not in sys.modules and 'libcst' not in sys.modules;"
        "print(time.process_time() - t)"
    )
    took = min(float(run(code)) for _ in range(5))
    # 10 ms at rest; machines that run tests are seldom at rest
    assert took < 0.06


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def observed():
    pytest.importorskip("torch")
    script = Path(__file__).with_name("facts_calls.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def read_call(line: str) -> tuple[str, list[str], dict[str, str]]:
    """The name called, and the forms of the arguments as far as they are literal."""
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    name = ast.unparse(call.func)
    receiver, _, method = name.rpartition(".")
    name = name if receiver.startswith("torch") else f"Tensor.{method}"
    keywords = {k.arg: form_of(k.value) for k in call.keywords if k.arg is not None}
    return name, [form_of(arg) for arg in call.args], keywords


def form_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return str(node.value).lower()
        return {int: "int", type(None): "none"}.get(type(node.value), "other")
    return "tensor"


LINES = [line for line in CALLS.splitlines() if line]


def test_enough_calls_are_tried():
    assert len({read_call(line)[0] for line in LINES}) >= 250


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_torch_gives_what_the_table_says(line, observed):
    name, positional, keywords = read_call(line)
    told = look_up(name).given(positional, keywords)
    seen = observed[line]
    kind, _, count = seen["kind"].partition(":")
    assert kind == told.kind
    assert told.count is None or int(count) == told.count
    if kind != "module":
        assert seen["random"] == told.has("random")
    if "shares" in seen and positional[:1] != ["other"]:
        check_tensor(seen, told, keywords)


def check_tensor(seen: dict[str, bool], told: Returns, keywords: dict[str, str]) -> None:
    if told.has("view") and not told.has("factory"):
        assert seen["shares"]
    if seen["shares"]:
        assert told.flags & {"view", "may-view", "inplace"} or told.kind == "parameter"
    assert seen["complex"] or not told.has("complex")
    assert seen["boolean"] or not told.has("boolean")
    assert seen["integer"] or not told.has("integer")
    assert told.has("reduces") or not (seen["zero_dim"] and told.kind == "tensor") or not keywords


@pytest.mark.slow
def test_the_tables_are_what_torch_says():
    torch = pytest.importorskip("torch")
    if torch.__version__.partition("+")[0] != torch_version():
        pytest.skip(f"the tables are of torch {torch_version()}")
    command = [sys.executable, "-m", "bufferize.facts.generate", "--check", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
