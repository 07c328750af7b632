"""Fresh low-rank adapters of a recording: pairs of factors, one of them zero at the start, and what became of the zero one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchstone.checks.lives import Life, lives_of
from torchstone.core.events import CheckpointWithoutGradient
from torchstone.core.recording import Recording

_NAMED = re.compile(r"lora|low_?rank|adapter", re.IGNORECASE)
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)|\[\d+\]")
_LEVELS = 3  # layer.lora_B, layer.up.weight, layer.lora_B.default.weight
_MATRIX = 2
_FEW = 3
_RAN_WITH_GRADIENTS = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """The factors of one adapter: the one that was zero at the start, and the other."""

    zero: Life
    other: Life

    @property
    def name(self) -> str:
        """The path that both factors have in common."""
        one, other = self.zero.seen.names[0].split("."), self.other.seen.names[0].split(".")
        shared = [a for a, b in zip(one, other, strict=False) if a == b]
        return ".".join(one[: next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(shared))])

    @property
    def both_zero(self) -> bool:
        """Whether no gradient can ever reach either factor."""
        return _is_zero(self.other)


def pairs_of(recording: Recording) -> list[Pair]:
    """Every fresh adapter, by its names (lora_A, lora_B) or by its shapes beside a frozen weight."""
    lives = [life for life in lives_of(recording) if life.looks and life.seen.origin == "registered" and life.seen.names]
    near: dict[tuple[int, str], list[Life]] = {}  # by model and path: what lies below it, a few levels deep
    for life in lives:
        for level in range(1, _LEVELS + 2):
            near.setdefault((life.seen.model, _above(life, level)), []).append(life)
    found, taken = [], set[int]()
    for life in lives:
        if life.seen.parameter not in taken and _is_factor(life) and _is_zero(life):
            other = _partner(life, near, taken)
            if other is not None:
                taken |= {life.seen.parameter, other.seen.parameter}
                found.append(Pair(life, other))
    return found


def _above(life: Life, level: int) -> str:
    return life.seen.names[0].rsplit(".", level)[0] if life.seen.names[0].count(".") >= level else ""


def _is_factor(life: Life) -> bool:
    return len(life.seen.shape) == _MATRIX


def _is_zero(life: Life) -> bool:
    return life.seen.mean == 0 and life.seen.deviation == 0


def _partner(zero: Life, near: dict[tuple[int, str], list[Life]], taken: set[int]) -> Life | None:
    for level in range(1, _LEVELS + 1):
        path = _above(zero, level)
        around = near.get((zero.seen.model, path), []) if path else []
        wider = near.get((zero.seen.model, _above(zero, level + 1)), []) + around
        for other in around:
            if other is zero or other.seen.parameter in taken or not _is_factor(other):
                continue
            sizes = _sizes(zero.seen.shape, other.seen.shape)
            if sizes and (_named(zero, other, path) or any(_is_base(life, sizes) for life in wider)):
                return other
    return None


def _sizes(zero: Sequence[int], other: Sequence[int]) -> tuple[int, int] | None:
    """(out, in) of the weight that the factors adapt, if they share a rank that is lower."""
    for rank, outside, also, inside in ((zero[1], zero[0], other[0], other[1]), (zero[0], zero[1], other[1], other[0])):
        if rank == also and rank <= min(outside, inside) and rank < max(outside, inside):
            return outside, inside
    return None


def _named(zero: Life, other: Life, path: str) -> bool:
    return all(_NAMED.search(life.seen.names[0].removeprefix(path)) for life in (zero, other))


def _is_base(life: Life, sizes: tuple[int, int]) -> bool:
    return life.frozen and tuple(life.seen.shape) in {sizes, sizes[::-1]}


def judged(recording: Recording) -> Iterator[tuple[Pair, str, str]]:
    """Every fresh adapter with why it never trained: (cause, '') if broken, ('', reason) if undecided, ('', '') if it did."""
    pairs = pairs_of(recording)
    used = {_kind(pair) for pair in pairs if pair.zero.changed or pair.zero.has_gradient}
    silent = bool(pairs) and all(pair.zero.gradient == 0 for pair in pairs)
    for pair in pairs:
        cause, reason = ("", "") if pair.zero.changed else _cause(pair, recording, used, silent=silent)
        if cause and recording.steps < _FEW:
            cause, reason = "", f"only {recording.steps} steps were seen"
        yield pair, cause, reason


def factors_held_apart(recording: Recording) -> set[int]:
    """The numbers of factors that `adapter-never-trains` speaks of: no other finding should."""
    pairs = [pair for pair, cause, _ in judged(recording) if cause]
    return {life.seen.parameter for pair in pairs for life in (pair.zero, pair.other)}


def _kind(pair: Pair) -> str:
    return f"{pair.zero.seen.model} {_NUMBER.sub('#', pair.zero.seen.names[0])}"


def _cause(pair: Pair, recording: Recording, used: set[str], *, silent: bool) -> tuple[str, str]:
    zero, other = pair.zero, pair.other
    if not zero.trainable:
        held = other.trainable and other.in_optimizer
        return ("frozen", "") if held else ("", "its zero factor is frozen, and the other one too: taken as meant")
    if not zero.in_optimizer:
        return ("not in the optimizer", "") if zero.has_gradient else ("", "no gradient reaches it and no optimizer holds it")
    if not zero.held_to_move:
        return "", "the learning rate of its group is 0: taken as meant"
    return _with_gradient(pair, silent=silent) if zero.has_gradient else _without_gradient(pair, recording, used)


def _with_gradient(pair: Pair, *, silent: bool) -> tuple[str, str]:
    if pair.both_zero and pair.other.trainable and pair.zero.gradient == 0:
        return ("", "its other factor was zero at first as well") if pair.other.changed else ("both zero", "")
    if silent and pair.zero.looks >= _FEW:
        return "zero gradient", ""
    return "", "it has gradients and an optimizer, and has not moved yet"


def _without_gradient(pair: Pair, recording: Recording, used: set[str]) -> tuple[str, str]:
    zero = pair.zero
    if zero.reached:
        return "", "its gradient is taken away before every step"
    if zero.ran < _RAN_WITH_GRADIENTS and recording.first(CheckpointWithoutGradient) is not None:
        return "checkpoint", ""
    if _kind(pair) in used:
        return "", "others of its kind are trained: taken as chosen by the data (experts, optional branches)"
    stopped = recording.ended is None or recording.ended.reason != "finished"
    if zero.ran < _RAN_WITH_GRADIENTS and stopped:
        what = "ran without gradients only" if zero.ran else "was not called"
        return "", f"its module {what} in the {recording.steps} steps watched; the run had not come to its end"
    return {0: "never called", 1: "without gradients"}.get(zero.ran, "no gradient"), ""
