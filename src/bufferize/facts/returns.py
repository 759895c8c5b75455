"""What a callable gives back, and the one-line language of the tables.

Takes an entry such as 'tensor reduces; dim@1=int tuple:2', gives a Returns. It refuses to know
where entries come from.

An entry is a kind, then flags, then variants. Kinds: tensor, parameter, buffer, array, number,
bool, none, dtype, device, size, generator, module, callable, object (surely no tensor), list (of
tensors), tuple (of tensors), tuple:N, tuple(a,b) for mixed ones, unknown, and a|b for one of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

FLAGS = frozenset(
    {
        "random",  # draws from a random number generator
        "inplace",  # writes its first argument and returns it
        "view",  # returns an alias of an argument
        "may-view",  # returns an alias of an argument, or a copy
        "expand",  # the result's elements may share memory with each other
        "complex",  # the result is complex whatever the argument
        "may-complex",  # the result is complex for some arguments
        "boolean",  # the result's dtype is bool
        "integer",  # the result's dtype is an integer type
        "factory",  # takes no tensor
        "like",  # takes dtype and device (and shape) from a tensor
        "uninitialised",  # whatever memory held (for a tensor class: when called with sizes)
        "loads",  # reads a file or the network
        "dtype",  # has a dtype argument
        "reduces",  # a zero-dimensional tensor unless a dimension is asked for
    }
)


@dataclass(frozen=True, slots=True)
class Variant:
    """Another kind when an argument is of a form: 'int', 'true', 'false', 'given' or 'missing'."""

    parameter: str
    position: int
    form: str
    kind: str


@dataclass(frozen=True, slots=True)
class Returns:
    """What a call gives. `kind` is 'unknown' when it may be any one of `possible`."""

    kind: str
    # how many elements a tuple or list has, None where it depends
    count: int | None = None
    # kinds of a tuple's elements where they are not all tensors
    items: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    variants: tuple[Variant, ...] = ()

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def given(self, positional: Sequence[str], keywords: Mapping[str, str]) -> Returns:
        """What this call gives, from the forms of its arguments.

        A form is 'int', 'true', 'false', 'none', 'tensor', 'other', or '?' if unknown.
        """
        settled = replace(self, variants=())
        for variant in self.variants:
            match = _holds(variant, positional, keywords)
            other = _with_kind(settled, variant.kind)
            if match:
                return other
            if match is None:
                possible = {*(settled.possible or (settled.kind,)), other.kind}
                settled = replace(
                    settled, kind="unknown", count=None, items=(), possible=tuple(sorted(possible))
                )
        return settled


def parse_entry(entry: str) -> Returns:
    head, *tails = entry.split("; ")
    kind, *flags = head.split(" ")
    returns = _with_kind(Returns("unknown", flags=frozenset(flags)), kind)
    return replace(returns, variants=tuple(_parse_variant(tail) for tail in tails))


def _parse_variant(text: str) -> Variant:
    condition, kind = text.split(" ")
    place, form = condition.split("=")
    parameter, position = place.split("@")
    return Variant(parameter, int(position), form, kind)


def _with_kind(returns: Returns, text: str) -> Returns:
    if text.startswith("tuple("):
        items = tuple(text[text.index("(") + 1 : -1].split(","))
        return replace(returns, kind="tuple", count=len(items), items=items, possible=())
    if "|" in text:
        possible = tuple(part.partition(":")[0] for part in text.split("|"))
        return replace(returns, kind="unknown", count=None, items=(), possible=possible)
    kind, _, count = text.partition(":")
    return replace(returns, kind=kind, count=int(count) if count else None, items=(), possible=())


def _holds(variant: Variant, positional: Sequence[str], keywords: Mapping[str, str]) -> bool | None:
    """True or False where it is sure, None where the argument's form is unknown."""
    named = variant.parameter in keywords
    form = keywords.get(variant.parameter)
    if form is None and variant.position < len(positional):
        form = positional[variant.position]
    if variant.form == "missing" or variant.form == "given":
        return (form is None) == (variant.form == "missing")
    if form is None:
        return False
    # an argument named `dim` is a dimension whatever its expression
    if variant.form == "int" and named and form == "?":
        return True
    return None if form == "?" else form == variant.form
