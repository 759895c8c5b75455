"""The proof: both versions of every rewritten class are built, moved and run, and compared.

In: changed files with what their rewrite promises. Out: a verdict a class. Importing this package
loads neither torch nor libcst; user code runs in child processes only.
"""

from __future__ import annotations

from bufferize.verify.neighbours import find_neighbours
from bufferize.verify.run import VerifyResult, verify_changes

__all__ = ["VerifyResult", "find_neighbours", "verify_changes"]
