"""Reasons why registering at a site could change or break the program. One hazard, one file.

A hazard file defines one function `judge(candidate, view) -> Hazard | None` and a docstring:
first line the title, then *bites* and *harmless* examples as Python blocks. The file's name is
the id: `before_super_init.py` is `before-super-init`.
"""

from bufferize.hazards._registry import Rule, registry

__all__ = ["Rule", "registry"]
