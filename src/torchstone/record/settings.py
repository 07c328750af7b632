"""What an optimizer was built with: where its weight decay enters, its momentum, and the line and words of the code that did."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType, ModuleType

import torch

from torchstone.core.place import NOWHERE, Place
from torchstone.record.source import is_user_file, user_frame, user_place

# How filters by name spell norm layers: "LayerNorm.weight", "layer_norm", "ln_f", "bn".
_NORM = re.compile(r"(\w+\.)*(\w*norm\d*|(ln|bn)(_?\w)?)(\.weight|\.bias)?", re.IGNORECASE)
_OTHER = re.compile(r"grad|clip|max|total|weight_?norm|spectral", re.IGNORECASE)  # other norms, as logs name them
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
    frame, said = user_frame(1), list[str]()
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            said += _strings(frame.f_code, dotted=True)
            for code in _named(frame):
                said += _strings(code, dotted=_makes_groups(code), tested=_makes_groups(code))
        frame = frame.f_back
    words = {word: None for word in said if len(word) <= 40 and _NORM.fullmatch(word) and not _OTHER.search(word)}  # noqa: PLR2004 - names
    return Made(user_place(1), tuple(words)[:_WORDS])


def _named(frame: FrameType) -> Iterator[CodeType]:
    """Functions of the user's that the code of a frame names."""
    known = [frame.f_globals[name] for name in frame.f_code.co_names if name in frame.f_globals]
    inside = [vars(one).get(name) for one in known if isinstance(one, ModuleType) for name in frame.f_code.co_names]
    for one in (*known, *inside):
        if isinstance(one, FunctionType) and is_user_file(one.__code__.co_filename):
            yield one.__code__


def _makes_groups(code: CodeType) -> bool:
    """Whether a function goes through parameters by name and says their decay."""
    said = {one for constant in code.co_consts for one in (constant if isinstance(constant, tuple) else (constant,))}
    return "named_parameters" in code.co_names and "weight_decay" in said


def _strings(code: CodeType, *, dotted: bool, tested: bool = False) -> Iterator[str]:
    """Strings that filters by name are made of: listed with "bias"; where `tested`, beside it; where `dotted`, with a dot in them.

    A function that is not at work says much else, the names of another framework's weights for one: there only lists count. What is
    at work also prints and logs: beside "bias" in it may stand anything.
    """
    beside = tested and _names_biases(code.co_consts)
    for constant in code.co_consts:
        if isinstance(constant, str):
            if beside or (dotted and "." in constant):
                yield constant
        elif isinstance(constant, tuple | frozenset):
            listed = _names_biases(constant)
            yield from (one for one in constant if isinstance(one, str) and (listed or (dotted and "." in one)))
        elif isinstance(constant, CodeType):
            short = constant.co_name.startswith("<")  # a comprehension or a lambda
            groups = not short and _makes_groups(constant)
            yield from _strings(constant, dotted=dotted if short else groups, tested=short or groups)


def _names_biases(constants: tuple[object, ...] | frozenset[object]) -> bool:
    return any(isinstance(one, str) and one.strip(".") == "bias" for one in constants)


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
