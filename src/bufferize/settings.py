"""Command-line flags and `[tool.bufferize]` of pyproject.toml become one frozen Settings.

In: the options that were given on the command line, by name, and the paths. Out: `Settings`, every
value checked. It refuses to know click, and what any room does with a setting.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bufferize.errors import UsageError
from bufferize.model import Case

DEFAULT_LINE_LENGTH = 88


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run was asked for. No room below the command line sees anything else of it."""

    paths: tuple[Path, ...] = (Path(),)
    # the project's root: the folder of the pyproject.toml or .git found above the first path
    root: Path = Path()
    exclude: tuple[str, ...] = ()
    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    # 'auto', 'always' or 'never'
    persistent: str = "auto"
    # 'register_buffer' or 'nn.Buffer'
    style: str = "register_buffer"
    unsafe: bool = False
    strict: bool = False
    # processes at a time; 0: two, where there are two cores
    jobs: int = 0
    line_length: int | None = None
    # the interpreter whose packages the code under change uses
    python: Path | None = None
    # folders where installed packages lie for that interpreter (None: ask it)
    search_path: tuple[Path, ...] | None = None
    base: str | None = None
    changed_only: bool = False
    # 'auto', 'cuda', 'cuda:1', 'virtual'
    device: str = "auto"
    # limits for one class in one child: seconds of wall time, MiB of memory
    timeout: float = 60.0
    memory: int = 8192
    seed: int = 0
    # [tool.bufferize.cases]: 'pkg.mod:Class' -> cases
    cases: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    # the text given on standard input: the only path then stands for it and need not exist
    stdin: bytes | None = None
    # how the report is shown: read by the command line alone
    format: str = "text"
    output: Path | None = None
    quiet: bool = False
    verbose: bool = False
    color: str = "auto"


def load_settings(cli_options: Mapping[str, object], paths: Sequence[Path]) -> Settings:
    """Settings from the command line's options (None: not given), then the project's file.

    Raises UsageError, naming file and key, for anything that does not exist.
    """
    given = {key: value for key, value in cli_options.items() if value is not None}
    config = given.pop("config", None)
    root = find_root(paths)
    file = Path(str(config)) if config is not None else root / "pyproject.toml"
    table = read_table(file, required=config is not None)
    values = read_keys(table, file) | {key: given[key] for key in given}
    values.setdefault("line_length", find_line_length(root))
    values["python"] = find_python(values.get("python"), root)
    values["select"] = check_hazard_ids(values.get("select", ()))
    values["ignore"] = check_hazard_ids(values.get("ignore", ()))
    return Settings(paths=tuple(paths), root=root, **values)


def find_root(paths: Sequence[Path]) -> Path:
    """The nearest folder with a pyproject.toml or .git above the paths' common parent, or that."""
    places = [path.resolve() for path in paths] or [Path.cwd()]
    folders = [place if place.is_dir() else place.parent for place in places]
    try:
        common = Path(os.path.commonpath(folders))
    except ValueError:  # on different drives
        common = folders[0]
    for folder in (common, *common.parents):
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return folder
    return common


def read_toml(file: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data: dict[str, Any] = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: is not valid TOML: {error}") from error
    return data


def read_table(file: Path, required: bool) -> dict[str, Any]:
    """`[tool.bufferize]` of a file; a file of another name may hold the keys at its top level."""
    if not required and not file.is_file():
        return {}
    data = read_toml(file)
    tool = data.get("tool")
    table = tool.get("bufferize") if isinstance(tool, dict) else None
    if table is None:
        table = {} if "tool" in data or file.name == "pyproject.toml" else data
    if not isinstance(table, dict):
        raise UsageError(f"{file}: tool.bufferize must be a table")
    return table


Reader = Callable[[object, Path], object]


class WrongType(Exception):
    """What a value should have been."""


def a_choice(*choices: str) -> Reader:
    def read(value: object, file: Path) -> object:
        if value not in choices:
            raise WrongType("one of " + ", ".join(f'"{choice}"' for choice in choices))
        return value

    return read


def a_flag(value: object, file: Path) -> object:
    if not isinstance(value, bool):
        raise WrongType("true or false")
    return value


def a_count(least: int) -> Reader:
    def read(value: object, file: Path) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise WrongType(f"a whole number, at least {least}")
        return value

    return read


def seconds(value: object, file: Path) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise WrongType("a number of seconds above 0")
    return float(value)


def a_text(value: object, file: Path) -> object:
    if not isinstance(value, str):
        raise WrongType("a string")
    return value


def texts(value: object, file: Path) -> object:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise WrongType("a list of strings")
    return tuple(value)


def a_path(value: object, file: Path) -> object:
    if not isinstance(value, str):
        raise WrongType("a path")
    return file.parent / value


def an_interpreter(value: object, file: Path) -> object:
    if isinstance(value, str) and "/" not in value and "\\" not in value:
        return value
    return a_path(value, file)


def is_device(name: str) -> bool:
    kind, colon, number = name.partition(":")
    if kind == "cuda" and colon:
        return number.isdecimal()
    return name in ("auto", "cuda", "virtual")


def a_device(value: object, file: Path) -> object:
    if not isinstance(value, str) or not is_device(value):
        raise WrongType('"auto", "cuda", "cuda:N" or "virtual"')
    return value


def read_cases(value: object, file: Path) -> object:
    """`"pkg.mod:Class" = [{ construct = "...", inputs = ["..."], setup = ["..."] }]`."""
    if not isinstance(value, dict):
        raise WrongType('a table of "pkg.mod:Class" = [{ construct = "Class(...)" }]')
    cases: dict[str, tuple[Case, ...]] = {}
    for key, entries in value.items():
        if ":" not in key:
            raise WrongType(f'keyed by "pkg.mod:Class", not "{key}"')
        if not isinstance(entries, list):
            raise WrongType(f'a list of tables under "{key}"')
        cases[key] = tuple(read_case(key, entry, file) for entry in entries)
    return cases


def read_case(key: str, entry: object, file: Path) -> Case:
    if not isinstance(entry, dict) or not isinstance(entry.get("construct"), str):
        raise WrongType(f'a table with construct = "Class(...)" under "{key}"')
    lists = {}
    for name, value in entry.items():
        if name == "construct":
            continue
        if name not in ("inputs", "setup"):
            raise WrongType(f'construct, inputs and setup under "{key}", not "{name}"')
        try:
            lists[name] = texts(value, file)
        except WrongType as wrong:
            raise WrongType(f'{wrong} in {name} under "{key}"') from None
    return Case("configuration", entry["construct"], **lists)  # type: ignore[arg-type]


# the keys of [tool.bufferize], as fields of Settings; dashes and underscores both do
KEYS: Mapping[str, Reader] = {
    "base": a_text,
    "cases": read_cases,
    "changed_only": a_flag,
    "color": a_choice("auto", "always", "never"),
    "device": a_device,
    "exclude": texts,
    "format": a_choice("text", "json"),
    "ignore": texts,
    "jobs": a_count(1),
    "line_length": a_count(1),
    "memory": a_count(1),
    "output": a_path,
    "persistent": a_choice("auto", "never", "always"),
    "python": an_interpreter,
    "quiet": a_flag,
    "seed": a_count(0),
    "select": texts,
    "strict": a_flag,
    "style": a_choice("register_buffer", "nn.Buffer"),
    "timeout": seconds,
    "unsafe": a_flag,
    "verbose": a_flag,
}


def read_keys(table: Mapping[str, object], file: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in KEYS:
            near = get_close_matches(name, KEYS, 1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            raise UsageError(f"{file}: unknown key tool.bufferize.{key}{hint}")
        try:
            values[name] = KEYS[name](value, file)
        except WrongType as wrong:
            raise UsageError(f"{file}: tool.bufferize.{key} must be {wrong}") from None
    return values


def find_line_length(root: Path) -> int:
    """What the project's formatter was told, else 88. Mistakes in its table are not ours."""
    tool = read_loosely(root / "pyproject.toml").get("tool")
    tool = tool if isinstance(tool, dict) else {}
    places = (
        tool.get("ruff"),
        read_loosely(root / "ruff.toml"),
        read_loosely(root / ".ruff.toml"),
        tool.get("black"),
    )
    for table in places:
        length = table.get("line-length") if isinstance(table, dict) else None
        if isinstance(length, int) and not isinstance(length, bool) and length > 0:
            return length
    return DEFAULT_LINE_LENGTH


def read_loosely(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file) if file.is_file() else {}
    except UsageError:
        return {}


def find_python(asked: object, root: Path) -> Path:
    """The interpreter asked for, else the active environment's, the project's, or our own."""
    if asked is not None:
        found = shutil.which(str(asked))
        if found is None:
            raise UsageError(f"--python {asked}: no such interpreter")
        return Path(found)
    active = (os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX"))
    folders = [Path(folder) for folder in active if folder] + [root / ".venv", root / "venv"]
    for folder in folders:
        for place in ("bin/python", "Scripts/python.exe", "python.exe"):
            if (folder / place).is_file():
                return folder / place
    return Path(sys.executable)


def check_hazard_ids(ids: Sequence[str]) -> frozenset[str]:
    if not ids:
        return frozenset()
    from bufferize.hazards import registry

    known = registry()
    for hazard in ids:
        if hazard not in known:
            near = get_close_matches(hazard, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown hazard id {hazard}{hint}")
    return frozenset(ids)


# a key without its field would surface only when somebody uses it
assert set(KEYS) <= {entry.name for entry in fields(Settings)}
