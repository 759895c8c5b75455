"""A value that differs between the processes of a distributed run.

DistributedDataParallel broadcasts the buffers of rank 0 to all others before forward, unless it is
built with `broadcast_buffers=False`. A plain attribute keeps what each process computed.

Bites:

    import torch.distributed as dist

    class Shard(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.ids = torch.arange(size) + dist.get_rank() * size

Harmless, because it is the rank of a matrix:

    class LowRank(nn.Module):
        def __init__(self, rank):
            super().__init__()
            self.columns = torch.arange(rank)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from bufferize.classes import Candidate, ClassView, called_name
from bufferize.model import Hazard, Safety
from bufferize.project.symbols import dotted_name
from bufferize.tensors import values as v

_CALLS = frozenset({"get_rank", "get_world_size", "get_local_rank", "get_ordinal"})
_ATTRIBUTES = frozenset({"local_rank", "global_rank"})
_VARIABLES = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID"})


def judge(candidate: Candidate, view: ClassView) -> Hazard | None:
    if v.PER_RANK not in candidate.value.traits and not _names_a_rank(candidate):
        return None
    return Hazard(
        "per-rank-value",
        f"`{candidate.attribute}` differs between the processes of a distributed run: "
        "DistributedDataParallel would overwrite a buffer with the value of rank 0",
        Safety.UNSAFE,
        candidate.where,
        remedy="pass --unsafe if it is built with broadcast_buffers=False",
    )


def _names_a_rank(candidate: Candidate) -> bool:
    function = candidate.write.function
    if candidate.write.expression is None or function is None:
        return False
    seen: set[str] = set()
    waiting: list[ast.expr] = [candidate.write.expression]
    while waiting:
        for node in _operands(waiting.pop()):
            if _is_rank(node):
                return True
            if isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                waiting += _bound_to(node.id, function.node)
    return False


def _operands(expression: ast.expr) -> Iterator[ast.AST]:
    """Nodes below the expression; a device says where, not what."""
    stack: list[ast.AST] = [expression]
    while stack:
        node = stack.pop()
        yield node
        stack += [
            child
            for child in ast.iter_child_nodes(node)
            if not (isinstance(child, ast.keyword) and child.arg == "device")
        ]


def _bound_to(name: str, function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        if any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield node.value


def _is_rank(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        if called_name(node) in _CALLS:
            return True
        name = dotted_name(node.func) or ""
        first = node.args[0] if node.args else None
        return name.endswith(("environ.get", "getenv")) and _is_variable(first)
    if isinstance(node, ast.Subscript):
        return (dotted_name(node.value) or "").endswith("environ") and _is_variable(node.slice)
    return isinstance(node, ast.Attribute) and node.attr in _ATTRIBUTES


def _is_variable(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value in _VARIABLES
