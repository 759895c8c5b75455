"""Writes the tables of torch, or checks that the checked-in ones are what torch says.

`python -m bufferize.facts.generate` writes, `--check` compares (exit 1 if they differ, 2 if another
torch is installed than the tables were made from), `--quiet` leaves out the disagreements.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from bufferize.facts import torch_version
from bufferize.facts.generate.build import build_tables

_FOLDER = Path(__file__).parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bufferize.facts.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--quiet", action="store_true", help="do not list disagreements")
    options = parser.parse_args()
    # looking at every name of torch wakes its deprecation warnings
    warnings.simplefilter("ignore")
    built = build_tables()
    if not options.quiet:
        print(f"{len(built.disagreements)} names on which the sources disagree", file=sys.stderr)
        print(*built.disagreements, sep="\n", file=sys.stderr)
    texts = {"torch.json": _render(built.torch), "modules.json": _render(built.modules)}
    if not options.check:
        for name, text in texts.items():
            (_FOLDER / name).write_text(text, encoding="utf-8")
        return 0
    return _compare(texts, built.torch["torch"])


def _compare(texts: dict[str, str], version: str) -> int:
    if torch_version() != version:
        print(
            f"the tables are of torch {torch_version()}, installed is {version}: install that one"
        )
        return 2
    stale = [n for n, text in texts.items() if (_FOLDER / n).read_text(encoding="utf-8") != text]
    for name in stale:
        print(f"{name} is not what torch {version} says: run python -m bufferize.facts.generate")
    return 1 if stale else 0


def _render(table: dict[str, Any]) -> str:
    """One entry a line, so that a diff names what changed."""
    return json.dumps(table, indent=0, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
