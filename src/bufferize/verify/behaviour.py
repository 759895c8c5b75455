"""The two levels that call the module: on the CPU, and on the device.

In: the facts of one case in both versions. Out: evidence. Like `levels`, it refuses to know
processes, torch, and how a verdict is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bufferize.model import Answer, Evidence, Level
from bufferize.verify.levels import Fact, Pair, compare_attributes, compare_failures, say_failure

# Up to this many tolerances apart counts as equal, on CUDA and after a change of layout only.
_CLOSE = 1.0
TOLERANCE = "equal within relative 1e-4, absolute 1e-5"


def check_runs(pair: Pair) -> Iterator[Evidence]:
    level, old, new = Level.RUNS, pair.old["runs"], pair.new["runs"]
    yield from compare_failures(pair, level, old, new, "the run")
    if "failure" in old or "failure" in new:
        return
    if not any("output" in call for call in old["calls"]):
        text = "no input runs in the old version"
        yield Evidence(level, Answer.UNDECIDED, text)
        return
    for before, after in zip(old["calls"], new["calls"], strict=True):
        yield from _compare_call(pair, before, after)
    yield from compare_attributes(
        pair, level, old["attributes"], new["attributes"], "after the forward calls"
    )
    yield from _check_lost_state(pair, new)


def _compare_call(pair: Pair, old: Fact, new: Fact) -> Iterator[Evidence]:
    where = f"input {old['input'] + 1}, {old['mode']}"
    if "failure" in old:
        # what never worked says nothing; other calls of the case do
        return
    yield from compare_failures(pair, Level.RUNS, old, new, f"forward ({where})")
    if "failure" in new:
        return
    if old.get("randomness") != new.get("randomness"):
        text = f"forward draws other random numbers ({where}): the RNG stream moved"
        yield pair.refute(Level.RUNS, text)
    found: list[Evidence] = []
    if old.get("output") != new.get("output"):
        found.append(pair.refute(Level.RUNS, f"outputs differ ({where})"))
    found.extend(_compare_gradients(pair, old.get("gradients"), new.get("gradients"), where))
    if found and new.get("distance", math.inf) <= _CLOSE:
        names = " and ".join(pair.new["runs"]["layout"])
        text = f"note: the memory layout of {names} changed, and with it the order of additions"
        found = [Evidence(Level.RUNS, Answer.CONFIRMED, text, pair.guilty(names))]
    yield from found


def _compare_gradients(pair: Pair, old: Any, new: Any, where: str) -> Iterator[Evidence]:
    if isinstance(old, dict) and "failure" in old:
        return
    if isinstance(new, dict) and "failure" in new:
        text = f"backward worked before and fails now ({where}): {say_failure(new['failure'])}"
        yield pair.refute(Level.RUNS, text)
    elif old != new:
        named = [k for k in old if new.get(k) != old[k]] if _are_dicts(old, new) else []
        of = f" of {', '.join(named[:3])}" if named else ""
        yield pair.refute(Level.RUNS, f"gradients{of} differ ({where})")


def _are_dicts(old: Any, new: Any) -> bool:
    return isinstance(old, dict) and isinstance(new, dict)


def _check_lost_state(pair: Pair, new: Fact) -> Iterator[Evidence]:
    """A forward must not change a non-persistent buffer, unless it is a cache that regenerates."""
    for path in new["changed"]:
        held = new["attributes"].get(path)
        if path not in pair.promises or not held or held["kind"] != "non-persistent buffer":
            continue
        fate = new.get("regenerates", {})
        if "failure" in fate:
            text = (
                f"{path} is changed by forward, and a reload fails: {say_failure(fate['failure'])}"
            )
        elif path in fate["stale"] or not fate["outputs"]:
            text = f"{path} is changed by forward, and a saved and reloaded module has lost it"
        else:
            continue
        yield pair.refute(
            Level.RUNS, f"{text} (non-persistent state that does not regenerate)", path
        )


def check_device(pair: Pair) -> Iterator[Evidence]:
    level, old, new = (
        Level.RUNS_ON_DEVICE,
        pair.old["runs on device"],
        pair.new["runs on device"],
    )
    if "failure" in new:
        yield from compare_failures(pair, level, old, new, "running on the device")
        return
    told = False
    for before, after in zip(old.get("calls", ()), new["calls"], strict=False):
        for evidence in _compare_device_call(pair, before, after, new):
            told = told or evidence.answer is Answer.REFUTED
            yield evidence
    if not told and not any(_is_proof(new, call) for call in new["calls"]):
        failure = next((c["failure"] for c in new["calls"] if "failure" in c), None)
        because = say_failure(failure) if failure else "its outputs could not be compared"
        text = f"no input runs on the device: {because}"
        yield Evidence(level, Answer.UNDECIDED, text)


def _compare_device_call(pair: Pair, old: Fact, new: Fact, fact: Fact) -> Iterator[Evidence]:
    level, where = Level.RUNS_ON_DEVICE, f"input {new['input'] + 1}, {new['mode']}"
    if "failure" in new:
        if "failure" not in old:
            yield from compare_failures(pair, level, old, new, f"forward on the device ({where})")
        return
    close = _closeness(fact, new)
    tolerant = fact["device"].startswith("cuda") or pair.new["runs"].get("layout")
    near = tolerant and (close is None or _is_near(close))
    if "failure" not in old:
        if old["output"] != new["output"] and not near:
            text = f"outputs on the device differ from the old version's ({where})"
            yield pair.refute(level, text)
    elif close and close["compared"] and not (close["same"] or close["random"] or near):
        text = f"outputs on the device differ from the old version's on the CPU ({where})"
        yield pair.refute(level, text)


def _closeness(fact: Fact, call: Fact) -> Any:
    """How a call compares with the old version's output on the CPU; only eval calls do."""
    if call["mode"] != "eval" or call["input"] >= len(fact["close"]):
        return None
    return fact["close"][call["input"]]


def _is_near(close: Any) -> bool:
    return bool(close and close["compared"] and (close["same"] or close["worst"] <= _CLOSE))


def _is_proof(fact: Fact, call: Fact) -> bool:
    close = _closeness(fact, call)
    return "failure" not in call and bool(close) and bool(close["compared"])


def find_old_error(pair: Pair) -> str:
    """The old version's error on the device, where the new one works."""
    old, new = pair.old.get("runs on device", {}), pair.new.get("runs on device", {})
    if "failure" in new:
        return ""
    if "failure" in old:
        return say_failure(old["failure"])
    for before, after in zip(old.get("calls", ()), new.get("calls", ()), strict=False):
        if "failure" in before and "failure" not in after:
            return say_failure(before["failure"])
    return ""


def say_equal(pairs: list[Pair]) -> str:
    """How exactly the calls of all cases agree, in words."""
    rounded = any(
        (old.get("output"), old.get("gradients")) != (new.get("output"), new.get("gradients"))
        for pair in pairs
        if pair.new["runs"].get("layout")
        for old, new in zip(pair.old["runs"]["calls"], pair.new["runs"]["calls"], strict=True)
    )
    return TOLERANCE if rounded else "bit-identical"
