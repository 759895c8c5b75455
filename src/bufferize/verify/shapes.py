"""First guesses of what a module's forward takes.

In: a module that has been built. Out: for each parameter of its forward, specifications of tensors
or plain values, likeliest first. Runs nothing. Part of the worker: standard library and torch only.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

BATCH = 2
LENGTH = 6
IMAGE = 32
SAMPLES = 1000
NODES = 7
EDGES = 12


@dataclass(frozen=True, slots=True)
class Spec:
    """One argument: a tensor of a kind and shape, or source as it stands."""

    # 'float', 'long', 'bool' or 'source'
    kind: str
    shape: tuple[int, ...] = ()
    # for 'long': values lie below it
    high: int = 2
    text: str = ""

    def source(self) -> str:
        shape = ", ".join(map(str, self.shape))
        if self.kind == "float":
            return f"torch.randn({shape})" if self.shape else "torch.randn(())"
        if self.kind == "unit":
            return f"torch.rand({shape or '()'})"
        if self.kind == "long":
            comma = "," if len(self.shape) == 1 else ""
            return f"torch.randint(0, {self.high}, ({shape}{comma}))"
        if self.kind == "bool":
            return f"torch.ones({shape}, dtype=torch.bool)"
        return self.text

    @property
    def is_tensor(self) -> bool:
        return self.kind != "source"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a module's layers and attributes say about its inputs."""

    # specifications of the main input, likeliest first
    mains: tuple[Spec, ...]
    # the width of token-like inputs
    width: int
    embeddings: int
    steps: int
    heads: int
    classes: int
    image: tuple[int, int]
    has_embedding: bool = False
    attributes: typing.Mapping[str, int] = field(default_factory=dict)


WIDTHS = (
    r"(d|dim|d_model|embed_dim|hidden_size|n_embd|emb_dim|d_in|in_features|input_dim|input_size|"
    r"in_dim|features|in_channels|channels)"
)
IMAGES = re.compile(r".*(image|img|pixel|picture|frame|photo)s?.*|rgb")
SOUNDS = re.compile(r".*(audio|wave|wav|signal|speech|sound|samples).*")
IDS = re.compile(
    r".*(_ids?|idx|indices|tokens?|words|tok|text)|ids?|idx|index|sentence|items?|users?"
)
TIMES = re.compile(r"t|ts|timesteps?|time_?steps?|times?|step|noise_level|sigmas?|t_emb_in|tt")
LENGTHS = re.compile(r".*(lengths?|lens?|seq_len|sizes)")
MASKS = re.compile(r".*mask.*|attn_bias|attention_bias")
NODE_BATCHES = re.compile(r"batch|batch_index|batch_idx")
POINTS = re.compile(r".*(coord|point|xyz|positions_3d|rays|vert|pcd|pos_3d).*")
POSITIONS = re.compile(r".*position_?ids|positions?|pos_ids|pos_idx|indexes")
STATES = re.compile(r"hidden|h_?0|hx|states?|h_prev|prev_state|cache|past.*|kv_cache|memory_state")
TARGETS = re.compile(r".*(target|label|ground_truth|gt|y_true|true)s?|y|trg")
NUMBERS = re.compile(
    r"offset|start_pos|start|seq_?len|length|n|step|shift|current_.*|epoch|layer_idx"
)


def read_facts(module: nn.Module) -> Facts:
    """Everything that layers and attributes tell, in one value."""
    numbers = _numbers(module)
    width = _first(numbers, WIDTHS)
    image = _image_of(module, numbers)
    embedding = next((m for m in module.modules() if isinstance(m, nn.Embedding)), None)
    mains = list(_of_layers(module, image))
    last = next((s.shape[-1] for s in mains if s.kind == "float" and len(s.shape) < 4), 0)
    tensors = list(_of_tensors(module, image))
    usual = width or last or next((s.shape[-1] for s in tensors), 16)
    mains += [*_of_width(width), *tensors, *_of_nothing(usual, image, numbers)]
    unique = tuple(dict.fromkeys(mains))
    return Facts(
        mains=unique,
        width=last or usual,
        embeddings=embedding.num_embeddings if embedding is not None else 8,
        steps=_first(numbers, r".*(timesteps|num_steps|n_steps|diffusion_steps)|t|steps") or 4,
        heads=_first(numbers, r"(num_|n_)?(attention_)?n?heads?|h") or 2,
        classes=_first(numbers, r".*(classes|labels)|vocab_size") or 4,
        image=image,
        has_embedding=embedding is not None,
        attributes=numbers,
    )


def _numbers(module: nn.Module) -> dict[str, int]:
    own = {k.lower(): v for k, v in vars(module).items() if type(v) is int and v > 0}
    for name in ("config", "cfg", "args", "hparams", "params", "opt"):
        config = vars(module).get(name)
        rows = config if isinstance(config, dict) else getattr(config, "__dict__", {})
        own |= {str(k).lower(): v for k, v in rows.items() if type(v) is int and v > 0}
    return own


def _first(numbers: dict[str, int], pattern: str) -> int:
    return next((v for k, v in numbers.items() if re.fullmatch(pattern, k)), 0)


def _image_of(module: nn.Module, numbers: dict[str, int]) -> tuple[int, int]:
    for inner in module.modules():
        for name, value in vars(inner).items():
            if not re.fullmatch(r"(image|img|input|in)_?(size|res|resolution)|resolution", name):
                continue
            if isinstance(value, list | tuple) and len(value) == 2:
                return int(value[0]), int(value[1])
            if type(value) is int and value > 1 and name not in {"input_size", "in_size"}:
                return value, value
    return IMAGE, IMAGE


def _of_layers(module: nn.Module, image: tuple[int, int]) -> Iterator[Spec]:
    """What the layers take, in the order of their definition."""
    seen = 0
    for layer in module.modules():
        found = tuple(_of_layer(layer, image))
        yield from found
        seen += bool(found)
        if seen >= 4:
            return


def _of_layer(layer: nn.Module, image: tuple[int, int]) -> Iterator[Spec]:
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        yield Spec("long", (BATCH, LENGTH), layer.num_embeddings)
        yield Spec("long", (BATCH,), layer.num_embeddings)
    elif isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
        yield Spec("float", (BATCH, layer.in_channels, 4 * LENGTH))
        yield Spec("float", (BATCH, 4 * LENGTH, layer.in_channels))
    elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        yield Spec("float", (BATCH, layer.in_channels, *image))
    elif isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        yield Spec("float", (BATCH, layer.in_channels, 8, 16, 16))
    elif isinstance(layer, nn.Linear):
        yield Spec("float", (BATCH, LENGTH, layer.in_features))
        yield Spec("float", (BATCH, layer.in_features))
    elif isinstance(layer, nn.LayerNorm):
        yield Spec("float", (BATCH, LENGTH, *layer.normalized_shape))
    elif isinstance(layer, nn.BatchNorm1d):
        yield Spec("float", (BATCH, layer.num_features))
    elif isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d):
        width = getattr(layer, "num_features", 0) or getattr(layer, "num_channels", 0)
        yield Spec("float", (BATCH, width, *image))
    elif isinstance(layer, nn.RNNBase):
        yield Spec("float", (BATCH, LENGTH, layer.input_size))
    elif isinstance(layer, nn.RNNCellBase):
        yield Spec("float", (BATCH, layer.input_size))
    elif isinstance(layer, nn.MultiheadAttention):
        yield Spec("float", (BATCH, LENGTH, layer.embed_dim))


def _of_width(width: int) -> Iterator[Spec]:
    if width:
        yield Spec("float", (BATCH, LENGTH, width))
        yield Spec("float", (BATCH, width))


def _of_tensors(module: nn.Module, image: tuple[int, int]) -> Iterator[Spec]:
    """Tensors of the module's own: what is added to or multiplied with them has their shape."""
    own = [*vars(module).values(), *module._buffers.values(), *module._parameters.values()]
    for tensor in own:
        if not isinstance(tensor, torch.Tensor) or tensor.dim() == 0:
            continue
        shape = tuple(tensor.shape)
        if tensor.dim() >= 3 and shape[-1] == shape[-2] == 1:
            yield Spec("float", (BATCH, shape[-3], *image))
        elif shape[-1] > 1:
            yield Spec("float", (BATCH, LENGTH, shape[-1]))
            yield Spec("float", (BATCH, shape[-1]))


def _of_nothing(width: int, image: tuple[int, int], numbers: dict[str, int]) -> Iterator[Spec]:
    yield Spec("float", (BATCH, LENGTH, width))
    yield Spec("float", (BATCH, width))
    yield Spec("float", (BATCH, 3, *image))
    heads = _first(numbers, r"(num_|n_)?(attention_)?n?heads?|h") or 2
    yield Spec("float", (BATCH, heads, LENGTH, width))
    yield Spec("float", (BATCH, SAMPLES))
    yield Spec("long", (BATCH, LENGTH), 8)
    yield Spec("float", (BATCH,))
    yield Spec("source", text=str(LENGTH))


# --- one parameter


def guess_first(parameter: inspect.Parameter, hint: Any, facts: Facts, graph: bool) -> list[Spec]:
    """Specifications of the first tensor argument, likeliest first."""
    name = parameter.name.lower()
    if value := _of_hint(hint):
        return [value]
    mains = list(facts.mains)
    if rows := [row for spec in mains if (row := _row_of(hint, spec))]:
        return rows
    if graph:
        widths = [s.shape[-1] for s in mains if s.kind == "float"][:3]
        nodes = Spec("long", (NODES,), facts.embeddings)
        return [*(Spec("float", (NODES, width)) for width in widths), nodes]
    if IMAGES.fullmatch(name):
        return _ahead(mains, lambda s: len(s.shape) >= 4)
    if SOUNDS.fullmatch(name):
        sounds = [Spec("float", (BATCH, SAMPLES)), Spec("float", (BATCH, 1, SAMPLES)),
                  Spec("float", (SAMPLES,))]  # fmt: skip
        return sounds + mains
    if TIMES.fullmatch(name):
        times = [Spec("long", (BATCH,), facts.steps), Spec("unit", (BATCH,)),
                 Spec("unit", (BATCH, 1))]  # fmt: skip
        return times + mains
    if IDS.fullmatch(name):
        ids = [Spec("long", (BATCH, LENGTH), facts.embeddings)]
        return _ahead(ids + mains, lambda s: s.kind == "long")
    if POINTS.fullmatch(name):
        return [Spec("float", (BATCH, LENGTH, 3)), Spec("float", (LENGTH, 3)), *mains]
    if NUMBERS.fullmatch(name):
        return [Spec("source", text=str(LENGTH)), *mains]
    return mains


def _ahead(specs: list[Spec], wanted: typing.Callable[[Spec], bool]) -> list[Spec]:
    return sorted(dict.fromkeys(specs), key=lambda spec: not wanted(spec))


def guess_next(
    parameter: inspect.Parameter, hint: Any, main: Spec, facts: Facts, graph: bool
) -> list[Spec]:
    """Specifications of a further argument beside the `main` one."""
    name = parameter.name.lower()
    batch = main.shape[0] if main.shape else BATCH
    length = main.shape[1] if len(main.shape) > 1 else LENGTH
    if value := _of_hint(hint) or _row_of(hint, main):
        return [value]
    if name in {"edge_index", "edges", "edge_indices", "adj_t"}:
        return [Spec("long", (2, EDGES), NODES)]
    if name in {"edge_weight", "edge_weights"}:
        return [Spec("unit", (EDGES,))]
    if re.fullmatch(r"edge_(attr|feat|features?|type)s?|e", name) and graph:
        return [Spec("float", (EDGES, facts.width)), Spec("long", (EDGES,), 2)]
    if graph and NODE_BATCHES.fullmatch(name):
        return [Spec("source", text=f"torch.zeros({NODES}, dtype=torch.long)")]
    if name in {"adj", "adjacency", "adj_matrix", "a"}:
        nodes = main.shape[-2] if len(main.shape) > 1 else NODES
        return [Spec("source", text=f"torch.eye({nodes})"),
                Spec("source", text=f"torch.eye({nodes}).expand({batch}, -1, -1)")]  # fmt: skip
    if MASKS.fullmatch(name):
        return [Spec("source", text="None"), Spec("bool", (batch, length)),
                Spec("bool", (length, length)), Spec("bool", (batch, 1, 1, length)),
                Spec("bool", (batch, 1, length, length)), replace(main, kind="bool")]  # fmt: skip
    if TIMES.fullmatch(name):
        return [Spec("long", (batch,), facts.steps), Spec("unit", (batch,))]
    if LENGTHS.fullmatch(name):
        return [Spec("source", text=f"torch.full(({batch},), {length})"),
                Spec("source", text=str(length))]  # fmt: skip
    if NUMBERS.fullmatch(name):
        return [Spec("source", text="0"), Spec("source", text=str(length))]
    if POSITIONS.fullmatch(name):
        return [Spec("source", text=f"torch.arange({length})"),
                Spec("source", text=f"torch.arange({length}).expand({batch}, -1)")]  # fmt: skip
    if STATES.fullmatch(name):
        return [Spec("source", text="None"), Spec("float", (batch, facts.width)), main]
    if TARGETS.fullmatch(name):
        width = main.shape[-1] if len(main.shape) > 1 else 2
        return [main, Spec("long", (batch,), width), Spec("long", main.shape[:-1], width),
                replace(main, kind="unit")]  # fmt: skip
    if re.fullmatch(r"class(es)?|class_?(label|id)s?|labels?|c|cond_label", name):
        return [Spec("long", (batch,), facts.classes), main]
    if IDS.fullmatch(name) and facts.has_embedding:
        return [Spec("long", (batch, length), facts.embeddings), Spec("long", (batch,), 2)]
    if POINTS.fullmatch(name):
        return [Spec("float", (*main.shape[:-1], 3))]
    return [main, Spec("float", (batch, facts.width)), Spec("float", (batch, LENGTH, facts.width))]


def _row_of(hint: Any, main: Spec) -> Spec | None:
    """A list of tensors, where the annotation asks for one."""
    text = str(hint).lower()
    if re.search(r"(list|tuple|sequence|iterable)\[.*tensor", text) and main.is_tensor:
        return Spec("source", text=f"[{main.source()}, {main.source()}]")
    return None


def _of_hint(hint: Any) -> Spec | None:
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if type(None) in typing.get_args(hint) and len(kinds) == 1:
        hint = kinds[0]
    plain = {int: str(LENGTH), float: "0.5", bool: "False", str: "'mean'"}
    if hint in plain:
        return Spec("source", text=plain[hint])
    return None
