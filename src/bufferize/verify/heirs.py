"""Which classes of the tree derive from a class under proof.

In: the classes under proof, the files of the tree. Out: for each its subclasses, nearest first.
What cannot be built alone is proved through one of them. Works on text alone; runs nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bufferize.model import SourceFile
from bufferize.revisions import module_of
from bufferize.verify.callees import Key
from bufferize.verify.cases import Reader
from bufferize.verify.scopes import dotted

# steps of inheritance that are followed
MOST_STEPS = 3


@dataclass(frozen=True, slots=True)
class Heir:
    """One subclass: where it is imported from, and the folder to do so from."""

    module: str
    cls: str
    root: str

    @property
    def key(self) -> Key:
        return self.module, self.cls


def find_heirs(
    wanted: Collection[Key], sources: Sequence[SourceFile], root: Path, importable: Collection[Path]
) -> dict[Key, tuple[Heir, ...]]:
    """Subclasses of every wanted (module, qualname); of notebooks only those in `importable`."""
    found: dict[Key, list[Heir]] = {key: [] for key in wanted}
    # class -> the wanted classes above it
    above: dict[Key, set[Key]] = {key: {key} for key in wanted}
    for _ in range(MOST_STEPS):
        fresh: dict[Key, set[Key]] = {}
        for base, heir in _derived(above, sources, root, importable):
            for ancestor in above[base] - {heir.key}:
                if heir not in found[ancestor]:
                    found[ancestor].append(heir)
                    fresh.setdefault(heir.key, set()).add(ancestor)
        if not fresh:
            break
        above = fresh
    return {key: tuple(heirs) for key, heirs in found.items()}


def _derived(
    bases: Collection[Key],
    sources: Sequence[SourceFile],
    root: Path,
    importable: Collection[Path],
) -> Iterator[tuple[Key, Heir]]:
    reader = Reader(bases, sources, root)
    for path, source in reader.sources.items():
        if not reader.names_one(source.text) or (source.is_notebook and path not in importable):
            continue
        parsed = reader.parse(path)
        if parsed is None:
            continue
        module, folder = module_of(path)
        for qualname, node in _classes(parsed.tree.body, ""):
            for base in node.bases:
                key = reader.callees.resolve(
                    dotted(base), path, parsed.imports, reader.home_of(path)
                )
                if key is not None:
                    yield key, Heir(module, qualname, str(folder))


def _classes(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, node
            yield from _classes(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
            yield from _classes(inner, prefix)
