"""E1.1.2: a formula for the output size, held against torch with padding that need not be the same on both sides."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from torchstone.core.evidence import Evidence, Verdict
from torchstone.core.problem import Answer, Claim, Posted
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, found, generator, value, worst
from torchstone.solve import conv

_LAW = "convolution.output_size"
_PARTS = ("channels", "height", "width")
_CASES = 200


@dataclass(frozen=True, slots=True)
class _Case:
    """A layer in the letters of the question: pads are before and after, of height and width alike."""

    C: int
    H: int
    W: int
    K: int
    S: int
    D: int
    F: int
    before: int
    after: int

    def letters(self, padding: int) -> dict[str, float]:
        """The question's letters, P being this padding."""
        names = {name: float(getattr(self, name)) for name in ("C", "H", "W", "K", "S", "D", "F")}
        return {**names, "P": float(padding)}

    def output(self) -> tuple[int, ...]:
        """What torch gives."""
        x = torch.zeros(1, self.C, self.H, self.W, device="meta")
        padded = functional.pad(x, (self.before, self.after) * 2)
        weight = torch.zeros(self.F, self.C, self.K, self.K, device="meta")
        return tuple(functional.conv2d(padded, weight, None, self.S, 0, self.D).shape[1:])

    def __str__(self) -> str:
        said = ", ".join(f"{name} = {getattr(self, name)}" for name in ("H", "W", "K", "S", "D", "F"))
        return f"{said}, padding {self.before} before and {self.after} after"


def _cases() -> Iterator[_Case]:
    """Small layers first, then any; in every one the kernel fits."""
    yield _Case(C=1, H=5, W=4, K=2, S=1, D=1, F=2, before=0, after=1)
    draws = generator()

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=draws).item())

    for _ in range(_CASES):
        kernel, dilation, before, after = draw(1, 7), draw(1, 4), draw(0, 6), draw(0, 6)
        least = max(1, dilation * (kernel - 1) + 1 - before - after)
        height, width = least + draw(0, 40), least + draw(0, 40)
        yield _Case(draw(1, 4), height, width, kernel, draw(1, 5), dilation, draw(1, 8), before, after)


def _calculated(said: object, letters: Mapping[str, float]) -> float:
    """A formula: an expression in the question's letters, or the floor of one plus a number."""
    if not isinstance(said, Mapping):
        return value(said, None, **letters)
    formula: Mapping[str, Any] = said
    return math.floor(value(formula["floor"], None, **letters)) + value(formula["plus"], None, **letters)


def _held(part: str, said: object, padding: Callable[[_Case], int]) -> Iterator[Evidence]:
    for case in _cases():
        predicted = _calculated(said, case.letters(padding(case)))
        yield compared(_LAW, predicted, case.output()[_PARTS.index(part)], how=str(case))


def _sum(case: _Case) -> int:
    return case.before + case.after


def _claim(part: str, said: object) -> Claim:
    """A posted formula with P as the question defines it, the sum of both sides; its first counterexample."""
    evidence = list(_held(part, said, _sum))
    against = next((one for one in evidence if one.verdict is Verdict.BROKEN), worst(evidence))
    return Claim(part, against, f"with {against.how} torch gives {found(against):g}, the formula {against.predicted.value:g}")


def _one_sided(part: str, said: object) -> bool:
    """Whether a formula holds if P is read as the padding of each side, where both are the same."""
    cases = [case for case in _cases() if case.before == case.after]
    return all(_calculated(said, case.letters(case.before)) == case.output()[_PARTS.index(part)] for case in cases)


@answers("E1.1.2")
def output_formula(posted: Posted) -> Answer:
    """F x (floor((P + H - [D (K-1) + 1])/S) + 1) x the same for W, P being the sum of both sides' padding."""
    height = {"floor": "(P + H - (D*(K - 1) + 1))/S", "plus": 1}
    width = {"floor": "(P + W - (D*(K - 1) + 1))/S", "plus": 1}
    ours = {"channels": "F", "height": height, "width": width}
    claims = [_claim(part, posted.claims[part]) for part in _PARTS if part in posted.claims]
    broken = [claim.about for claim in claims if claim.evidence.verdict is Verdict.BROKEN]
    spared = [part for part in broken if _one_sided(part, posted.claims[part])]
    (example,) = conv((1, 5, 4), kernel=2, padding=((0, 1),), channels=2)
    return Answer(
        says=(f"F x (floor({height['floor']}) + 1) x (floor({width['floor']}) + 1), P the sum of both sides' padding",),
        derivation=(
            "the padded input has H + P positions, the kernel covers D (K - 1) + 1 of them",
            "its first window starts at 0 and every other S further, while it fits: floor of what is left over S, and one",
            f"for instance 1x5x4, K = 2, padding 0 before and 1 after (P = 1), F = 2: {'x'.join(map(str, example.output))}",
        ),
        evidence=(*proved(_LAW), *(worst(_held(part, said, _sum)) for part, said in ours.items())),
        claims=tuple(claims),
        remarks=tuple(f"the posted {part} holds where P is the padding of each side; here it is their sum" for part in spared),
    )
