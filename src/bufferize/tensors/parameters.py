"""Parameters -> values: what a call binds, and what a signature tells where no call is known."""

from __future__ import annotations

import ast
from dataclasses import replace

from bufferize.project import ExternalSymbol, FunctionInfo
from bufferize.tensors import values as v
from bufferize.tensors.annotations import value_of_annotation
from bufferize.tensors.clues import clue
from bufferize.tensors.evaluate import evaluate
from bufferize.tensors.frame import Frame
from bufferize.tensors.values import Kind, Value


def bind_parameters(
    function: FunctionInfo, positional: list[Value], keywords: dict[str, Value], frame: Frame
) -> dict[str, Value]:
    """Parameter names to values, for a call with these arguments."""
    return bind(function.node.args, positional, keywords, frame)


def bind(
    args: ast.arguments, positional: list[Value], keywords: dict[str, Value], frame: Frame
) -> dict[str, Value]:
    names: dict[str, Value] = {}
    parameters = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(parameters) - len(args.defaults)) + list(args.defaults)
    pairs = [
        *zip(parameters, defaults, strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    for place, (parameter, default) in enumerate(pairs):
        if place < len(positional) and place < len(parameters):
            value = positional[place]
        elif parameter.arg in keywords:
            value = keywords[parameter.arg]
        else:
            value = parameter_value(parameter, default, frame, handed_in=False)
        names[parameter.arg] = _narrowed(value, parameter, frame)
    if args.vararg:
        rest = positional[len(parameters) :]
        names[args.vararg.arg] = v.sequence(tuple(rest)) if rest else v.SEQUENCE
    if args.kwarg:
        names[args.kwarg.arg] = v.MAPPING
    return names


def _narrowed(value: Value, parameter: ast.arg, frame: Frame) -> Value:
    """An unknown argument is what the parameter's annotation says."""
    if value.kinds != {Kind.UNKNOWN} or parameter.annotation is None:
        return value
    said = value_of_annotation(parameter.annotation, frame.module, frame)
    return (
        replace(said, traits=said.traits | (value.traits & v.CARRIED))
        if not said.is_unknown
        else value
    )


def parameter_value(
    parameter: ast.arg, default: ast.expr | None, frame: Frame, handed_in: bool
) -> Value:
    """What a parameter holds when the caller is unknown: by annotation, else by its default."""
    value = value_of_annotation(parameter.annotation, frame.module, frame)
    if parameter.annotation is None and default is None and handed_in:
        value = clue(frame.function, parameter.arg) or value
    if parameter.annotation is None and default is not None:
        given = evaluate(default, frame)
        plain = given.kinds <= {Kind.NUMBER, Kind.TEXT}
        value = replace(given, constant=...) if plain else v.UNKNOWN
        if isinstance(given.ref, ExternalSymbol | FunctionInfo):
            value = given  # window_fn=torch.hann_window: what is passed gives the like
    if handed_in and value.kinds == {Kind.UNKNOWN}:
        # a later isinstance test may show that it is a tensor
        value = replace(value, storage=frozenset({f"argument {parameter.arg}"}))
    if handed_in and value.kinds & {Kind.TENSOR, Kind.ARRAY}:
        value = replace(
            value,
            traits=value.traits | {v.HANDED_IN},
            storage=frozenset({f"argument {parameter.arg}"}),
            chain=((frame.module, parameter),),
        )
    return value
