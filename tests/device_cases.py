"""What every device must do as the CPU does it.

`RUNS` maps a name to a function that returns (module or None, inputs, call).
Shared by the tests of the virtual device and of CUDA.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

RUNS = {}


def runs(build):
    RUNS[build.__name__] = build
    return build


def _module(name, make, *shapes, call=None):
    def build():
        return make(), tuple(torch.randn(shape) for shape in shapes), call or (lambda m, *x: m(*x))

    RUNS[name] = build


def _call(name, call, *shapes):
    def build():
        return None, tuple(torch.randn(shape) for shape in shapes), lambda _, *x: call(*x)

    RUNS[name] = build


IMAGE, TABLE, SEQUENCE = (2, 4, 9, 9), (6, 8), (2, 5, 8)

_module("linear", lambda: nn.Linear(8, 3), TABLE)
_module("linear_3d", lambda: nn.Linear(8, 3), SEQUENCE)
_module("bilinear", lambda: nn.Bilinear(8, 8, 3), TABLE, TABLE)
_module("conv1d", lambda: nn.Conv1d(5, 4, 3, padding=1), SEQUENCE)
_module("conv2d", lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), IMAGE)
_module("conv2d_same", lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"), IMAGE)
_module("conv3d", lambda: nn.Conv3d(2, 3, 3), (1, 2, 5, 5, 5))
_module("conv_transpose2d", lambda: nn.ConvTranspose2d(4, 3, 3, stride=2), IMAGE)
_module("batch_norm", lambda: nn.BatchNorm2d(4), IMAGE)
_module("layer_norm", lambda: nn.LayerNorm(8), SEQUENCE)
_module("group_norm", lambda: nn.GroupNorm(2, 4), IMAGE)
_module("instance_norm", lambda: nn.InstanceNorm2d(4, affine=True), IMAGE)
_module("local_response_norm", lambda: nn.LocalResponseNorm(2), IMAGE)
_module("weight_norm", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)), TABLE)
_module("spectral_norm", lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 3)), TABLE)
_module("max_pool", lambda: nn.MaxPool2d(2), IMAGE)
_module("max_pool1d", lambda: nn.MaxPool1d(2), SEQUENCE)
_module("avg_pool", lambda: nn.AvgPool2d(3, stride=2), IMAGE)
_module("adaptive_pool", lambda: nn.AdaptiveAvgPool2d(3), IMAGE)
_module("adaptive_max_pool", lambda: nn.AdaptiveMaxPool2d(2), IMAGE)
_module("dropout", lambda: nn.Dropout(0.3), TABLE)
_module("alpha_dropout", lambda: nn.AlphaDropout(0.3), TABLE)
_module("dropout2d", lambda: nn.Dropout2d(0.3), IMAGE)
_module("activations", lambda: nn.Sequential(nn.GELU(), nn.SiLU(), nn.PReLU(), nn.ELU()), TABLE)
_module("rrelu_softplus", lambda: nn.Sequential(nn.RReLU(), nn.Softplus(), nn.GLU()), TABLE)
_module("lstm", lambda: nn.LSTM(8, 4, num_layers=2, batch_first=True), SEQUENCE)
_module("lstm_bidirectional", lambda: nn.LSTM(8, 4, bidirectional=True, proj_size=2), SEQUENCE)
_module("lstm_dropout", lambda: nn.LSTM(8, 4, num_layers=2, dropout=0.5), SEQUENCE)
_module("gru", lambda: nn.GRU(8, 4, num_layers=2, bidirectional=True), SEQUENCE)
_module("rnn", lambda: nn.RNN(8, 4, nonlinearity="relu"), SEQUENCE)
_module("lstm_cell", lambda: nn.LSTMCell(8, 4), TABLE)
_module("gru_cell", lambda: nn.GRUCell(8, 4), TABLE)
_module("rnn_cell", lambda: nn.RNNCell(8, 4), TABLE)
_module(
    "attention",
    lambda: nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True),
    SEQUENCE,
    call=lambda m, x: m(x, x, x),
)
_module(
    "attention_plain_output",
    lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    SEQUENCE,
    call=lambda m, x: m(x, x, x, need_weights=False),
)
_module(
    "attention_masked",
    lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    SEQUENCE,
    call=lambda m, x: m(
        x,
        x,
        x,
        attn_mask=torch.ones(5, 5, device=x.device).triu(1).bool(),
        average_attn_weights=False,
    ),
)
_module("encoder_layer", lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), SEQUENCE)
_module(
    "encoder_layer_norm_first",
    lambda: nn.TransformerEncoderLayer(8, 2, 16, norm_first=True, activation="gelu"),
    SEQUENCE,
)
_module(
    "encoder",
    lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    SEQUENCE,
    call=lambda m, x: m(x, mask=nn.Transformer.generate_square_subsequent_mask(5, device=x.device)),
)
_module("decoder_layer", lambda: nn.TransformerDecoderLayer(8, 2, 16), SEQUENCE, SEQUENCE)
_module("transformer", lambda: nn.Transformer(8, 2, 1, 1, 16), SEQUENCE, SEQUENCE)
_module("upsample", lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE)
_module("pixel_shuffle", lambda: nn.PixelShuffle(2), IMAGE)
_module("unfold", lambda: nn.Unfold(3), IMAGE)
_module("cosine", lambda: nn.CosineSimilarity(), TABLE, TABLE)
_module("pairwise", lambda: nn.PairwiseDistance(), TABLE, TABLE)

_call("einsum", lambda a, b: torch.einsum("bij,bkj->bik", a, b), SEQUENCE, SEQUENCE)
_call("matmul_vector", lambda a, b: a @ b, SEQUENCE, (8,))
_call(
    "baddbmm", lambda a, b: torch.baddbmm(torch.zeros_like(a @ b.mT), a, b.mT), SEQUENCE, SEQUENCE
)
_call("sdpa", lambda q, k: F.scaled_dot_product_attention(q, k, k), (2, 2, 5, 8), (2, 2, 5, 8))
_call(
    "sdpa_causal",
    lambda q, k: F.scaled_dot_product_attention(q, k, k, is_causal=True),
    (2, 2, 5, 8),
    (2, 2, 5, 8),
)
_call(
    "sdpa_mask_dropout",
    lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m, dropout_p=0.2),
    (2, 2, 5, 8),
    (5, 5),
)
_call("sort", lambda x: x.sort(dim=1, descending=True), TABLE)
_call("topk", lambda x: x.topk(3), TABLE)
_call("scatter", lambda x: torch.zeros_like(x).scatter(1, x.argsort(1), x), TABLE)
_call("scatter_add", lambda x: x.new_zeros(6, 8).scatter_add_(0, (x > 0).long(), x), TABLE)
_call("gather", lambda x: x.gather(1, x.argsort(1)[:, :2]), TABLE)
_call("index_select", lambda x: x.index_select(0, torch.tensor([0, 2], device=x.device)), TABLE)
_call("cumsum", lambda x: (x.cumsum(0), x.cumprod(1), x.logcumsumexp(0)), TABLE)
_call("fft", lambda x: torch.fft.irfft(torch.fft.rfft(x) * 2), TABLE)
_call("fft2", lambda x: torch.fft.fft2(x).abs(), IMAGE)
_call(
    "stft",
    lambda x: torch.stft(
        x, 8, window=torch.hann_window(8, device=x.device), return_complex=True
    ).abs(),
    (2, 64),
)
_call("complex_views", lambda x: torch.view_as_real(torch.view_as_complex(x) * (1 + 2j)), (3, 4, 2))
_call(
    "complex_parts",
    lambda x: (torch.complex(x, x).conj() * 1j).real + torch.polar(x.abs(), x).imag,
    TABLE,
)
_call("index_tensor", lambda x: x[torch.tensor([1, 0], device=x.device), :, 2:5], SEQUENCE)
_call("index_cpu", lambda x: x[torch.tensor([1, 0])], TABLE)
_call("index_bool", lambda x: x[x > 0], TABLE)
_call("index_none", lambda x: x[None, ..., -1, ::2], SEQUENCE)
_call("masked_fill_", lambda x: (x * 1).masked_fill_(x > 0, -torch.inf).softmax(1), TABLE)
_call("masked_select", lambda x: x.masked_select(x > 0), TABLE)
_call("where", lambda x: torch.where(x > 0, x, torch.tensor(2.0)), TABLE)
_call("cat_stack", lambda x: (torch.cat([x, x], 1), torch.stack([x, -x])), TABLE)
_call("chunk_split", lambda x: (*x.chunk(2, 1), *x.split([2, 4]), *x.unbind(0)), TABLE)
_call("in_place", lambda x: x.clone().add_(1).mul_(2).clamp_(0).sqrt_(), TABLE)
_call("out_argument", lambda x: torch.add(x.detach(), 1, out=torch.empty_like(x)) + x, TABLE)
_call("scalar_tensor", lambda x: x * torch.tensor(2.0) + torch.tensor(1), TABLE)
_call("interpolate", lambda x: F.interpolate(x, size=5, mode="bicubic", antialias=True), IMAGE)
_call(
    "grid_sample",
    lambda x: F.grid_sample(
        x, F.affine_grid(torch.eye(2, 3, device=x.device).expand(2, 2, 3), x.shape)
    ),
    IMAGE,
)
_call("pad", lambda x: (F.pad(x, (1, 1, 1, 1), "reflect"), F.pad(x, (1, 2), value=3.0)), IMAGE)
_call(
    "linalg", lambda x: (torch.linalg.norm(x), torch.linalg.svdvals(x), torch.linalg.qr(x).R), TABLE
)
_call("inverse", lambda x: torch.linalg.inv(x @ x.mT + torch.eye(6, device=x.device)), TABLE)
_call("cdist", lambda x, y: torch.cdist(x, y), TABLE, TABLE)
_call(
    "statistics",
    lambda x: (x.std(), x.var(1), x.median(), x.quantile(0.3), x.logsumexp(1), x.amax(0)),
    TABLE,
)
_call("meshgrid", lambda x: torch.meshgrid(x, x, indexing="ij"), (4,))
_call("broadcast", lambda x: x.expand(3, 6, 8) + torch.broadcast_to(x[0], (6, 8)), TABLE)
_call(
    "views",
    lambda x: (x.view(-1), x.T.reshape(4, 12), x.unflatten(1, (2, 4)), x.movedim(0, 1)),
    TABLE,
)
_call("roll_flip", lambda x: (x.roll(1, 0), x.flip(1), x.rot90(), x.tril(), x.diagonal()), TABLE)
_call(
    "losses",
    lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y), F.huber_loss(x, y), F.smooth_l1_loss(x, y)),
    TABLE,
    TABLE,
)
_call(
    "kl_div",
    lambda x, y: F.kl_div(x.log_softmax(1), y.softmax(1), reduction="batchmean"),
    TABLE,
    TABLE,
)
_call(
    "bce",
    lambda x, y: F.binary_cross_entropy_with_logits(
        x, y.sigmoid(), pos_weight=torch.ones(8, device=x.device)
    ),
    TABLE,
    TABLE,
)
_call(
    "cross_entropy",
    lambda x: F.cross_entropy(x, torch.arange(6, device=x.device), label_smoothing=0.1),
    TABLE,
)
_call("nll", lambda x: F.nll_loss(x.log_softmax(1), x.argmax(1).detach()), TABLE)
_call("triplet", lambda x, y: F.triplet_margin_loss(x, y, x.flip(0)), TABLE, TABLE)
_call(
    "checkpoint",
    lambda x: checkpoint(lambda t: F.dropout(t.sin() * 2, 0.4), x, use_reentrant=False),
    TABLE,
)
_call(
    "checkpoint_reentrant",
    lambda x: checkpoint(lambda t: F.dropout(t.sin() * 2, 0.4), x, use_reentrant=True),
    TABLE,
)
_call(
    "to_forms",
    lambda x: (x.to(x.device, torch.float64), x.to(x), x.type_as(x.double()), x.half().float()),
    TABLE,
)
_call(
    "factories",
    lambda x: (
        x
        + torch.arange(8, device=x.device)
        + torch.zeros(8, device=x.device)
        + torch.tensor([1.0] * 8, device=x.device)
        + torch.as_tensor(1.0, device=x.device)
    ),
    TABLE,
)
_call(
    "likes",
    lambda x: (
        x
        + torch.ones_like(x)
        + torch.full_like(x, 2.0)
        + x.new_full((8,), 3)
        + x.new_tensor([1.0])
        + torch.randn_like(x)
    ),
    TABLE,
)
_call(
    "random",
    lambda x: (
        x
        + torch.rand(8, device=x.device)
        + torch.randint(0, 5, (8,), device=x.device)
        + torch.randperm(8, device=x.device)
        + torch.empty_like(x).normal_()
        + torch.bernoulli(x.sigmoid().detach())
    ),
    TABLE,
)
_call(
    "item_and_numpy",
    lambda x: (
        x * x.sum().item()
        + torch.from_numpy(x.detach().cpu().numpy()).to(x.device)
        + x[0].tolist()[0]
        + len(x)
        + float(x[0, 0])
        + int(x[0, 0])
    ),
    TABLE,
)
_call("gumbel", lambda x: F.gumbel_softmax(x, hard=True), TABLE)
_call(
    "histogram",
    lambda x: (
        torch.bincount((x > 0).long().view(-1)),
        torch.bucketize(x.detach(), torch.linspace(-1, 1, 5, device=x.device)),
        torch.unique(x.detach()),
    ),
    TABLE,
)
_call("vmap", lambda x: torch.vmap(lambda row: row * row.sum())(x), TABLE)
_call("func_grad", lambda x: torch.func.grad(lambda t: (t**3).sum())(x), TABLE)
_call(
    "double_backward",
    lambda x: (
        torch.autograd.grad((x.sin() ** 2).sum(), x, create_graph=True)[0] if x.requires_grad else x
    ),
    TABLE,
)


@runs
def embedding():
    return nn.Embedding(10, 4, padding_idx=0), (torch.randint(0, 10, (3, 5)),), lambda m, i: m(i)


@runs
def embedding_bag():
    ids = torch.randint(0, 10, (3, 5))
    return nn.EmbeddingBag(10, 4, mode="mean"), (ids,), lambda m, i: m(i)


@runs
def index_put():
    def call(_, x):
        y = x.clone()
        y.index_put_((torch.tensor([0, 2]),), torch.tensor(5.0))
        y[torch.tensor([1])] = 3.0
        y[:, 2:4] = 0
        y[y > 1] *= 2
        return y

    return None, (torch.randn(6, 8),), call


@runs
def writes_through_views():
    def call(_, x):
        steps = torch.zeros(2, 5, 8, device=x.device)
        state = x[:, 0]
        for i in range(5):
            state = torch.tanh(state + x[:, i])
            steps[:, i] = state
        steps.transpose(0, 1)[1].mul_(2)
        steps.view(-1)[3:6].zero_()
        return steps

    return None, (torch.randn(2, 5, 8),), call


@runs
def packed_sequence():
    def call(m, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, [5, 3], batch_first=True)
        out, state = m(packed)
        return nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0], state

    return nn.GRU(8, 4, batch_first=True), (torch.randn(2, 5, 8),), call


@runs
def ctc():
    def call(_, x):
        targets = torch.tensor([[1, 2], [3, 1]], device=x.device)
        return F.ctc_loss(x.log_softmax(2), targets, torch.tensor([6, 6]), torch.tensor([2, 2]))

    return None, (torch.randn(6, 2, 5),), call


@runs
def custom_function():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            assert x.device == grad.device
            return grad * 2 + torch.zeros(grad.shape, device=x.device)

    return None, (torch.randn(6, 8),), lambda _, x: Twice.apply(x)


@runs
def autocast():
    def call(m, x):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.autocast(device_type="cuda", enabled=x.is_cuda and x.dim() > 9):
                return m(x)

    return nn.Linear(8, 3), (torch.randn(6, 8),), call


@runs
def buffers_and_casts():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("table", torch.arange(8.0))
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x):
            self.double()
            return (x.double() * self.scale + self.table.to(x.device)).to(x)

    return Net(), (torch.randn(6, 8),), lambda m, x: m(x)


@runs
def encoder_padded():
    """In eval mode without gradients it goes through nested tensors."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    padding = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]]).bool()

    def call(m, x, padding):
        return m(x, src_key_padding_mask=padding)

    return nn.TransformerEncoder(layer, 2), (torch.randn(2, 5, 8), padding), call


@runs
def sparse_matrix():
    def call(_, x):
        places = torch.tensor([[0, 1, 1], [1, 0, 1]], device=x.device)
        matrix = torch.sparse_coo_tensor(places, torch.ones(3, device=x.device), (2, 6))
        return torch.sparse.mm(matrix, x), matrix.t().to_dense(), matrix.coalesce().values()

    return None, (torch.randn(6, 8),), call


@runs
def compressed_matrix():
    return (
        None,
        (torch.randn(6, 8),),
        lambda _, x: torch.eye(6, device=x.device).to_sparse_csr() @ x,
    )


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


@runs
def registered_mask():
    return Attention(registered=True), (torch.randn(2, 5, 8),), lambda m, x: m(x)


# these draw numbers in eval mode too: another generator, other numbers
RANDOM = {"sdpa_mask_dropout", "checkpoint", "checkpoint_reentrant", "likes", "random", "gumbel"}
RANDOM_IN_TRAINING = {
    "dropout",
    "alpha_dropout",
    "dropout2d",
    "rrelu_softplus",
    "lstm_dropout",
    "attention",
    "encoder_layer",
    "encoder_layer_norm_first",
    "encoder",
    "encoder_padded",
    "decoder_layer",
    "transformer",
    "registered_mask",
}
