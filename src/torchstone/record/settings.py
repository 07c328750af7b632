"""What an optimizer was built with: where its weight decay enters, its momentum, and the line and words of the code that did."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

import torch

from torchstone.core.place import NOWHERE, Place
from torchstone.record.source import is_user_file, user_frame, user_place

# How filters by name spell norm layers: "LayerNorm.weight", "layer_norm", "ln_f", "bn".
_NORM = re.compile(r"(\w+\.)*(\w*norm\d*|(ln|bn)(_?\w)?)(\.weight|\.bias)?", re.IGNORECASE)
_WORDS = 20
_DECOUPLED = ("AdamW", "Muon", "Adafactor")  # torch's own, and those below them, that have no flag for it


@dataclass(frozen=True, slots=True)
class Made:
    """Where an optimizer was built, and names of norm layers in the code that did it."""

    place: Place = NOWHERE
    words: tuple[str, ...] = ()


UNSEEN = Made()


def made() -> Made:
    """Of the optimizer that is being built now."""
    frame, codes = user_frame(1), list[CodeType]()
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            codes.append(frame.f_code)
        frame = frame.f_back
    words = {word: None for code in codes for word in _strings(code.co_consts) if len(word) <= 40 and _NORM.fullmatch(word)}  # noqa: PLR2004 - names
    return Made(user_place(1), tuple(words)[:_WORDS])


def _strings(constants: tuple[object, ...] | frozenset[object], *, filters: bool = False) -> Iterator[str]:
    """Strings that filters by name are made of: with a dot in them, or listed together with "bias"."""
    for constant in constants:
        if isinstance(constant, str):
            if filters or "." in constant:
                yield constant
        elif isinstance(constant, tuple | frozenset):
            yield from _strings(constant, filters=any(isinstance(one, str) and "bias" in one for one in constant))
        elif isinstance(constant, CodeType):
            yield from _strings(constant.co_consts)


def of(optimizer: torch.optim.Optimizer, group: dict[str, object]) -> tuple[float, float, bool, str]:
    """Momentum, dampening, Nesterov's form and where the decay enters (as GroupSeen has them) of one group."""
    numbers = [float(value) if isinstance(value := group.get(name), int | float) else 0.0 for name in ("momentum", "dampening")]
    return numbers[0], numbers[1], group.get("nesterov") is True, _decay(optimizer, group)


def _decay(optimizer: torch.optim.Optimizer, group: dict[str, object]) -> str:
    if group.get("decoupled_weight_decay") is True:
        return "decoupled"
    step = type(optimizer).step
    if not str(step.__module__).startswith("torch.optim."):
        return ""  # a step of the user's own may do anything
    names = {kind.__name__ for kind in type(optimizer).__mro__}
    return "decoupled" if names & set(_DECOUPLED) else "l2"
