"""One check a level: the facts of the control against those of the candidate version.

In: two facts of one level and case, with what the rewrite promised. Out: evidence, refuting where
the old version worked and the new one does not do the same. It refuses to know processes, torch,
and how a verdict is made of evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bufferize.model import Answer, Evidence, Level
from bufferize.verify.naming import find_named, is_any_name, is_pattern
from bufferize.verify.plan import expected_keys, is_tensor

Fact = Mapping[str, Any]

# Failures that say something about limits or intent, not about equality.
_GONE = frozenset({"MemoryError", "SystemExit", "KeyboardInterrupt", "GeneratorExit"})


@dataclass(frozen=True, slots=True)
class Pair:
    """The facts of one case in both versions, by stage, and how to name what is guilty."""

    old: Mapping[str, Fact]
    new: Mapping[str, Fact]
    # 'module:Class' of the class under proof
    address: str
    # ('path:Class' or '', attribute) that some code writes in place
    written: frozenset[tuple[str, str]]
    # attributes of the class that were rewritten, and those with two different flags
    own: tuple[str, ...]
    # paths of rewritten attributes: flag, class and attribute
    promises: Mapping[str, Fact]
    contradictions: tuple[str, ...] = ()

    def guilty(self, path: str) -> str:
        """The rewritten attribute behind `path`; of another class by its full address."""
        promise = self.promises.get(path.partition("[")[0])
        if promise is None:
            return self.own[0] if len(self.own) == 1 else ""
        name: str = promise["attribute"]
        return name if promise["of"] == self.address else f"{promise['of']}.{name}"

    def refute(self, level: Level, text: str, path: str = "") -> Evidence:
        return Evidence(level, Answer.REFUTED, text, self.guilty(path))


def find_promises(old: Mapping[str, Fact], new: Mapping[str, Fact]) -> dict[str, Fact]:
    """The rewritten paths; of what a pattern such as '{name}' fits, those that became buffers."""
    fitting: Mapping[str, Fact] = old["builds"]["rewritten"]
    before, after = old["builds"]["attributes"], new.get("builds", {}).get("attributes", {})

    def became_buffer(path: str) -> bool:
        was, now = before.get(path, {}).get("kind"), after.get(path, {}).get("kind", "")
        return was == "plain" and str(now).endswith("buffer")

    registered = {_group(fact) for path, fact in fitting.items() if became_buffer(path)}
    return {
        path: fact
        for path, fact in fitting.items()
        if not is_pattern(fact["attribute"])
        or became_buffer(path)
        or (
            _group(fact) not in registered
            and not is_any_name(fact["attribute"])
            and before.get(path, {}).get("kind") == "plain"
        )
    }


def _group(fact: Fact) -> tuple[str, str]:
    return fact["of"], fact["attribute"]


def say_failure(failure: Fact) -> str:
    """An error of the user's code in one line."""
    where = f" ({failure['where']})" if failure["where"] else ""
    kind = f"{failure['type']}: " if failure["type"] else ""
    return f"{kind}{failure['text']}{where}".strip()


def compare_failures(
    pair: Pair, level: Level, old: Fact, new: Fact, what: str
) -> Iterator[Evidence]:
    """The asymmetric relation: only what worked before has to work now."""
    if "failure" in old and old["failure"]["type"] == "DeviceUnavailable":
        yield Evidence(level, Answer.UNDECIDED, f"no device: {old['failure']['text']}")
    elif "failure" in old and "failure" in new:
        text = f"{what} fails in both versions: {say_failure(old['failure'])}"
        yield Evidence(level, Answer.UNDECIDED, text)
    elif "failure" in new:
        gone = new["failure"]["type"] in _GONE or "allocate memory" in new["failure"]["text"]
        text = f"{what} worked before and fails now: {say_failure(new['failure'])}"
        attribute = _named_in(text, pair.own)
        answer = Answer.UNDECIDED if gone else Answer.REFUTED
        yield Evidence(level, answer, text, attribute or pair.guilty(""))


def _named_in(text: str, names: Iterable[str]) -> str:
    quoted = re.findall(r"['\"](\w+)['\"]", text)
    named = [name for name in names if find_named(name, quoted)]
    return named[0] if len(named) == 1 else ""


def compare_attributes(
    pair: Pair, level: Level, old: Fact, new: Fact, when: str
) -> Iterator[Evidence]:
    """Every attribute there, held as promised, and equal bit for bit."""
    for path in [*old, *(p for p in new if p not in old)]:
        if path not in new:
            yield pair.refute(level, f"{path} is missing {when}", path)
        elif path not in old:
            yield pair.refute(level, f"{path} is new {when}", path)
        elif old[path]["value"] != new[path]["value"]:
            text = (
                f"{path} differs {when}: {say_difference(old[path]['value'], new[path]['value'])}"
            )
            yield pair.refute(level, text, path)
        else:
            yield from _compare_kind(pair, level, path, old[path], new[path])


def _compare_kind(pair: Pair, level: Level, path: str, old: Fact, new: Fact) -> Iterator[Evidence]:
    if path in pair.promises and old["kind"] == "plain" and is_tensor(old):
        if not new["kind"].endswith("buffer"):
            yield pair.refute(level, f"{path} is not registered: it is {new['kind']}", path)
    elif path in pair.promises and new["kind"].endswith("buffer"):
        return
    elif old["kind"] != new["kind"]:
        yield pair.refute(level, f"{path} was {old['kind']} and is now {new['kind']}", path)


def say_difference(old: Any, new: Any) -> str:
    """What differs, for people: dtype, shape, flag or values."""
    if not (isinstance(old, dict) and isinstance(new, dict) and "bytes" in old and "bytes" in new):
        return f"{_say_value(old)} became {_say_value(new)}"
    for key in ("dtype", "shape", "device", "requires_grad", "layout"):
        if old[key] != new[key]:
            return f"{key} {old[key]} became {new[key]}"
    return f"other values in {new['dtype']} of shape {tuple(new['shape'])}"


def _say_value(value: Any) -> str:
    if isinstance(value, dict) and "dtype" in value:
        return f"a {value['dtype']} tensor of shape {tuple(value['shape'])}"
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str):
        return f"{value[0]} {value[1]}"[:80]
    return f"a {value[0]}" if isinstance(value, list) and value else "a value"


def check_builds(pair: Pair) -> Iterator[Evidence]:
    level, old, new = Level.BUILDS, pair.old["builds"], pair.new["builds"]
    yield from compare_failures(pair, level, old, new, "construction")
    if "failure" in new:
        return
    yield from compare_attributes(
        pair, level, old["attributes"], new["attributes"], "after construction"
    )
    if old["parameters"] != new["parameters"]:
        text = f"named_parameters changed: {_say_change(old['parameters'], new['parameters'])}"
        yield pair.refute(level, text)
    if old["randomness"] != new["randomness"]:
        yield pair.refute(level, "construction draws other random numbers: the RNG stream moved")
    for path in new["drawn"]:
        if path in pair.promises and new["attributes"][path]["kind"] == "non-persistent buffer":
            text = f"{path} does not regenerate: two constructions under different seeds differ"
            yield pair.refute(level, text, path)
    yield from check_sharing(pair, level, old["sharing"], new["sharing"], "after construction")


def _say_change(old: list[str], new: list[str]) -> str:
    lost, won = [n for n in old if n not in new], [n for n in new if n not in old]
    said = [f"{word} {', '.join(names)}" for word, names in (("lost", lost), ("new", won)) if names]
    return "; ".join(said) or "another order"


def check_sharing(
    pair: Pair, level: Level, old: list[list[str]], new: list[list[str]], when: str
) -> Iterator[Evidence]:
    """Lost or new sharing is wrong where some write could show it, else worth a note."""
    for groups, others, word in ((old, new, "no longer share"), (new, old, "now share")):
        for group in groups:
            if any(set(group) <= set(other) for other in others):
                continue
            touched = [path for path in group if path.partition("[")[0] in pair.promises]
            if not touched:
                continue
            names = " and ".join(group)
            writers = _writers_of(pair, group)
            if writers:
                text = f"{names} {word} storage {when}, and {writers}"
                yield pair.refute(level, text, touched[0])
            else:
                text = f"note: {names} {word} storage {when}; nothing seen writes to them"
                yield Evidence(level, Answer.CONFIRMED, text, pair.guilty(touched[0]))


def _writers_of(pair: Pair, group: list[str]) -> str:
    """Who writes to one of the group, in words; empty when nobody is known to."""
    attributes = pair.old["builds"]["attributes"]
    for path in group:
        holder = path.partition("[")[0]
        if attributes.get(holder, {}).get("kind") == "parameter":
            return f"{path} is a parameter, which an optimizer writes to"
        for facts in (pair.old, pair.new):
            if path in facts.get("runs", {}).get("written", ()):
                return f"forward writes to {path} in place"
        family = ["", *pair.old["builds"]["families"].get(holder.rpartition(".")[0], ())]
        if any((cls, holder.rpartition(".")[2]) in pair.written for cls in family):
            return f"code in the repository writes to {path} in place"
    return ""


def check_state(pair: Pair) -> Iterator[Evidence]:
    level, old, new = Level.STATE, pair.old["state"], pair.new["state"]
    yield from compare_failures(pair, level, old, new, "state_dict()")
    if "failure" in old or "failure" in new:
        return
    gained, dropped = expected_keys(pair.promises, pair.old["builds"]["attributes"])
    yield from _compare_keys(pair, old["keys"], new["keys"], gained, dropped)
    yield from _compare_loading(pair, old["loads"], new["loads"], gained | dropped)
    for name in pair.contradictions:
        text = f"{name} is declared persistent in one place and not persistent in another"
        yield Evidence(level, Answer.REFUTED, text, name)
    for key, what in (("copy", "deepcopy"), ("pickle", "pickle")):
        if "failure" not in old[key]:
            yield from compare_failures(pair, level, old[key], new[key], what)
            if old[key].get("same") and new[key].get("same") is False:
                yield pair.refute(level, f"{what} no longer gives an equal module")
    yield from _check_round_trip(pair, old["round trip"], new["round trip"])


def _compare_keys(
    pair: Pair, old: Fact, new: Fact, gained: set[str], dropped: set[str]
) -> Iterator[Evidence]:
    level = Level.STATE
    for key in [k for k in new if k not in old and k not in gained]:
        text = f"state_dict gains key {key}, which was not declared persistent"
        yield pair.refute(level, text, key)
    for key in sorted(gained - set(new)):
        text = f"state_dict lacks key {key}, which was declared persistent"
        yield pair.refute(level, text, key)
    for key in sorted(dropped & set(new)):
        text = f"state_dict keeps key {key}, which was declared not persistent"
        yield pair.refute(level, text, key)
    for key in [k for k in old if k not in new and k not in dropped]:
        yield pair.refute(level, f"state_dict lost key {key}", key)
    for key in [k for k in old if k in new and old[k] != new[k]]:
        yield pair.refute(level, f"state_dict[{key!r}]: {say_difference(old[key], new[key])}", key)


def _compare_loading(pair: Pair, old: Fact, new: Fact, promised: set[str]) -> Iterator[Evidence]:
    level, what = Level.STATE, "loading the old state_dict"
    if "failure" in old:
        return
    yield from compare_failures(pair, level, old, new, what)
    if "failure" in new:
        return
    for word in ("missing", "unexpected"):
        for key in sorted(set(new[word]) - set(old[word]) - promised):
            yield pair.refute(level, f"{what}: {word} key {key}", key)
    yield from compare_attributes(
        pair, level, old["attributes"], new["attributes"], f"after {what}"
    )


def _check_round_trip(pair: Pair, old: Fact, new: Fact) -> Iterator[Evidence]:
    if "failure" in old:
        return
    yield from compare_failures(pair, Level.STATE, old, new, "saving and loading changed buffers")
    for path, restored in new.get("restored", {}).items():
        if not restored:
            text = f"{path} is not restored by saving and loading"
            yield pair.refute(Level.STATE, text, path)


def check_moves(pair: Pair) -> Iterator[Evidence]:
    level, old, new = Level.MOVES, pair.old["moves"], pair.new["moves"]
    yield from compare_failures(pair, level, old, new, "moving to the device")
    if "failure" not in new:
        promised = [p for p in pair.promises if p in new["places"]]
        for path in promised:
            if new["places"][path] == "cpu":
                yield pair.refute(level, f"{path} stayed on the CPU", path)
    if "failure" not in old and "failure" not in new:
        for path, place in new["places"].items():
            before = old["places"].get(path)
            if path not in promised and before not in (None, place):
                text = f"{path} moved from {before} to {place} though it was not rewritten"
                yield pair.refute(level, text, path)
        yield from check_sharing(pair, level, old["sharing"], new["sharing"], "after .to(device)")
    for dtype, cast in new.get("casts", {}).items():
        yield from _check_cast(pair, dtype, old["casts"][dtype], cast)


def _check_cast(pair: Pair, dtype: str, old: Fact, new: Fact) -> Iterator[Evidence]:
    if "failure" in old:
        return
    yield from compare_failures(pair, Level.MOVES, old, new, f".to({dtype})")
    if "failure" in new:
        return
    for path, drift in new["drift"].items():
        if isinstance(drift, str):
            yield pair.refute(Level.MOVES, f".to({dtype}): {drift} in {path}", path)
        elif drift:
            text = f"note: .to({dtype}) changes {path} by up to {drift:.2g} (relative)"
            yield Evidence(Level.MOVES, Answer.CONFIRMED, text, pair.guilty(path))
    for path, cast in new["dtypes"].items():
        if path not in pair.promises and old["dtypes"].get(path, cast) != cast:
            text = f".to({dtype}): {path} is now {cast}, was {old['dtypes'][path]}"
            yield pair.refute(Level.MOVES, text, path)
