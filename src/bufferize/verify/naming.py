"""How rewritten attributes are named: by address, and by the pattern of an f-string.

In and out: strings. Part of the worker: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def split_address(address: str) -> tuple[str, str]:
    """'m:C.mask' as ('m:C', 'mask'), 'mask' as ('', 'mask'); an f-string's name may hold dots."""
    head, brace, rest = address.partition("{")
    owner, _, attribute = head.rpartition(".")
    return owner, f"{attribute}{brace}{rest}"


@lru_cache(maxsize=256)
def name_pattern(attribute: str) -> re.Pattern[str]:
    """What names an attribute stands for: an f-string such as 'mask{i}' for several."""
    parts = re.split(r"\{[^{}]*\}", attribute)
    return re.compile("(.+)".join(re.escape(part) for part in parts))


def is_pattern(attribute: str) -> bool:
    return "{" in attribute


def is_any_name(attribute: str) -> bool:
    """'{key}' fits every name, so that a name it fits says nothing."""
    return name_pattern(attribute).pattern == "(.+)"


def find_named(attribute: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that the attribute stands for."""
    if not is_pattern(attribute):
        return [attribute] if attribute in names else []
    return [name for name in names if name_pattern(attribute).fullmatch(name)]
