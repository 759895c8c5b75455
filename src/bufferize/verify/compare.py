"""Facts of the two versions become one verdict a class.

In: what the control (before), the control again and the candidate version (after) were seen to do.
Out: a Verdict with its evidence. It refuses to know where facts come from: no processes, no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bufferize.model import Answer, Evidence, Level, Verdict
from bufferize.verify.behaviour import (
    TOLERANCE,
    check_device,
    check_runs,
    find_old_error,
    say_equal,
)
from bufferize.verify.heirs import Heir
from bufferize.verify.levels import (
    Fact,
    Pair,
    check_builds,
    check_moves,
    check_state,
    find_promises,
    say_failure,
)
from bufferize.verify.naming import split_address
from bufferize.verify.plan import ClassPlan, Plan, expected_keys, is_tensor
from bufferize.verify.suggesting import suggest_case

# What a level is called in the facts, and how it is checked; in order.
_CHECKS: tuple[tuple[Level, str, Callable[[Pair], Iterator[Evidence]]], ...] = (
    (Level.BUILDS, "builds", check_builds),
    (Level.STATE, "state", check_state),
    (Level.MOVES, "moves", check_moves),
    (Level.RUNS, "runs", check_runs),
    (Level.RUNS_ON_DEVICE, "runs on device", check_device),
)
_RUNNING = (Level.RUNS, Level.RUNS_ON_DEVICE)


@dataclass(frozen=True)
class Observation:
    """What one child said, and why it stopped if it did not finish."""

    facts: tuple[Fact, ...] = ()
    # why the process vanished, in words; empty when it finished
    vanished: str = ""

    def find(self, stage: str) -> Fact | None:
        return next((fact for fact in self.facts if fact["stage"] == stage), None)

    def of_case(self, case: int) -> dict[str, Fact]:
        return {fact["stage"]: fact for fact in self.facts if fact.get("case") == case}

    @property
    def chosen(self) -> Sequence[Mapping[str, Any]]:
        fact = self.find("cases") or {}
        found: Sequence[Mapping[str, Any]] = fact.get("chosen", ())
        return found


@dataclass
class _Judgement:
    """A verdict in the making."""

    plan: ClassPlan
    evidence: list[Evidence] = field(default_factory=list)
    level: Level = Level.NOTHING
    # how the first try to call the old version failed
    tries: str = ""
    # first lines of the touched statements that ran
    executed: frozenset[int] = frozenset()
    # a constructor call that works in the old version
    works: str = ""

    def verdict(self, answer: Answer, because: str = "", **more: str) -> Verdict:
        return Verdict(answer, self.level, tuple(self.evidence), because=because, **more)

    def undecided(self, because: str, **more: str) -> Verdict:
        return self.verdict(Answer.UNDECIDED, because, **more)


def judge_control(plan: ClassPlan, control: Observation) -> Verdict | None:
    """Nothing to compare with, and why; None when the old version gave something."""
    judgement = _Judgement(plan)
    imports = control.find("imports")
    if imports is not None and "failure" in imports:
        said = say_failure(imports["failure"])
        if imports["failure"]["type"] == "ModuleNotFoundError":
            said += "; install it for the interpreter of the proof, or name another with --python"
        return judgement.undecided(f"the old version does not import: {said}")
    if control.vanished:
        return judgement.undecided(f"the old version {control.vanished}", suggestion=suggest(plan))
    if not control.chosen:
        tries = _say_tries(control, "builds") or "no constructor arguments were found"
        because = f"the old version cannot be built: {tries}"
        return judgement.undecided(because, suggestion=suggest(plan))
    return None


def _say_tries(control: Observation, stage: str) -> str:
    """How the first try to build or run the old version failed; empty when nothing was tried."""
    failures = [f for f in (control.find("cases") or {}).get("failures", ()) if f["at"] == stage]
    if not failures:
        return ""
    first = failures[0]
    return f"{first['what']} ({first['source']}) gives {say_failure(first)}"


def suggest(plan: ClassPlan, works: str = "") -> str:
    """The line to add under [tool.bufferize.cases]; `works` is a constructor call that does."""
    return suggest_case(plan.address, plan.skeleton, works)


def find_flaw(control: Observation, again: Observation) -> str:
    """Where the old version differs from itself, in words; empty when it does not."""
    for two in again.facts:
        one = control.of_case(two["case"]).get(two["stage"])
        if one is not None and one != two:
            where = next((key for key in one if one[key] != two.get(key)), "")
            return f"flaky: two runs of the old version differ at {one['stage']} ({where})"
    return f"flaky: at a second run the old version {again.vanished}" if again.vanished else ""


def judge(whole: Plan, plan: ClassPlan, control: Observation, candidate: Observation) -> Verdict:
    """Hold the candidate version against the control, level by level."""
    judgement = _Judgement(plan)
    imports = candidate.find("imports")
    if imports is None:
        return judgement.undecided(f"the new version {candidate.vanished}")
    if "failure" in imports:
        text = f"the new version does not import: {say_failure(imports['failure'])}"
        judgement.evidence.append(Evidence(Level.IMPORTS, Answer.REFUTED, text))
        return judgement.verdict(Answer.REFUTED, text)
    judgement.level = Level.IMPORTS
    judgement.evidence.append(_confirm(Level.IMPORTS, "both versions import"))
    pairs = _pair_up(whole, plan, control, candidate)
    judgement.tries = _say_tries(control, "runs")
    judgement.works = str(control.chosen[0]["construct"])
    judgement.executed = frozenset((control.find("cases") or {}).get("executed", ()))
    verdict = _climb(judgement, pairs, imports["has_forward"], candidate)
    return _with_particulars(verdict, pairs, control)


def _pair_up(
    whole: Plan, plan: ClassPlan, control: Observation, candidate: Observation
) -> list[Pair]:
    own = tuple(dict.fromkeys(expected.attribute for expected in plan.expected))
    pairs = []
    for index in range(len(control.chosen)):
        old, new = control.of_case(index), candidate.of_case(index)
        if "failure" not in old.get("builds", {"failure": None}):
            promises = find_promises(old, new)
            pair = Pair(old, new, plan.address, whole.written, own, promises, plan.contradictions)
            pairs.append(pair)
    return pairs


def _climb(
    judgement: _Judgement, pairs: list[Pair], has_forward: bool, candidate: Observation
) -> Verdict:
    for level, stage, check in _CHECKS:
        if level in _RUNNING and not has_forward:
            continue
        if level is Level.RUNS and not any(pair.old["runs"].get("calls") for pair in pairs):
            return _cannot_run(judgement)
        found: list[Evidence] = []
        for pair in pairs:
            if stage not in pair.new:
                judgement.evidence.extend(found)
                because = f"the new version {candidate.vanished}"
                return judgement.undecided(
                    because, suggestion=suggest(judgement.plan, judgement.works)
                )
            found.extend(check(pair))
        judgement.evidence.extend(dict.fromkeys(found))
        bad = min((e for e in found), key=lambda e: list(Answer).index(e.answer), default=None)
        if bad is not None and bad.answer is not Answer.CONFIRMED:
            return judgement.verdict(bad.answer, bad.text)
        judgement.evidence.append(_confirm(level, _summarise(level, pairs)))
        judgement.level = level
    return _last_word(judgement, pairs)


def _cannot_run(judgement: _Judgement) -> Verdict:
    because = "no inputs were found that the old version's forward takes"
    said = f"{because}: {judgement.tries}" if judgement.tries else because
    return judgement.undecided(said, suggestion=suggest(judgement.plan, judgement.works))


def _last_word(judgement: _Judgement, pairs: list[Pair]) -> Verdict:
    """Every rewritten attribute must have been there to be proved."""
    unseen = [
        expected.attribute
        for expected in judgement.plan.expected
        if not any(_was_seen(pair, expected.attribute) for pair in pairs)
    ]
    if unseen:
        names = ", ".join(dict.fromkeys(unseen))
        because = f"no case builds {names} as a tensor, so nothing is known of it"
        return judgement.undecided(because, suggestion=suggest(judgement.plan, judgement.works))
    idle = [s for s in judgement.plan.touched if s.first not in judgement.executed]
    if idle:
        more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
        because = f"no case runs {idle[0].where}, `{idle[0].text}`{more}"
        return judgement.undecided(because, suggestion=suggest(judgement.plan, judgement.works))
    return judgement.verdict(Answer.CONFIRMED)


def _was_seen(pair: Pair, attribute: str) -> bool:
    attributes = pair.old["builds"]["attributes"]
    return any(
        promise["attribute"] == attribute and is_tensor(attributes.get(path))
        for path, promise in pair.promises.items()
    )


def _confirm(level: Level, text: str) -> Evidence:
    return Evidence(level, Answer.CONFIRMED, text)


def _summarise(level: Level, pairs: list[Pair]) -> str:
    """What a passed level means, in the words of a reviewer."""
    if level is Level.BUILDS:
        count = sum(len(pair.new["builds"]["attributes"]) for pair in pairs)
        parameters = sum(len(pair.new["builds"]["parameters"]) for pair in pairs)
        return (
            f"{count} attributes bit-identical after construction, RNG stream unchanged, "
            f"{parameters} parameters unchanged"
        )
    if level is Level.STATE:
        return _summarise_state(pairs)
    if level is Level.MOVES:
        names = sorted(
            {p for pair in pairs for p in pair.promises if p in pair.new["moves"]["places"]}
        )
        return (
            f"{', '.join(names)} on {pairs[0].new['moves']['device']}, nothing else changed place"
        )
    inputs = sum(len({call["input"] for call in pair.new["runs"]["calls"]}) for pair in pairs)
    some = f"{inputs} input{'s' if inputs != 1 else ''}"
    if level is Level.RUNS:
        how = say_equal(pairs)
        return f"outputs and gradients {how} over {some}, train and eval, twice in a row"
    return _summarise_device(pairs, some)


def _summarise_state(pairs: list[Pair]) -> str:
    gained: set[str] = set()
    dropped: set[str] = set()
    missing: set[str] = set()
    for pair in pairs:
        changed = expected_keys(pair.promises, pair.old["builds"]["attributes"])
        gained, dropped = gained | changed[0], dropped | changed[1]
        missing |= set(pair.new["state"]["loads"].get("missing", ()))
    keys = f"{len(gained)} new key{'' if len(gained) == 1 else 's'} {', '.join(sorted(gained))}"
    loads = "an old checkpoint loads strictly"
    if missing:
        loads = f"an old checkpoint lacks {', '.join(sorted(missing))}"
    elif dropped:
        loads = f"an old checkpoint has {', '.join(sorted(dropped))} too many"
    said = f"{len(missing - gained)} missing, {len(dropped)} unexpected, {keys.strip()}"
    return f"state_dict: {said}; {loads}"


def _summarise_device(pairs: list[Pair], some: str) -> str:
    device = pairs[0].new["runs on device"]["device"]
    error = next((e for pair in pairs if (e := find_old_error(pair))), "")
    how = f"{TOLERANCE}, TF32 off" if device.startswith("cuda") else say_equal(pairs)
    if error:
        there = f"the old version fails on {device}"
        return f"{there}; the new one's outputs there are {how} to the old CPU ones over {some}"
    return f"outputs on {device} {how} over {some}"


def _with_particulars(verdict: Verdict, pairs: list[Pair], control: Observation) -> Verdict:
    inputs = sum(len(case["inputs"]) for case in control.chosen)
    sources = ", ".join(dict.fromkeys(case["source"] for case in control.chosen))
    device = next((d for pair in pairs if (d := pair.new.get("moves", {}).get("device"))), "")
    reached = verdict.level is Level.RUNS_ON_DEVICE
    error = next((e for pair in pairs if reached and (e := find_old_error(pair))), "")
    said = f"{inputs} input{'s' if inputs != 1 else ''}, 2 seeds, arguments from {sources}"
    return replace(verdict, cases=said, device=device, old_error=error)


def say_inherited(verdict: Verdict, heir: Heir, plan: ClassPlan, alone: Verdict) -> Verdict:
    """The verdict on a subclass counts for what it inherits; the evidence says so."""
    text = f"proved through its subclass {heir.cls}, for {plan.cls} alone: {alone.because}"
    first = Evidence(Level.IMPORTS, Answer.CONFIRMED, text)
    cases = f"{verdict.cases}, as {heir.cls}"
    return replace(verdict, evidence=(first, *verdict.evidence), cases=cases)


def blame_others(
    classes: Sequence[ClassPlan], verdicts: Mapping[tuple[str, str], Verdict]
) -> dict[tuple[str, str], Verdict]:
    """A class refuted for what a class inside it did is not guilty: the other one is."""
    judged = dict(verdicts)
    owners = {plan.address: plan for plan in classes}
    for plan in classes:
        verdict = judged.get(plan.key)
        if verdict is None or verdict.answer is not Answer.REFUTED:
            continue
        refuting = [e for e in verdict.evidence if e.answer is Answer.REFUTED]
        foreign = [(owner, e) for e in refuting if (owner := _owner_of(e, owners)) is not None]
        if len(foreign) < len(refuting):
            continue
        names = ", ".join(dict.fromkeys(e.attribute for _, e in foreign))
        because = f"it holds {names}, which is refuted"
        judged[plan.key] = replace(verdict, answer=Answer.UNDECIDED, because=because)
        for owner, evidence in foreign:
            judged[owner.key] = _convict(judged.get(owner.key), evidence, plan)
    return judged


def _owner_of(evidence: Evidence, owners: Mapping[str, ClassPlan]) -> ClassPlan | None:
    return owners.get(split_address(evidence.attribute)[0])


def _convict(verdict: Verdict | None, evidence: Evidence, where: ClassPlan) -> Verdict:
    # a class that was proved in an earlier round has no verdict in this one
    verdict = verdict or Verdict(Answer.UNDECIDED, evidence.level)
    text = f"inside {where.cls}: {evidence.text}"
    attribute = split_address(evidence.attribute)[1]
    own = Evidence(evidence.level, Answer.REFUTED, text, attribute)
    because = verdict.because if verdict.answer is Answer.REFUTED else text
    return replace(
        verdict, answer=Answer.REFUTED, evidence=(*verdict.evidence, own), because=because
    )
