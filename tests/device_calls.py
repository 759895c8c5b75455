"""Calls of torch's functions and tensor methods that every device must do as the CPU does them.

`CALLS` maps a name to a function that returns (None, inputs, call). Shared, as `device_cases` is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CALLS = {}

IMAGE, TABLE, SEQUENCE = (2, 4, 9, 9), (6, 8), (2, 5, 8)


def _call(name, call, *shapes):
    def build():
        return None, tuple(torch.randn(shape) for shape in shapes), lambda _, *x: call(*x)

    CALLS[name] = build


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


def write_rows(x, rows):
    x[rows] = 2.0
    return x


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
_call("index_list", lambda x: x[[1, 0]], TABLE)
_call("index_lists", lambda x: x[[1, 0], [2, 3]], TABLE)
_call("index_list_set", lambda x: write_rows(x.clone(), [0]), TABLE)
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
