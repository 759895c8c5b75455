"""What the error of a failed call says about the shapes and types of its arguments.

In: an exception and the specifications that led to it. Out: better specifications. Never raises,
runs nothing. Part of the worker: standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType

from bufferize.verify.failing import unequal_sizes
from bufferize.verify.shapes import BATCH, LENGTH, Facts, Spec

State = tuple[Spec, ...]
Lesson = Callable[[State, "re.Match[str]", Facts], Iterator[State]]


def learn_states(error: BaseException, state: State, facts: Facts) -> list[State]:
    """States to try next, likeliest first."""
    message = str(error)
    found: list[State] = []
    for pattern, lesson in _LESSONS:
        if match := re.search(pattern, message):
            found.extend(lesson(state, match, facts))
    found.extend(_from_comparison(error.__traceback__, state))
    if not found:
        found.extend(_from_numbers(message, state))
    return [other for other in dict.fromkeys(found) if other != state]


def _swap(state: State, old: int, new: int, dims: Sequence[int] = ()) -> Iterator[State]:
    """Each tensor with a dimension `old` gets `new` there; then all of them at once."""
    if old == new or new <= 0:
        return
    everywhere = tuple(_resized(spec, old, new, dims) for spec in state)
    for number, spec in enumerate(everywhere):
        if spec != state[number]:
            yield (*state[:number], spec, *state[number + 1 :])
    yield everywhere


def _resized(spec: Spec, old: int, new: int, dims: Sequence[int]) -> Spec:
    if not spec.is_tensor or old not in spec.shape:
        return spec
    shape = list(spec.shape)
    places = [d for d in dims if -len(shape) <= d < len(shape) and shape[d] == old]
    if not places:
        # the rightmost of equal sizes is the likelier one, the batch the least
        places = [max(n for n, size in enumerate(shape) if size == old)]
    for place in places:
        shape[place] = new
    return replace(spec, shape=tuple(shape))


def _ranked(state: State, old: int | None, new: int, facts: Facts) -> Iterator[State]:
    """Tensors of rank `old` (any, for None) get rank `new`."""
    for number, spec in enumerate(state):
        if not spec.is_tensor or len(spec.shape) == new or (old and len(spec.shape) != old):
            continue
        for shape in _shapes_of_rank(spec, new, facts):
            yield (*state[:number], replace(spec, shape=shape), *state[number + 1 :])


def _shapes_of_rank(spec: Spec, rank: int, facts: Facts) -> Iterator[tuple[int, ...]]:
    for other in facts.mains:
        if len(other.shape) == rank and other.kind == spec.kind:
            yield other.shape
    shape = spec.shape
    last = shape[-1] if shape else facts.width
    if rank == 4 and len(shape) == 3:
        yield (shape[0], facts.heads, shape[1], last)
        yield (shape[0], shape[1], facts.heads, last)
    if rank == 4:
        yield (BATCH, last, *facts.image)
        yield (BATCH, 3, *facts.image)
    elif rank == 3:
        yield (BATCH, LENGTH, last)
    elif rank == 2:
        yield (shape[0] if shape else BATCH, last)
        yield (BATCH, LENGTH)
    elif rank == 1:
        yield (last,)
        yield (BATCH,)
    elif rank == 5:
        yield (BATCH, 3, 4, *facts.image)


# --- lessons, one a kind of message


def _matrix(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    had, wanted = int(match.group(2)), int(match.group(3))
    yield from _swap(state, had, wanted, (-1,))
    rows = int(match.group(1))
    # a flattened picture of the wrong size
    for number, spec in enumerate(state):
        if spec.is_tensor and len(spec.shape) == 4 and had != wanted:
            factor = (wanted / had) ** 0.5
            shape = (*spec.shape[:2], round(spec.shape[2] * factor), round(spec.shape[3] * factor))
            if min(shape) > 0:
                yield (*state[:number], replace(spec, shape=shape), *state[number + 1 :])
        elif spec.is_tensor and len(spec.shape) == 3 and rows == spec.shape[0] and had % wanted:
            yield from _swap(state, spec.shape[-1], wanted, (-1,))


def _weight(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    """A convolution's weight has the rank that its batched input has."""
    rank, wanted = len(match.group(1).split(",")), int(match.group(2))
    spatial = {3: (4 * LENGTH,), 4: facts.image, 5: (8, 16, 16)}.get(rank, ())
    for number, spec in enumerate(state):
        if spec.kind == "float" and len(spec.shape) != rank and spatial:
            picture = replace(spec, shape=(BATCH, wanted, *spatial))
            yield (*state[:number], picture, *state[number + 1 :])


def _channels(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    wanted, had = int(match.group(1)), int(match.group(2))
    yield from _swap(state, had, wanted, (1, -3))


def _last(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    wanted, had = int(match.group("wanted")), int(match.group("had"))
    yield from _swap(state, had, wanted, (-1,))


def _normalized(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    wanted = tuple(int(n) for n in match.group(1).split(","))
    for number, spec in enumerate(state):
        if spec.kind == "float" and spec.shape[-len(wanted) :] != wanted:
            shape = (*(spec.shape[: -len(wanted)] or (BATCH,)), *wanted)
            yield (*state[:number], replace(spec, shape=shape), *state[number + 1 :])


def _sizes_differ(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    one, two, place = (int(n) for n in match.groups())
    yield from _swap(state, one, two, (place,))
    yield from _swap(state, two, one, (place,))
    yield from _swap(state, one, two)
    yield from _swap(state, two, one)


def _rank_expected(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    for rank in sorted({int(n) for n in re.findall(r"(\d)-?D", match.group(1))}, reverse=True):
        yield from _ranked(state, None, rank, facts)


def _unpack_more(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    yield from _ranked(state, int(match.group(2)), int(match.group(1)), facts)


def _unpack_fewer(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    yield from _ranked(state, None, int(match.group(1)), facts)


def _higher(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    for number, spec in enumerate(state):
        if spec.is_tensor:
            one = (*state[:number], spec, *state[number + 1 :])
            yield from _ranked(one, len(spec.shape), len(spec.shape) + 1, facts)


def _subscripts(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    yield from _ranked(state, int(match.group(2)), int(match.group(1)), facts)
    yield from _ranked(state, None, int(match.group(1)), facts)


def _to_long(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    for number, spec in enumerate(state):
        if spec.kind in {"float", "unit", "bool"}:
            shapes = [s.shape for s in facts.mains if s.kind == "long"]
            for shape in (spec.shape, spec.shape[:-1], *shapes):
                whole = Spec("long", shape, facts.embeddings)
                yield (*state[:number], whole, *state[number + 1 :])


def _to_float(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    for number, spec in enumerate(state):
        if spec.kind in {"long", "bool"}:
            yield (*state[:number], replace(spec, kind="float"), *state[number + 1 :])


def _to_bool(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    for number, spec in enumerate(state):
        if spec.kind in {"long", "float", "unit"}:
            yield (*state[:number], replace(spec, kind="bool"), *state[number + 1 :])


def _to_number(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    """A plain number where a tensor was given: each alone, then all, for `forward(i, j)`."""
    number = Spec("source", text=str(LENGTH))
    for place, spec in enumerate(state):
        if spec.is_tensor:
            yield (*state[:place], number, *state[place + 1 :])
    yield tuple(number if spec.is_tensor else spec for spec in state)


def _to_row(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    """A list of tensors where one was given."""
    for place, spec in enumerate(state):
        if spec.is_tensor:
            row = Spec("source", text=f"[{spec.source()}, {spec.source()}]")
            yield (*state[:place], row, *state[place + 1 :])


def _to_unit(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    yield tuple(replace(s, kind="unit") if s.kind == "float" else s for s in state)


def _lower(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    yield tuple(replace(s, high=2) if s.kind == "long" else s for s in state)
    yield tuple(replace(s, high=1) if s.kind == "long" else s for s in state)
    # positions beyond a table: fewer of them
    yield tuple(replace(s, shape=tuple(min(n, 4) for n in s.shape)) if s.is_tensor else s
                for s in state)  # fmt: skip


def _longer(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    """An input smaller than a kernel, a window or a patch."""
    for factor in (4, 16):
        yield tuple(
            replace(s, shape=tuple(n * factor if d > 1 or (len(s.shape) == 2 and d) else n
                                   for d, n in enumerate(s.shape)))
            if s.kind == "float" else s
            for s in state
        )  # fmt: skip


def _filled(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    main = next((spec for spec in state if spec.is_tensor), Spec("float", (BATCH, facts.width)))
    for number, spec in enumerate(state):
        if spec.text == "None":
            for shape in (main.shape, main.shape[:2]):
                for kind in ("bool", "float"):
                    yield (*state[:number], Spec(kind, shape), *state[number + 1 :])


def _batch_matrices(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    wanted = [int(n) for n in match.group(1).split(",")]
    had = [int(n) for n in match.group(2).split(",")]
    for one, two in zip(wanted, had, strict=False):
        yield from _swap(state, two, one)
        yield from _swap(state, one, two)


def _either(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    one, two = int(match["had"]), int(match["wanted"])
    yield from _swap(state, one, two)
    yield from _swap(state, two, one)


def _divided(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    had, chunk = int(match.group(1)), int(match.group(2))
    yield tuple(
        replace(
            spec, shape=tuple(chunk * max(1, n // chunk) if n == had else n for n in spec.shape)
        )
        for spec in state
    )


def _divisible(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    size = int(match.group(1))
    whole = size * max(1, round(24 / size)) if size else 0
    for first in (2, 1):
        yield tuple(
            replace(spec, shape=(*spec.shape[:first], *(whole for _ in spec.shape[first:])))
            if spec.is_tensor and len(spec.shape) > 2 and whole
            else spec
            for spec in state
        )


def _reshaped(state: State, match: re.Match[str], facts: Facts) -> Iterator[State]:
    sizes = [int(n) for n in re.findall(r"\d+", match.group(1)) if int(n) > 1]
    for number, spec in enumerate(state):
        if spec.is_tensor and sizes:
            # heads * width of a head, or a square of patches
            for size in (sizes[-1] * sizes[-2] if len(sizes) > 1 else sizes[-1], sizes[-1]):
                shape = (*spec.shape[:-1], size)
                yield (*state[:number], replace(spec, shape=shape), *state[number + 1 :])


_LESSONS: tuple[tuple[str, Lesson], ...] = (
    (r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x\d+\)", _matrix),
    (r"size mismatch, got (\d+), \d+x(\d+),(\d+)", _matrix),
    (r"weight of size \[([\d, ]+)\], expected input\[[\d, ]+\] to have (\d+) channels",
     _weight),
    (r"to have (\d+) channels, but got (\d+) channels", _channels),
    (r"running_mean should contain (?P<had>\d+) elements not (?P<wanted>\d+)",
     lambda s, m, f: _swap(s, int(m["had"]), int(m["wanted"]), (1, -1))),
    (r"equal to input_size\. Expected (?P<wanted>\d+), got (?P<had>\d+)", _last),
    (r"embedding dimension of (?P<wanted>\d+), but got (?P<had>\d+)", _last),
    (r"input has inconsistent input_size: got (?P<had>\d+),? expected (?P<wanted>\d+)", _last),
    (r"feature number of src and tgt must be equal to d_model", lambda s, m, f: iter(())),
    (r"normalized_shape=\[([\d, ]+)\]", _normalized),
    (r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at non-singleton "
     r"dimension (\d+)", _sizes_differ),
    (r"expected size for first two dimensions of batch2 tensor to be: \[([\d, ]+)\] but got: "
     r"\[([\d, ]+)\]", _batch_matrices),
    (r"[Ss]hape mismatch,? (?P<had>\d+) != (?P<wanted>\d+)", _either),
    (r"axis of length (\d+) in chunks of (\d+)", _divided),
    (r"divisible by\D*(\d+)", _divisible),
    (r"[Ee]xpected ((?:\d-?D[^,]*?)+) input", _rank_expected),
    (r"input (?:must|should) be ((?:\d-?D[^,]*?)+)", _rank_expected),
    (r"not enough values to unpack \(expected (\d+), got (\d+)\)", _unpack_more),
    (r"too many values to unpack \(expected (\d+)", _unpack_fewer),
    (r"subscripts in the equation \((\d+)\) does not match the number of dimensions \((\d+)\)",
     _subscripts),
    (r"Wrong shape: expected (\d+) dims?\. Received (\d+)-dim", _subscripts),
    (r"Dimension out of range|too many indices for tensor|permute\(sparse_coo\)|"
     r"number of dimensions in the tensor input does not match|tuple index out of range|"
     r"Expected size .* dim|must be at least (?:one|two)-dimensional|at least \dD?",
     _higher),
    (r"one of the following scalar types: Long|Class values must be|must be long, int|"
     r"expected scalar type Long|"
     r"must be Long|index.*int64|expected.* Int(?:eger)?|'indices'|not implemented for 'Float'|"
     r"only integer tensors", _to_long),
    (r"must have the same dtype|expected scalar type (?:Float|Double)|expected m1 and m2|"
     r"Input type \(.*[Ll]ong|not implemented for 'Long'|should be the same.*Long|[gG]ot Long|"
     r"required to be.*floating|can't be cast to the desired output type Long|floating point",
     _to_float),
    (r"arange\(\)|as an integer|must be (?:an )?int|size\(\) received|ambiguous", _to_number),
    (r"must be (?:a )?(?:tuple|list) of Tensors|can only concatenate (?:list|tuple)|"
     r"must be (?:a )?(?:list|tuple)", _to_row),
    (r"boolean|expected (?:BoolTensor|a bool)|dtype bool|torch\.bool", _to_bool),
    (r"index out of range|out of bounds|Class values must be|Target \d+ is out", _lower),
    (r"between 0 and 1|\[0, 1\]", _to_unit),
    (r"Kernel size can't be greater|output size is too small|smaller than kernel|Padding size "
     r"should be less|too small|expected 0 < n_fft", _longer),
    (r"NoneType", _filled),
    (r"shape '\[([-\d, ]+)\]' is invalid for input", _reshaped),
)  # fmt: skip


# --- what the failing line itself compares


def _from_comparison(trace: TracebackType | None, state: State) -> Iterator[State]:
    for one, two in unequal_sizes(trace):
        yield from _swap(state, one, two)
        yield from _swap(state, two, one)


def _from_numbers(message: str, state: State) -> Iterator[State]:
    """Two sizes in a message of the user's own: one that we gave, one that is wanted."""
    numbers = list(
        dict.fromkeys(int(n) for n in re.findall(r"(?<![\w.])\d{1,4}(?![\w.])", message))
    )
    given = {size for spec in state if spec.is_tensor for size in spec.shape}
    for had in [n for n in numbers if n in given][:2]:
        for wanted in [n for n in numbers if n not in given and n > 0][:3]:
            yield from _swap(state, had, wanted)
