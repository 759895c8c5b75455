"""What the error of a failed constructor says about its arguments.

In: an exception with its traceback, and the draft that led to it. Out: arguments to write in
another way. Never raises, never builds anything. Part of the worker: standard library only.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

from bufferize.verify.arguments import Draft, hints_of
from bufferize.verify.plausible import suggest
from bufferize.verify.usage import Path, Use, class_node, parameters_of

MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)")
ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
NOT_A_ROW = re.compile(
    r"not iterable|not subscriptable|has no len|non-iterable|must be an iterable|not a sequence|"
    r"must be (?:a )?(?:sequence|list|tuple)|\* must be"
)
UNPACK = re.compile(r"values to unpack \(expected (\d+)")
QUOTED = re.compile(r"['\"`]([\w.+-]+)['\"`]")
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 768)


def learn(error: BaseException, draft: Draft) -> dict[Path, str]:
    """New sources for arguments; empty where the error teaches nothing."""
    for inside, inner in draft.made:
        # the constructor of an object that this one is to be given
        if _concerns(error, inner) and (lesson := learn(error, inner)):
            return {(*inside, *path): source for path, source in lesson.items()}
    message = str(error)
    if isinstance(error, TypeError) and (missing := MISSING.search(message)):
        return {
            (name,): draft.value((name,))
            for name in QUOTED.findall(missing.group(1))
            if (name,) not in draft.taught
        }
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        key = error.args[0]
        return (
            _learn_key(error, draft, key)
            or _learn_part(draft, f"[{key}]")
            or _learn_option(draft, key)
        )
    match = ATTRIBUTE.search(message)
    if match and match.group(1) in {"SimpleNamespace", "Settings"}:
        return _learn_part(draft, f".{match.group(2)}")
    return _learn_place(error, draft, message, match) or _learn_named(draft, message)


def _concerns(error: BaseException, draft: Draft) -> bool:
    return _frame_of(error, draft)[0] is not None or any(
        _concerns(error, inner) for _, inner in draft.made
    )


def _learn_place(
    error: BaseException, draft: Draft, message: str, match: re.Match[str] | None
) -> dict[Path, str]:
    place = _place(error, draft)
    if place is None:
        return {}
    frame, statement = place
    suspects = _suspects(statement, frame, draft)
    if match:
        return _learn_attribute(draft, suspects, frame, match.group(1), match.group(2))
    return (
        _learn_kind(draft, suspects, frame, message)
        or _solve(draft, statement, frame, suspects)
        or _learn_choice(draft, suspects, frame, message)
    )


def _learn_key(error: BaseException, draft: Draft, key: str) -> dict[Path, str]:
    """An argument that a table does not know: a key of that table."""
    frame, _, _ = _frame_of(error, draft)
    known = list(dict.fromkeys(_known_keys(error, key)))[:2]
    if frame is None or not known:
        return {}
    for name in inspect.signature(draft.cls).parameters:
        value = frame.f_locals.get(name)
        if value == key:
            return {(name,): repr(known[0])}
        if isinstance(value, list | tuple) and key in value:
            return {(name,): repr((known * len(value))[: len(value)])}
    return {}


def _known_keys(error: BaseException, key: str) -> Iterator[str]:
    """The keys of tables that the failing line's function reads, and that lack `key`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return
    frame = trace.tb_frame
    code = frame.f_code
    scope = {**frame.f_globals, **frame.f_locals}
    for name in (*code.co_varnames, *code.co_freevars, *code.co_names):
        table = scope.get(name)
        if isinstance(table, Mapping) and table and key not in table:
            yield from (item for item in table if isinstance(item, str))


def _learn_part(draft: Draft, part: str) -> dict[Path, str]:
    """One more attribute or key for every configuration object that there is."""
    roots = {path[0] for path in draft.uses if len(path) > 1}
    roots |= {path[0] for path, use in draft.uses.items() if use.is_mapping}
    roots |= {path[0] for path, source in draft.taught.items() if "SimpleNamespace" in source}
    fresh = [(root, part) for root in sorted(roots) if (root, part) not in draft.uses]
    for path in fresh:
        draft.uses[path] = Use()
    changed = {path[:1]: "" for path in fresh}
    return {path: _redo(draft, path) for path in changed}


def _learn_named(draft: Draft, message: str) -> dict[Path, str]:
    """'`depth` must be given' of an argument that may be left out."""
    words = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", message))
    for parameter in parameters_of(draft.cls):
        path = (parameter.name,)
        if parameter.default is None and parameter.name in words and path not in draft.taught:
            hint = hints_of(draft.cls, draft.namespace).get(parameter.name)
            return {path: draft.value(path, hint)}
    names = [name for name in QUOTED.findall(message) if suggest(name, draft.sizes)]
    return next((found for name in names if (found := _learn_option(draft, name))), {})


def _learn_option(draft: Draft, name: str) -> dict[Path, str]:
    """A key that the constructor looks for among its `**kwargs`."""
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters_of(draft.cls))
    if not takes_any or (name,) in draft.taught or not name.isidentifier():
        return {}
    return {(name,): draft.value((name,))}


def _redo(draft: Draft, path: Path) -> str:
    kept = draft.taught
    draft.taught = {p: s for p, s in kept.items() if p != path}
    source = draft.value(path)
    draft.taught = kept
    return source


def _frame_of(error: BaseException, draft: Draft) -> tuple[FrameType | None, int, type]:
    """The innermost frame of the constructor itself, its line, and the class that defines it."""
    codes: dict[CodeType, type] = {}
    for owner in draft.cls.__mro__:
        init = vars(owner).get("__init__")
        code = getattr(init, "__code__", None)
        if isinstance(code, CodeType):
            codes[code] = owner
    found: tuple[FrameType | None, int, type] = (None, 0, draft.cls)
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code in codes:
            found = (trace.tb_frame, trace.tb_lineno, codes[code])
        trace = trace.tb_next
    return found


def _place(error: BaseException, draft: Draft) -> tuple[FrameType, ast.stmt] | None:
    """The frame of the constructor, and the statement that it stands at."""
    frame, line, owner = _frame_of(error, draft)
    tree = class_node(owner) if frame is not None else None
    if frame is None or tree is None:
        return None
    spans = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and node.lineno <= line <= (node.end_lineno or node.lineno)
        and not isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    # a `raise` says less than the `if` that guards it
    spans.sort(key=lambda node: (node.end_lineno or 0) - node.lineno)
    if spans and isinstance(spans[0], ast.Raise):
        guards = [node for node in spans if isinstance(node, ast.If)]
        return (frame, guards[0]) if guards else (frame, spans[0])
    return (frame, spans[0]) if spans else None


def _suspects(statement: ast.stmt, frame: FrameType, draft: Draft) -> list[str]:
    names = set(inspect.signature(draft.cls).parameters)
    read = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name)]
    # `self.dim` stands for the argument of that name
    read += [n.attr for n in ast.walk(statement) if isinstance(n, ast.Attribute)]
    return [name for name in dict.fromkeys(read) if name in names and name in frame.f_locals]


def _learn_attribute(
    draft: Draft, suspects: list[str], frame: FrameType, kind: str, attribute: str
) -> dict[Path, str]:
    for name in suspects:
        if type(frame.f_locals[name]).__name__ == kind:
            draft.uses[(name, f".{attribute}")] = Use()
            if source := draft._of_parts((name,), 0):
                return {(name,): source}
    return {}


def _learn_kind(
    draft: Draft, suspects: list[str], frame: FrameType, message: str
) -> dict[Path, str]:
    values = {name: frame.f_locals[name] for name in suspects}
    if (match := UNPACK.search(message)) or NOT_A_ROW.search(message):
        length = int(match.group(1)) if match else 2
        for name, value in values.items():
            if isinstance(value, int | float | list | tuple) and not isinstance(value, bool):
                return {(name,): draft._row(name, length)}
    if "not callable" in message:
        for name, value in values.items():
            if isinstance(value, str | int | float | type(None)):
                return {(name,): draft._torch("torch.nn.GELU" if "type" in message
                                              else "torch.nn.functional.relu")}  # fmt: skip
    if "NoneType" in message:
        missing = [name for name, value in values.items() if value is None]
        return {(name,): draft.value((name,)) for name in missing if (name,) not in draft.taught}
    if "as an integer" in message or "must be int" in message or "unsupported operand" in message:
        for name, value in values.items():
            if not isinstance(value, int) or isinstance(value, bool):
                return {(name,): suggest(name, draft.sizes) or str(draft.sizes["dim"])}
    if "must be Tensor" in message or "must be a Tensor" in message:
        for name, value in values.items():
            if isinstance(value, int | float | str):
                return {(name,): draft._torch(f"torch.randn({draft.sizes['dim']})")}
    return {}


def _learn_choice(
    draft: Draft, suspects: list[str], frame: FrameType, message: str
) -> dict[Path, str]:
    """'mode must be one of "sum", "mean"' for an argument that is a string."""
    for name in suspects:
        value = frame.f_locals[name]
        choices = [c for c in QUOTED.findall(message) if c not in (value, name)]
        if isinstance(value, str) and choices:
            return {(name,): repr(choices[0])}
    return {}


def _solve(
    draft: Draft, statement: ast.stmt, frame: FrameType, suspects: list[str]
) -> dict[Path, str]:
    """Sizes under which an assertion holds, or the test that guards a `raise` does not."""
    if not isinstance(statement, ast.Assert | ast.If):
        return {}
    wanted = isinstance(statement, ast.Assert)
    test = compile(ast.Expression(statement.test), "<test>", "eval")
    numbers = [n for n in suspects if type(frame.f_locals[n]) is int]
    texts = [n for n in suspects if isinstance(frame.f_locals[n], str)]
    trials = itertools.chain(
        _number_trials(numbers),
        ({name: text} for name in texts for text in _strings(statement.test, frame)),
    )
    for trial in trials:
        scope: dict[str, Any] = {**frame.f_globals, **frame.f_locals, **trial}
        try:
            holds = bool(eval(test, scope))
        except Exception:
            continue
        if holds == wanted:
            return {(name,): repr(value) for name, value in trial.items()}
    return {}


def _number_trials(names: list[str]) -> Iterator[Mapping[str, float]]:
    for name in names:
        for size in (*SIZES[::-1][5:], *SIZES[-5:], 0.1, 0.5, 0):
            yield {name: size}
    for one, two in itertools.combinations(names[:4], 2):
        for first, second in itertools.product((4, 8, 16, 32, 64), (1, 2, 4, 8, 16, 32)):
            yield {one: first, two: second}


def _strings(test: ast.expr, frame: FrameType) -> Iterator[str]:
    for node in ast.walk(test):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name):
            value = {**frame.f_globals, **frame.f_locals}.get(node.id)
            if isinstance(value, dict | list | tuple | set | frozenset):
                yield from sorted(item for item in value if isinstance(item, str))
