"""Several sources vote on what one callable returns.

Takes a callable of torch with its names; gives a kind, flags, variants, and what the sources
disagreed on. It refuses to know any function by name: that is `corrections`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bufferize.facts.generate.kinds import (
    STUB_NAMES,
    UNKNOWN,
    is_plain,
    kind_of_type,
    read_annotation,
    unite,
)
from bufferize.facts.generate.schemas import Schema
from bufferize.facts.generate.stubs import Overload, Parameter

# what a docstring's first line may promise; anything else there is prose
_DOC_KINDS = {
    "Tensor": "tensor",
    "bool": "bool",
    "(bool)": "bool",
    "int": "number",
    "float": "number",
    "dtype": "dtype",
    "(Tensor, Tensor)": "tuple:2",
    "(Tensor, LongTensor)": "tuple:2",
    "(Tensor, Tensor, Tensor)": "tuple:3",
    "List of Tensors": "tuple",
    "None": "none",
}


# a position that no call reaches
_KEYWORD_ONLY = 99


@dataclass(frozen=True)
class Ballot:
    """The outcome for one callable."""

    kind: str
    flags: frozenset[str] = frozenset()
    variants: tuple[str, ...] = ()
    # 'stub says tensor, schema says tuple', or empty
    disagreement: str = ""


@dataclass(frozen=True)
class Sources:
    """What was found about one callable, by source; the most trusted stands first."""

    overloads: tuple[Overload, ...] = ()
    annotation: str = UNKNOWN
    schema: Schema | None = None
    doc: str = UNKNOWN
    flags: frozenset[str] = field(default_factory=frozenset)


def count_votes(sources: Sources) -> Ballot:
    stub, variants = split_overloads(sources.overloads)
    votes = {
        "stub": stub,
        "annotation": sources.annotation,
        "schema": sources.schema.kind if sources.schema else UNKNOWN,
        "doc": sources.doc,
    }
    known = {source: kind for source, kind in votes.items() if kind != UNKNOWN}
    flags = sources.flags | schema_flags(sources.schema)
    if not known:
        return Ballot(UNKNOWN, flags, variants)
    plain = [kind for kind in known.values() if is_plain(kind)] if not variants else []
    winner = stub if variants else next(iter(plain or known.values()))
    winner = _sharpen(winner, known.values())
    allowed = {winner, *(variant.rpartition(" ")[2] for variant in variants)}
    odd = {s: k for s, k in known.items() if not all(_agrees(p, allowed) for p in _parts(k))}
    said = ", ".join(f"{source} says {kind}" for source, kind in known.items())
    said = said if odd and len(known) > 1 else ""
    return Ballot(winner, flags, variants, said)


def _sharpen(winner: str, votes: Iterable[str]) -> str:
    """'tuple' gives way to a vote that also counts its elements."""
    counted = [kind for kind in votes if kind.startswith("tuple:")]
    return counted[0] if winner == "tuple" and counted else winner


def _parts(kind: str) -> list[str]:
    return [kind] if "(" in kind else kind.split("|")


def _agrees(kind: str, allowed: set[str]) -> bool:
    return kind in allowed or (kind == "tuple" and any(a.startswith("tuple") for a in allowed))


def schema_flags(schema: Schema | None) -> frozenset[str]:
    if schema is None:
        return frozenset()
    made = "tensor" in schema.kind or "tuple" in schema.kind
    said = {
        "random": schema.random,
        "inplace": schema.inplace,
        "view": schema.view and made,
        "factory": schema.factory and made,
        "dtype": schema.takes_dtype and made,
    }
    return frozenset(flag for flag, holds in said.items() if holds)


def split_overloads(overloads: tuple[Overload, ...]) -> tuple[str, tuple[str, ...]]:
    """The kind of the plainest overload, and the conditions under which others apply."""
    if not overloads:
        return UNKNOWN, ()
    if len({o.kind for o in overloads}) == 1:
        return overloads[0].kind, ()
    default = min(overloads, key=lambda o: len(o.required))
    variants: dict[str, int] = {}
    for overload in overloads:
        if overload.kind != default.kind:
            condition = _tell_apart(overload, default)
            if condition is None:
                return unite(o.kind for o in overloads), ()
            place, form = condition
            text = f"{form} {overload.kind}"
            variants[text] = min(place, variants.get(text, place))
    return default.kind, tuple(
        sorted(text.replace("=", f"@{place}=", 1) for text, place in variants.items())
    )


def _tell_apart(overload: Overload, default: Overload) -> tuple[int, str] | None:
    """The place and form of the argument that makes a call use `overload`: (1, 'dim=int')."""
    usual = {p.name for p in default.required}
    new = [p for p in overload.required if p.name not in usual]
    if not new:
        return None
    parameter = new[-1]
    form = _form_of(parameter)
    # its place in the overload that has every parameter, keyword or not
    place = next((i for i, p in enumerate(overload.parameters) if p.name == parameter.name), None)
    if form is None or place is None:
        return None
    return _KEYWORD_ONLY if parameter.keyword_only else place, f"{parameter.name}={form}"


def _form_of(parameter: Parameter) -> str | None:
    forms = {"_int": "int", "Literal[True]": "true"}
    return forms.get(parameter.annotation)


def read_runtime_annotation(function: Any) -> str:
    annotations = getattr(function, "__annotations__", None) or {}
    if "return" not in annotations:
        return UNKNOWN
    try:
        return kind_of_type(typing.get_type_hints(function)["return"])
    except Exception:
        names = {**STUB_NAMES, **getattr(function, "__globals__", {})}
        text = annotations["return"]
        return read_annotation(text, names) if isinstance(text, str) else kind_of_type(text)


def read_doc(function: Any) -> str:
    """The return type that the docstring's opening signature names."""
    doc = getattr(function, "__doc__", None) or ""
    for line in doc.strip().splitlines()[:2]:
        match = re.search(r"\)\s*->\s*(.+?)\s*$", line)
        if match and line.lstrip()[:1].isalpha():
            return _DOC_KINDS.get(match.group(1), UNKNOWN)
    return UNKNOWN
