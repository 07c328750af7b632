"""Which modules an adapter stands beside: names, endings or a pattern, with peft's meaning, and the settings of each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from torchstone.core.errors import UsageError
from torchstone.parts.adaptation.lora import check_settings, is_adaptable

ALL_LINEAR = "all-linear"
_SHOWN = 12
Names = str | Sequence[str]
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Settings:
    """Settings of a model's adapters under peft's names, but `rank` for r, `alpha` for lora_alpha, `dropout` for lora_dropout."""

    rank: int
    alpha: float
    dropout: float
    target_modules: Names
    exclude_modules: Names | None = None
    layers_to_transform: int | Sequence[int] | None = None
    layers_pattern: Names | None = None
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    use_rslora: bool = False
    base_model_name_or_path: str | None = None

    def __post_init__(self) -> None:
        check_settings(self.rank, self.alpha, self.dropout)
        self._check_names()
        for name in ("rank_pattern", "alpha_pattern"):
            if not isinstance(getattr(self, name), Mapping):
                message = f"{name} has one number for each pattern of module names; {getattr(self, name)!r} came"
                raise UsageError(message)
        for rank in self.rank_pattern.values():
            check_settings(rank, None, 0.0)
        for alpha in self.alpha_pattern.values():
            check_settings(1, alpha, 0.0)

    def _check_names(self) -> None:
        for name in ("target_modules", "exclude_modules", "layers_pattern"):
            given = getattr(self, name)
            listed = isinstance(given, list | tuple | set) and all(isinstance(x, str) for x in given)
            if not (given is None or isinstance(given, str) or listed):
                message = f"{name} is a pattern or a list of module names; {given!r} came"
                raise UsageError(message)
        if not self.target_modules:
            message = "target_modules names no module; give names, endings such as ['q_proj', 'v_proj'], a pattern, or 'all-linear'"
            raise UsageError(message)
        layers = self.layers_to_transform
        if not (layers is None or _whole(layers) or (isinstance(layers, list | tuple) and all(_whole(x) for x in layers))):
            message = f"layers_to_transform is the number of a layer or a list of them; {layers!r} came"
            raise UsageError(message)

    def of(self, name: str) -> tuple[int, float]:
        """Rank and alpha of the module of that name."""
        return _by_pattern(self.rank_pattern, name, self.rank), _by_pattern(self.alpha_pattern, name, self.alpha)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _by_pattern(patterns: Mapping[str, Number], name: str, otherwise: Number) -> Number:
    """The number of the first pattern that matches the end of a module's name."""
    return next((number for pattern, number in patterns.items() if _matches(rf"(.*\.)?({pattern})", name)), otherwise)


def _matches(pattern: str, name: str) -> re.Match[str] | None:
    try:
        return re.fullmatch(pattern, name)
    except re.error as error:
        message = f"{pattern!r} is no pattern of module names ({error}); write a regular expression or a list of names"
        raise UsageError(message) from error


def _named(names: Names, name: str) -> bool:
    if isinstance(names, str):
        return _matches(names, name) is not None
    return any(name == one or name.endswith(f".{one}") for one in names)


def _in_layers(settings: Settings, name: str) -> bool:
    """Whether a module lies in a layer of `layers_to_transform`; the first number in its name is the layer's."""
    layers = settings.layers_to_transform
    if layers is None or isinstance(settings.target_modules, str) or name in settings.target_modules:
        return True
    numbers = [layers] if isinstance(layers, int) else list(layers)
    patterns = [settings.layers_pattern] if isinstance(settings.layers_pattern, str) else list(settings.layers_pattern or ())
    # Without a pattern peft wants a name before the list of layers; a model that begins with its layers is meant as well here.
    tried = [rf"(?:^|.*?\.){one}\.(\d+)\." for one in patterns if one] or [r".*?\.[^.]*\.(\d+)\.", r"[^.]*\.(\d+)\."]
    found = next((match for pattern in tried if (match := re.match(pattern, name))), None)
    return not numbers or (found is not None and int(found[1]) in numbers)


def targets(model: nn.Module, settings: Settings) -> dict[str, nn.Module]:
    """The modules of a model that the settings mean, by name.

    Raises UsageError if there is none, or one that no adapter can stand beside.
    """
    found = dict(_meant(model, settings))
    if not found:
        linear = [name for name, module in model.named_modules() if is_adaptable(module)]
        shown = ", ".join(linear[:_SHOWN]) + ", …" * (len(linear) > _SHOWN)
        known = f"its linear layers are {shown}" if linear else "it has no linear layer"
        message = f"target_modules {_listed(settings.target_modules)} name no module of this {type(model).__name__}; {known}"
        raise UsageError(message)
    for name, module in found.items():
        if not is_adaptable(module):
            message = f"{name} is a {type(module).__name__}, not an nn.Linear or a Conv1D; leave it out of target_modules"
            raise UsageError(message)
    return found


def _meant(model: nn.Module, settings: Settings) -> Iterator[tuple[str, nn.Module]]:
    head = _output_embedding(model)
    for name, module in model.named_modules():
        if settings.exclude_modules and _named(settings.exclude_modules, name):
            continue
        if settings.target_modules == ALL_LINEAR:
            if is_adaptable(module) and module is not head:
                yield name, module
        elif _named(settings.target_modules, name) and _in_layers(settings, name):
            yield name, module


def _output_embedding(model: nn.Module) -> object:
    """The head of a transformers model, which 'all-linear' leaves out as peft does."""
    ask = getattr(model, "get_output_embeddings", None)
    return ask() if callable(ask) else None


def _listed(names: Names) -> str:
    return repr(names) if isinstance(names, str) else ", ".join(map(repr, sorted(names)))
