"""The abstract values of the inference: what an expression may be, and what is known of it.

A `Value` never claims more than the program shows: `kinds` lists every kind it may have, and only a
value whose kinds are all TENSOR (or TENSOR and NONE) surely is a tensor.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from bufferize.project import Module


class Kind(Enum):
    TENSOR = "tensor"
    PARAMETER = "parameter"
    NONE = "None"
    NUMBER = "number"
    TEXT = "text"
    ARRAY = "array"
    SEQUENCE = "sequence"
    MAPPING = "mapping"
    MODULE = "module"
    CALLABLE = "callable"
    # surely something that is no tensor: a device, a dtype, a generator ...
    OTHER = "other"
    UNKNOWN = "unknown"


# Traits: facts about where a tensor comes from. They travel with the value through every operation.
RANDOM = "random"  # drawn from a random number generator
LOADED = "loaded"  # read from a file
HANDED_IN = "handed-in"  # a tensor or array argument of the constructor
COMPLEX = "complex"
GRAD = "requires-grad"
HISTORY = "history"  # computed from something that requires grad
EXPANDED = "expanded"  # overlapping storage
ZERO_DIM = "zero-dim"
FLOAT_TABLE = "float-table"  # computed by transcendental functions: loses most in bfloat16
UNINITIALISED = "uninitialised"
PER_RANK = "per-rank"
LOST_PARAMETER = "lost-parameter"  # nn.Parameter(...).to(...): no parameter any more
BUFFER = "nn.Buffer"  # nn.Buffer(...): registers itself
# facts that end with the next operation, because that makes a new tensor
_OWN = frozenset({EXPANDED, ZERO_DIM, UNINITIALISED, GRAD, LOST_PARAMETER, BUFFER})
CARRIED = frozenset({RANDOM, LOADED, HANDED_IN, COMPLEX, HISTORY, FLOAT_TABLE, PER_RANK})

_MAX_CHAIN = 8

# one step of the way a tensor took: rendered only when somebody asks
Step = tuple[Module, ast.AST]


@dataclass(frozen=True, slots=True)
class Value:
    kinds: frozenset[Kind]
    traits: frozenset[str] = frozenset()
    # elements of a tuple, list or dict display, where each is known
    items: tuple[Value, ...] | None = None
    # keys of a dict display, parallel to items
    keys: tuple[object, ...] | None = None
    # what every element is, where only that is known
    element: Value | None = None
    # class, function, module, or ('method', owner value, name) it stands for
    ref: object = None
    # names of the storages it may share: one per creating expression, parameter or attribute
    storage: frozenset[str] = frozenset()
    # a Python constant, where known
    constant: object = ...
    # from the assignment to the call that made it, newest first
    chain: tuple[Step, ...] = field(default=(), compare=False)

    @property
    def is_tensor(self) -> bool:
        """Surely a tensor, on every path."""
        return self.kinds == {Kind.TENSOR}

    @property
    def is_tensor_or_none(self) -> bool:
        return Kind.TENSOR in self.kinds and self.kinds <= {Kind.TENSOR, Kind.NONE}

    @property
    def may_be_tensor(self) -> bool:
        return Kind.TENSOR in self.kinds

    @property
    def is_none(self) -> bool:
        return self.kinds == {Kind.NONE}

    @property
    def is_unknown(self) -> bool:
        return Kind.UNKNOWN in self.kinds

    def with_chain(self, step: Step) -> Value:
        return replace(self, chain=(step, *self.chain)[:_MAX_CHAIN])

    def with_traits(self, *traits: str) -> Value:
        return replace(self, traits=self.traits | set(traits))

    def without_traits(self, *traits: str) -> Value:
        return replace(self, traits=self.traits - set(traits))

    def only(self, kinds: Iterable[Kind]) -> Value:
        """The value, known to be of one of `kinds` (as after an isinstance test)."""
        left = self.kinds & set(kinds)
        if left:
            return replace(self, kinds=frozenset(left))
        # the program tests for a kind that was not thought of: believe the test
        believed, traits = frozenset(kinds), self.traits
        given = any(name.startswith("argument ") for name in self.storage)
        if given and believed & {Kind.TENSOR, Kind.ARRAY}:
            traits |= {HANDED_IN}
        return replace(self, kinds=believed, traits=traits, constant=..., ref=None)

    def without(self, *kinds: Kind) -> Value:
        left = self.kinds - set(kinds)
        return replace(self, kinds=left) if left else self


def make(kind: Kind, **facts: object) -> Value:
    return Value(frozenset({kind}), **facts)  # type: ignore[arg-type]


UNKNOWN = make(Kind.UNKNOWN)
NONE = make(Kind.NONE, constant=None)
NUMBER = make(Kind.NUMBER)
TEXT = make(Kind.TEXT)
OTHER = make(Kind.OTHER)
MODULE = make(Kind.MODULE)
CALLABLE = make(Kind.CALLABLE)
SEQUENCE = make(Kind.SEQUENCE)
MAPPING = make(Kind.MAPPING)
ARRAY = make(Kind.ARRAY)


def tensor(
    step: Step | None = None, traits: Iterable[str] = (), storage: Iterable[str] = ()
) -> Value:
    return Value(
        frozenset({Kind.TENSOR}),
        frozenset(traits),
        storage=frozenset(storage),
        chain=(step,) if step else (),
    )


def constant(value: object) -> Value:
    if value is None:
        return NONE
    if isinstance(value, str | bytes):
        return make(Kind.TEXT, constant=value)
    if isinstance(value, bool | int | float):
        return make(Kind.NUMBER, constant=value)
    if isinstance(value, complex):
        return make(Kind.NUMBER, constant=value, traits=frozenset({COMPLEX}))
    return OTHER


def sequence(items: tuple[Value, ...]) -> Value:
    traits: frozenset[str] = (
        frozenset().union(*(v.traits & CARRIED for v in items)) if items else frozenset()
    )
    return make(Kind.SEQUENCE, items=items, traits=traits)


def sequence_of(element: Value) -> Value:
    return make(Kind.SEQUENCE, element=element, traits=element.traits & CARRIED)


def join(left: Value, right: Value) -> Value:
    """What holds on either of two paths."""
    if left is right or left == right:
        return left
    items = _join_items(left, right)
    # a trait that only one branch has still may hold; ZERO_DIM must hold on every tensor branch
    traits = left.traits | right.traits
    both = left.may_be_tensor and right.may_be_tensor
    if both and not (ZERO_DIM in left.traits and ZERO_DIM in right.traits):
        traits -= {ZERO_DIM}
    chain = left.chain if len(left.chain) >= len(right.chain) else right.chain
    return Value(
        left.kinds | right.kinds,
        traits,
        items=items,
        keys=(left.keys or right.keys) if items is not None else None,
        element=_join_elements(left, right) if items is None else None,
        ref=left.ref if _same(left.ref, right.ref) else _choice(left, right),
        storage=left.storage | right.storage,
        constant=left.constant if _same(left.constant, right.constant) else ...,
        chain=chain,
    )


def _join_items(left: Value, right: Value) -> tuple[Value, ...] | None:
    """Element by element; an unknown side leaves the other's elements open, each for itself."""
    if left.items is not None and right.items is not None:
        if len(left.items) != len(right.items) or left.keys != right.keys:
            return None
        return tuple(join(a, b) for a, b in zip(left.items, right.items, strict=True))
    for known, other in ((left, right), (right, left)):
        if known.items is not None and other.kinds <= {Kind.UNKNOWN, Kind.NONE}:
            return (
                tuple(join(item, UNKNOWN) for item in known.items)
                if other.is_unknown
                else known.items
            )
    return None


def _choice(left: Value, right: Value) -> Choice | None:
    """Two callables: calling the joined value calls either."""
    if left.kinds != {Kind.CALLABLE} or right.kinds != {Kind.CALLABLE}:
        return None
    options: list[Value] = []
    for side in (left, right):
        options += side.ref.options if isinstance(side.ref, Choice) else (side,)
    known = all(option.ref is not None for option in options)
    return Choice(tuple(options)) if known and len(options) <= _MAX_CHAIN else None


def _same(left: object, right: object) -> bool:
    return left is right or (type(left) is type(right) and left == right)


def _join_elements(left: Value, right: Value) -> Value | None:
    elements = [
        v
        for side in (left, right)
        for v in ([side.element] if side.element else list(side.items or ()))
    ]
    if not elements or (left.items is None and left.element is None and left.kinds != {Kind.NONE}):
        return None
    return join_all(elements)


def filled(value: Value, promised: Value) -> Value:
    """`value`, with what an annotation promises where the body leaves it open.

    An annotation is never believed over what the body shows.
    """
    both = value.items is not None and promised.items is not None and value.keys is None
    if both and len(value.items or ()) == len(promised.items or ()):
        pairs = zip(value.items or (), promised.items or (), strict=True)
        return replace(value, items=tuple(filled(a, b) for a, b in pairs))
    if Kind.UNKNOWN not in value.kinds or Kind.UNKNOWN in promised.kinds:
        return value
    kinds = (value.kinds - {Kind.UNKNOWN}) | promised.kinds
    carried = value.traits & CARRIED
    if value.kinds == {Kind.UNKNOWN}:
        return replace(promised, traits=promised.traits | carried, storage=value.storage)
    return replace(value, kinds=kinds)


def join_all(values: Iterable[Value]) -> Value:
    result: Value | None = None
    for value in values:
        result = value if result is None else join(result, value)
    return UNKNOWN if result is None else result


def element_of(value: Value) -> Value:
    """What iterating or indexing with an unknown index gives."""
    if value.is_tensor:
        return view_of(value)
    if value.kinds == {Kind.ARRAY}:
        return Value(frozenset({Kind.ARRAY, Kind.NUMBER}), value.traits)
    if value.items:
        return join_all(value.items)
    if value.element is not None:
        return value.element
    return UNKNOWN


def view_of(value: Value) -> Value:
    """A tensor that shares the storage of `value`: indexing, reshaping, transposing."""
    return replace(
        value,
        kinds=frozenset({Kind.TENSOR}),
        traits=value.traits - {ZERO_DIM, LOST_PARAMETER, BUFFER},
        constant=...,
        items=None,
    )


def derived(
    operands: Iterable[Value], step: Step, storage: str, extra: Iterable[str] = ()
) -> Value:
    """A new tensor computed from `operands`."""
    operands = list(operands)
    traits: set[str] = set(extra)
    for value in operands:
        traits |= value.traits & CARRIED
        traits |= _element_traits(value)
        if Kind.PARAMETER in value.kinds or GRAD in value.traits:
            traits.add(HISTORY)
    tensors = [v for v in operands if v.may_be_tensor]
    chain = tensors[0].chain if tensors else ()
    return Value(
        frozenset({Kind.TENSOR}),
        frozenset(traits),
        storage=frozenset({storage}),
        chain=(step, *chain)[:_MAX_CHAIN],
    )


def carried(operands: Iterable[Value]) -> frozenset[str]:
    """Traits that go over from operands to what is computed of them."""
    traits: frozenset[str] = frozenset()
    for value in operands:
        traits |= value.traits & CARRIED
    return traits


def _element_traits(value: Value) -> frozenset[str]:
    parts = [*(value.items or ()), *([value.element] if value.element else [])]
    traits: frozenset[str] = frozenset()
    for part in parts:
        traits |= part.traits & CARRIED
        if Kind.PARAMETER in part.kinds or GRAD in part.traits:
            traits |= {HISTORY}
    return traits


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A method taken from a value but not yet called."""

    owner: Value
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """functools.partial(function, ...)."""

    function: Value
    arguments: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several callables, as a table of functions gives."""

    options: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Gives:
    """A callable of which only the result is known, as its annotation says."""

    result: Value
