"""Candidate -> persistent flag and its reason. First opinion wins: read POLICY top to bottom.

Refuses to judge whether to register at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass

from bufferize.classes import Candidate, ClassView, Use
from bufferize.model import Reason
from bufferize.tensors import values as v

Opinion = tuple[bool, Reason]


# methods that put an object into the state it is constructed in
_SETUP = re.compile(r"_*(reset|(re)?init|(re)?build|create|make|setup)(_|iali[sz]e|$)|_apply$")
_SETTER = re.compile(r"_*(set|load|fit|calibrate|assign|update)_?")
_RUNNING = re.compile(
    r"^(running|moving)_(mean|var|std|avg|average|sum|min|max|count)|^num_batches_"
)
_CACHE = re.compile(r"(^|_)(kv_?)?cached?($|_)")


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user said: 'auto', 'always' or 'never', and the pragma on the line, if any."""

    persistent: str = "auto"
    pragma: bool | None = None


def choose_persistence(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion:
    """The flag and why. The last opinion always has one."""
    for opinion in POLICY:
        chosen = opinion(candidate, view, policy)
        if chosen is not None:
            return chosen
    raise AssertionError("the last opinion of POLICY must never abstain")


def _say(persistent: bool, reason: str, text: str) -> Opinion:
    return persistent, Reason(reason, text)


def pragma(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    if policy.pragma is None:
        return None
    return _say(policy.pragma, "pragma", "the comment on the line says so")


def configured(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    if policy.persistent == "auto":
        return None
    return _say(
        policy.persistent == "always", "policy", f"--persistent {policy.persistent} was asked for"
    )


def same_as_registered(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    """A registration of the same name elsewhere in the hierarchy, or in a sibling branch."""
    for cls in view.family:
        other = view.survey.views.get(cls)
        for write in other.writes_of(candidate.attribute) if other else ():
            if write.form == "register" and write.persistent is not None:
                where = f"{write.module.source.name}:{write.node.lineno}"
                text = f"{cls.qualname} registers it with the same flag at {where}"
                return _say(write.persistent, "same-as-registered", text)
    return None


def looks_like_running_statistic(
    candidate: Candidate, view: ClassView, policy: Policy
) -> Opinion | None:
    """Kernels such as batch_norm update them where no Python statement shows it."""
    if not _RUNNING.search(candidate.attribute):
        return None
    return _say(True, "running-statistic", "named as a running statistic: training changes it")


def random(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    built = view.construction.instance.attributes.get(candidate.attribute)
    traits = candidate.value.traits | (built.value.traits if built else frozenset())
    if v.RANDOM in traits:
        text = "drawn at random: a fresh construction would not reproduce it"
        return _say(True, "random", text)
    for use in view.uses(candidate.attribute):
        if use.kind == "in-place" and use.is_random:
            text = f"filled at random by {use.method} at {use.where}"
            return _say(True, "random", text)
    return None


def uninitialised(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    if v.UNINITIALISED not in candidate.value.traits:
        return None
    for use in view.uses(candidate.attribute):
        fills = use.kind in {"item-write", "in-place"} or use.relation == "fresh"
        if fills and use.node is not candidate.node and _builds(use.function, view):
            return None  # what fills it decides
    text = "uninitialised memory until somebody fills it: only the state_dict brings that back"
    return _say(True, "random", text)


def _builds(function: str, view: ClassView) -> bool:
    """Whether a method sets the object up: it runs in construction, or is named as if it did."""
    return view.is_constructing(function) or _SETUP.match(function) is not None


def looks_like_cache(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    """Keys and values of past tokens, tables grown on demand: refilled by the next run."""
    named = _CACHE.search(candidate.attribute) or "Cache" in candidate.cls.node.name
    if not named or not view.uses_after(candidate.attribute):
        return None
    return _say(False, "cache", "a cache by its name: the next run fills it again")


def written_from_outside(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    for use in view.uses_from_outside(candidate.attribute):
        if _SETUP.match(use.function):
            continue
        if use.changes_value or _sets_a_value(use):
            text = (
                f"written from outside: `{use.receiver}.{use.attribute}` changes at {_place(use)}"
            )
            return _say(True, "written-from-outside", text)
    return None


def _sets_a_value(use: Use) -> bool:
    """`model.mask = new_mask`: a value that construction does not give."""
    return use.kind == "assign" and use.relation == "fresh"


def changed_in_place(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    for use in view.uses_after(candidate.attribute):
        if use.kind not in {"augmented", "item-write", "in-place"} or _refills(use, view):
            continue
        if not _sets_up(use, view):
            text = f"changed in place after construction, in {use.function} at {use.where}"
            return _say(True, "changed-in-place", text)
    return None


def _sets_up(use: Use, view: ClassView) -> bool:
    """A write that only brings the constructed state about: no data of the caller goes in."""
    if not _SETUP.match(use.function) or use.function in view.forward_methods:
        return False
    return not view.takes_arguments(use)


def _refills(use: Use, view: ClassView) -> bool:
    """A write beside a fresh assignment in the same method belongs to a cache being rebuilt.

    Not where one stands in the `if` and the other in its `else`: that write adds to old values.
    """
    branches = [
        node
        for method in view.family_methods
        if method.name == use.function and method.module is use.module
        for node in ast.walk(method.node)
        if isinstance(node, ast.If)
    ]
    return any(
        other.kind == "assign"
        and other.relation == "fresh"
        and other.function == use.function
        and not any(_parts(branch, other.node, use.node) for branch in branches)
        for other in view.uses_after(use.attribute)
    )


def _parts(branch: ast.If, one: ast.AST, other: ast.AST) -> bool:
    """Whether the branch takes the two nodes apart: one in its body, one in its `else`."""
    body = {id(node) for statement in branch.body for node in ast.walk(statement)}
    orelse = {id(node) for statement in branch.orelse for node in ast.walk(statement)}
    return (id(one) in body and id(other) in orelse) or (id(one) in orelse and id(other) in body)


def reassigned_from_itself(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    for use in view.uses_after(candidate.attribute):
        if use.kind == "assign" and view.updates_itself(use) and not _is_rebuilt(use, view):
            text = f"updated from its old value in {use.function} at {use.where}"
            return _say(True, "reassigned", text)
    return None


def _is_rebuilt(use: Use, view: ClassView) -> bool:
    """Whether the same method always starts from a fresh value: what it builds up is no memory."""
    starts = {
        id(other.node)
        for other in view.uses_after(use.attribute)
        if other.kind == "assign" and other.relation == "fresh" and other.function == use.function
    }
    blocks = [
        block
        for method in view.family_methods
        if starts and method.name == use.function and method.module is use.module
        for node in ast.walk(method.node)
        for block in (getattr(node, "body", None), getattr(node, "orelse", None))
        if isinstance(block, list)
    ]
    return any(
        id(start) in starts and any(child is use.node for child in ast.walk(later))
        for block in blocks
        for place, start in enumerate(block)
        for later in block[place + 1 :]
    )


def set_later(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    """A setter gives it a value that construction does not know."""
    for use in view.uses_after(candidate.attribute):
        setter = _SETTER.match(use.function) and use.function not in view.forward_methods
        if setter and use.kind == "assign" and use.relation == "fresh":
            text = f"set to another value by {use.function} at {use.where}"
            return _say(True, "reassigned", text)
    return None


def cache(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    for use in view.uses_after(candidate.attribute):
        if use.kind != "assign" or use.relation != "fresh" or view.updates_itself(use):
            continue
        if use.function in view.forward_methods or not _SETUP.match(use.function):
            text = f"a cache: {use.function} computes it anew at {use.where}"
            return _say(False, "cache", text)
    return None


def loaded(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    if v.LOADED in candidate.value.traits:
        return _say(True, "loaded", "read from a file that need not be there when it is restored")
    return None


def handed_in(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion | None:
    if v.HANDED_IN in candidate.value.traits:
        text = "handed to the constructor as data: only the state_dict can bring it back"
        return _say(True, "handed-in", text)
    return None


def recomputable(candidate: Candidate, view: ClassView, policy: Policy) -> Opinion:
    text = (
        "a pure function of constructor arguments and constants: existing checkpoints keep loading"
    )
    return _say(False, "recomputable", text)


def _place(use: Use) -> str:
    source = use.module.source
    cell = source.cell_at(use.line)
    if cell is None:
        return use.where
    return f"{source.name} cell {cell.number}:{use.line - cell.line + 1}"


POLICY: tuple[Callable[[Candidate, ClassView, Policy], Opinion | None], ...] = (
    pragma,
    configured,
    same_as_registered,
    random,
    uninitialised,
    looks_like_cache,
    written_from_outside,
    changed_in_place,
    reassigned_from_itself,
    looks_like_running_statistic,
    loaded,
    set_later,
    cache,
    handed_in,
    recomputable,
)

# what `bufferize explain ID` says of each reason
REASONS = {
    "pragma": "`# bufferize: persistent=true` or `=false` stands on the line.",
    "policy": "`--persistent always` or `never` was asked for.",
    "same-as-registered": "The same attribute is registered elsewhere in the class hierarchy, "
    "or in a sibling branch: the flags must agree.",
    "random": "Random draws and uninitialised memory are not reproduced by a fresh construction; "
    "only the state_dict brings them back.",
    "running-statistic": "Running means and variances are updated in training, often inside a "
    "kernel: they are state.",
    "written-from-outside": "Other code writes to the attribute of an instance, such as "
    "`model.mask[...] = 2`: the change would be lost on reload.",
    "changed-in-place": "A method that runs after construction changes it in place: counters, "
    "running statistics, codebooks.",
    "reassigned": "A method assigns a new value computed from the old one.",
    "cache": "A method computes it anew from its inputs: saving it would only pin its shape.",
    "loaded": "It was read from a file, which need not exist where the checkpoint is restored.",
    "handed-in": "It was handed to the constructor as a tensor or array: data, not a formula.",
    "recomputable": "It follows from constructor arguments and constants (masks, position ids, "
    "frequencies, anchors): non-persistent, so that every existing checkpoint keeps loading. "
    "`--persistent always` saves it too.",
}
