"""What every device must do as the CPU does it.

`RUNS` maps a name to a function that returns (module or None, inputs, call).
Shared by the tests of the virtual device and of CUDA.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from device_calls import CALLS
from torch import nn

RUNS = dict(CALLS)


def runs(build):
    RUNS[build.__name__] = build
    return build


def _module(name, make, *shapes, call=None):
    def build():
        return make(), tuple(torch.randn(shape) for shape in shapes), call or (lambda m, *x: m(*x))

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
