"""What torch and numpy give: the tables of `facts`, and traits that follow from arguments."""

from __future__ import annotations

import ast
from dataclasses import replace

from bufferize import facts
from bufferize.facts import Returns
from bufferize.project import ExternalSymbol
from bufferize.tensors import values as v
from bufferize.tensors.frame import Frame, storage_of
from bufferize.tensors.torchtraits import (
    DROP_COMPLEX,
    FLAG_TRAITS,
    TABLES,
    data_operands,
    data_traits,
    dtype_traits,
    is_empty,
    is_zero_dim,
)
from bufferize.tensors.values import Kind, Value

_DISTRIBUTED = (
    "torch.distributed.get_rank",
    "torch.distributed.get_world_size",
    "torch.cuda.current_device",
)


def call_torch(
    name: str, positional: list[Value], keywords: dict[str, Value], node: ast.Call, frame: Frame
) -> Value:
    """A call of `torch. ...` by its qualified name."""
    if name in _DISTRIBUTED:
        return v.make(Kind.NUMBER, traits=frozenset({v.PER_RANK}))
    if name.startswith("torch.Tensor.") and positional and positional[0].may_be_tensor:
        return call_tensor_method(
            positional[0], name.rpartition(".")[2], positional[1:], keywords, node, frame
        )
    if facts.is_tensor_class(name):
        return _tensor_class(positional, node, frame)
    if "()." in name:
        return _object_method(name, node, frame)
    if name == "torch.from_numpy" and positional:
        traits = positional[0].traits & v.CARRIED
        return v.tensor(
            (frame.module, node), traits, (positional[0].storage or {storage_of(frame, node)})
        )
    returns = facts.function_returns(name)
    if returns is None or returns.kind in {"object", "generator", "device"}:
        known = returns is not None or name in _known_objects() or "distributions" in name
        return v.make(Kind.OTHER, ref=ExternalSymbol(f"{name}()")) if known else v.UNKNOWN
    returns = _settled(returns, positional, keywords, node)
    return _result(returns, name, positional, keywords, node, frame)


def _object_method(name: str, node: ast.Call, frame: Frame) -> Value:
    """A method of an object that torch made: a generator's state, a sample of a distribution."""
    owner, _, method = name.partition("().")
    sampled = "distributions" in owner and method in {"sample", "rsample"}
    if sampled or (owner == "torch.Generator" and method == "get_state"):
        return v.tensor((frame.module, node), {v.RANDOM}, (storage_of(frame, node),))
    return v.UNKNOWN


def _known_objects() -> frozenset[str]:
    return frozenset(
        {"torch.device", "torch.Generator", "torch.Size", "torch.finfo", "torch.iinfo"}
    )


def _tensor_class(positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    """torch.Tensor(3, 4) is uninitialised memory; torch.Tensor([1., 2.]) is not."""
    traits = v.carried(positional)
    if positional and _are_sizes(positional, node) and not _has_no_elements(node):
        traits |= {v.UNINITIALISED}
    return v.tensor((frame.module, node), traits, (storage_of(frame, node),))


def _are_sizes(positional: list[Value], node: ast.Call) -> bool:
    """Whether torch.Tensor(...) is given sizes, not values."""
    first = node.args[0]
    if len(node.args) > 1 or isinstance(first, ast.Starred):
        return True
    if isinstance(first, ast.Attribute) and first.attr == "shape":
        return True
    if isinstance(first, ast.Call) and isinstance(first.func, ast.Attribute):
        return first.func.attr in {"size", "Size"}
    # a list times a number is known to be a sequence; what is left of arithmetic gives numbers
    unknown = positional[0].kinds == {Kind.UNKNOWN}
    return positional[0].kinds == {Kind.NUMBER} or (unknown and isinstance(first, ast.BinOp))


def _has_no_elements(node: ast.Call) -> bool:
    """`torch.empty(0)`, `torch.Tensor()`: there is no memory to leave uninitialised."""
    if not node.args:
        return not node.keywords
    first = node.args[0]
    sizes = first.elts if isinstance(first, ast.Tuple | ast.List) else node.args
    return any(_literal(size) == 0 for size in sizes)


def call_tensor_method(
    owner: Value,
    name: str,
    positional: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    """A method of a tensor or Parameter."""
    returns = facts.method_returns(name)
    if returns is None:
        return v.UNKNOWN
    if name in {"register_hook", "backward", "retain_grad"}:
        return v.NONE
    returns = _settled(returns, positional, keywords, node)
    value = _result(returns, name, [owner, *positional], keywords, node, frame)
    if name == "requires_grad_" and value.may_be_tensor:
        off = bool(positional) and positional[0].constant is False
        value = value.without_traits(v.GRAD) if off else value.with_traits(v.GRAD)
    return value


def _result(
    returns: Returns,
    name: str,
    operands: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    kind = returns.kind
    last = name.rpartition(".")[2]
    if kind == "unknown" and returns.possible:
        parts = [
            _result(replace_kind(returns, k), name, operands, keywords, node, frame)
            for k in returns.possible
        ]
        return v.join_all(parts)
    if kind == "tensor":
        return _tensor(returns, last, operands, keywords, node, frame)
    if kind == "parameter":
        return v.make(
            Kind.PARAMETER, traits=frozenset({v.GRAD}), storage=frozenset({storage_of(frame, node)})
        )
    if kind == "buffer":
        source = operands[0] if operands else v.tensor()
        return replace(source, traits=source.traits | {v.BUFFER}, kinds=frozenset({Kind.TENSOR}))
    if kind in {"tuple", "list"}:
        return _several(returns, last, operands, keywords, node, frame)
    if kind in {"number", "bool"}:
        return v.make(Kind.NUMBER, traits=v.carried(operands))
    if kind == "module" and "Dropout" in last:
        return v.make(Kind.MODULE, traits=frozenset({v.RANDOM}))  # what it gives is drawn
    traits = v.carried(operands) | {t for flag, t in FLAG_TRAITS.items() if returns.has(flag)}
    return _PLAIN.get(kind) or v.make(Kind.UNKNOWN, traits=traits)


_PLAIN = {
    "none": v.NONE,
    "module": v.MODULE,
    "callable": v.CALLABLE,
    "object": v.OTHER,
    "dtype": v.OTHER,
    "device": v.OTHER,
    "size": v.make(Kind.SEQUENCE, element=v.NUMBER),
    "generator": v.OTHER,
    "array": v.ARRAY,
}


def replace_kind(returns: Returns, kind: str) -> Returns:
    return replace(returns, kind=kind, possible=(), variants=())


def _several(
    returns: Returns,
    last: str,
    operands: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    if returns.items:
        one = [replace_kind(returns, kind) for kind in returns.items]
        return v.sequence(tuple(_result(r, last, operands, keywords, node, frame) for r in one))
    if last in {"meshgrid", "broadcast_tensors"}:
        return _one_each(returns, last, operands, keywords, node, frame)
    element = _tensor(returns, last, operands, keywords, node, frame)
    if returns.count is None:
        return v.sequence_of(element)
    shared = returns.has("view")
    return v.sequence(
        tuple(element if shared else _apart(element, place) for place in range(returns.count))
    )


def _one_each(
    returns: Returns,
    last: str,
    operands: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    """Each result is an expanded view of its own argument."""
    first = operands[0] if len(operands) == 1 else None
    given = operands if first is None or first.is_tensor else first.items
    if given is None:
        return v.sequence_of(_tensor(returns, last, operands, keywords, node, frame))
    parts = (_tensor(returns, last, [x], keywords, node, frame) for x in given)
    return v.sequence(tuple(_apart(part, place) for place, part in enumerate(parts)))


def _apart(value: Value, place: int) -> Value:
    return replace(value, storage=frozenset(f"{name}[{place}]" for name in value.storage))


def _tensor(
    returns: Returns,
    last: str,
    operands: list[Value],
    keywords: dict[str, Value],
    node: ast.Call,
    frame: Frame,
) -> Value:
    tensors = [x for x in operands if x.kinds & {Kind.TENSOR, Kind.PARAMETER}]
    if returns.has("inplace") and operands:
        return _in_place(returns, last, operands, node, frame)
    if (returns.has("view") or (returns.has("may-view") and tensors)) and tensors:
        result = _view(returns, last, tensors[0], operands, node, frame)
    else:
        result = v.derived(
            [*operands, *data_operands(keywords)], (frame.module, node), storage_of(frame, node)
        )
    traits = set(result.traits)
    if returns.has("like") or returns.has("factory"):
        # shape, dtype and device of an operand, none of its values
        traits -= v.CARRIED - data_traits(last, operands, keywords)
    traits |= {t for flag, t in FLAG_TRAITS.items() if returns.has(flag)}
    if returns.has("uninitialised") and _has_no_elements(node):
        traits -= {v.UNINITIALISED}
    if last in TABLES and not returns.has("integer"):
        traits.add(v.FLOAT_TABLE)
    traits = dtype_traits(traits, last, returns, operands, keywords)
    if is_empty(operands):
        traits.discard(v.UNINITIALISED)
    if is_zero_dim(returns, last, operands, tensors, node):
        traits.add(v.ZERO_DIM)
    if _turns_on_grad(keywords):
        traits.add(v.GRAD)
    if frame.context.no_grad or last in {"detach", "detach_"} or returns.has("factory"):
        traits -= {v.HISTORY}
    return replace(result, traits=frozenset(traits))


_KEEP_VALUES = frozenset({"requires_grad_", "detach_", "share_memory_", "resize_", "rename_"})


def _in_place(
    returns: Returns, last: str, operands: list[Value], node: ast.Call, frame: Frame
) -> Value:
    """An in-place operation gives back its first argument, changed."""
    first = operands[0]
    others: frozenset[str] = frozenset()
    for value in operands[1:]:
        others |= value.traits & v.CARRIED
    traits = first.traits | others
    if last not in _KEEP_VALUES:
        traits -= {v.UNINITIALISED}
    if returns.has("random"):
        traits |= {v.RANDOM}
    return replace(first, traits=traits, constant=...).with_chain((frame.module, node))


def _view(
    returns: Returns, last: str, source: Value, operands: list[Value], node: ast.Call, frame: Frame
) -> Value:
    result = v.view_of(source).with_chain((frame.module, node))
    if returns.has("may-view"):
        result = replace(result, storage=result.storage | {storage_of(frame, node)})
    traits = set(result.traits)
    if Kind.PARAMETER in source.kinds or v.GRAD in source.traits:
        moved = last in {"to", "cuda", "cpu", "float", "half", "double", "detach", "bfloat16"}
        traits -= {v.GRAD}
        traits.add(v.LOST_PARAMETER if moved else v.HISTORY)
        if moved and last != "detach":
            traits.add(v.HISTORY)
    if last in {"contiguous", "clone"}:
        traits.discard(v.EXPANDED)
    if returns.has("expand") and not _harmless_expand(last, node):
        traits.add(v.EXPANDED)
    return replace(result, traits=frozenset(traits))


def _harmless_expand(last: str, node: ast.Call) -> bool:
    """`expand((1, -1))`, the usual idiom for position ids, repeats nothing."""
    if last != "expand" or node.keywords:
        return False
    sizes = (
        node.args[0].elts
        if len(node.args) == 1 and isinstance(node.args[0], ast.Tuple | ast.List)
        else node.args
    )
    return bool(sizes) and all(_literal(size) in {1, -1} for size in sizes)


def _literal(node: ast.expr) -> object:
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
    ):
        value = node.operand.value
        return -value if isinstance(value, int) else None
    return node.value if isinstance(node, ast.Constant) else None


def _turns_on_grad(keywords: dict[str, Value]) -> bool:
    flag = keywords.get("requires_grad")
    return flag is not None and flag.constant is not False


def _settled(
    returns: Returns, positional: list[Value], keywords: dict[str, Value], node: ast.Call
) -> Returns:
    forms = [_form(x) for x in positional]
    return returns.given(forms, {name: _form(x) for name, x in keywords.items()})


def _form(value: Value) -> str:
    if value.constant is True:
        return "true"
    if value.constant is False:
        return "false"
    if value.is_none:
        return "none"
    if value.is_tensor:
        return "tensor"
    if value.kinds == {Kind.NUMBER}:
        return "int" if isinstance(value.constant, int) else "?"
    return "?" if value.is_unknown else "other"


def call_numpy(name: str, positional: list[Value], node: ast.Call, frame: Frame) -> Value:
    """A call of numpy or scipy by its qualified name."""
    if positional and positional[0].is_tensor and name.startswith("numpy."):
        # numpy functions hand a tensor back through __array_wrap__, or an array: either
        return Value(frozenset({Kind.TENSOR, Kind.ARRAY}), positional[0].traits & v.CARRIED)
    if name.endswith((".default_rng", ".RandomState", ".Generator")):
        return v.make(Kind.OTHER, traits=frozenset({v.RANDOM}))
    returns = facts.numpy_returns(name)
    if returns is None:
        return v.make(Kind.UNKNOWN, traits=v.carried(positional))
    traits = v.carried(positional)
    traits |= {t for flag, t in FLAG_TRAITS.items() if returns.has(flag)}
    if name.rpartition(".")[2] in DROP_COMPLEX:
        traits -= {v.COMPLEX}
    array = v.make(Kind.ARRAY, traits=traits, storage=frozenset({storage_of(frame, node)}))
    if returns.kind == "array":
        return array
    if returns.kind in {"tuple", "list"}:
        return v.sequence((array,) * returns.count) if returns.count else v.sequence_of(array)
    if returns.kind in {"number", "bool"}:
        return v.make(Kind.NUMBER, traits=traits)
    return v.make(Kind.UNKNOWN, traits=traits)
