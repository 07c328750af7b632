"""Changes of a run, executed at the watcher's own moments. Runs in the child, after torch is imported."""

import functools
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor

from torchstone.core.errors import InvariantError
from torchstone.core.events import ChangeApplied, Place
from torchstone.core.finding import Change
from torchstone.record import measure
from torchstone.record.hooks import Function, replace
from torchstone.record.intervention import Intervention
from torchstone.record.plan import Plan
from torchstone.record.source import user_place
from torchstone.record.watcher import Watcher
from torchstone.remedy.probes import GradientCutProbe, NonFiniteProbe

Arguments = Mapping[str, object]


class _Applied(Intervention):
    """An intervention that says once that it took effect."""

    def __init__(self, kind: str, arguments: Arguments) -> None:
        self.kind, self.arguments = kind, arguments
        self._said = False

    def applied(self, watcher: Watcher, detail: str = "") -> None:
        if not self._said:
            self._said = True
            watcher.writer.add(ChangeApplied(self.kind, detail, watcher.step), always=True)


class ScaleParameters(_Applied):
    """Multiply parameters before the first forward pass: the same draw with another standard deviation."""

    def model_seen(self, watcher: Watcher) -> None:
        """Scale them as soon as their model is known."""
        self._scale(watcher, [_numbered(watcher, number) for number in _list(self.arguments["numbers"])])

    def optimizer_built(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Weights in no module are known by their place in the optimizer."""
        given = [p for group in optimizer.param_groups for p in group["params"]]
        places = [_int(place) for place in _list(self.arguments.get("places"))]
        if places and max(places) < len(given):
            self._scale(watcher, [given[place] for place in places])

    def _scale(self, watcher: Watcher, found: list[Tensor | None]) -> None:
        if self._said or any(parameter is None for parameter in found):
            return
        with measure.unseen():
            for parameter, factor in zip(found, _list(self.arguments["factors"]), strict=True):
                if parameter is not None:
                    parameter.mul_(_float(factor))
        self.applied(watcher, f"{len(found)} tensors")


class PassLogits(_Applied):
    """Hand a loss the logarithm of the probabilities it was given: logits, up to a constant of each row."""

    _watcher: Watcher | None = None

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Remember whom to tell."""
        del stack
        self._watcher = watcher

    def loss_input(self, function: str, value: Tensor, place: Place) -> Tensor:
        """The logits, at the call that the finding names."""
        wanted = Place(str(self.arguments["file"]), _int(self.arguments["line"]))
        if function != self.arguments["function"] or place != wanted:
            return value
        if self._watcher is not None:
            self.applied(self._watcher, str(place))
        tiny = torch.finfo(value.dtype).eps ** 2 if value.dtype in {torch.float32, torch.float64} else 1e-7
        return torch.logit(value, eps=1e-6) if function == "binary_cross_entropy_with_logits" else value.clamp_min(tiny).log()


class ClearGradients(_Applied):
    """Clear an optimizer's gradients before the first backward pass after each of its steps."""

    def __init__(self, kind: str, arguments: Arguments) -> None:
        super().__init__(kind, arguments)
        self._cleared_for = 0

    def before_backward(self, watcher: Watcher) -> None:
        """Clear, once a step."""
        for followed in watcher.optimizers.all():
            optimizer = followed.optimizer()
            if followed.number == self.arguments["optimizer"] and optimizer is not None and followed.steps != self._cleared_for:
                self._cleared_for = followed.steps
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.grad = None
                self.applied(watcher)


class ClipGradients(_Applied):
    """Clip the norm of an optimizer's gradients before every step."""

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Clip."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, _float(self.arguments["norm"]))
        self.applied(watcher)


class ScaleLearningRate(_Applied):
    """Step with a scaled learning rate; the script's own schedule goes on underneath."""

    def __init__(self, kind: str, arguments: Arguments) -> None:
        super().__init__(kind, arguments)
        self._kept: list[tuple[dict[str, object], object]] = []

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Scale for this step."""
        for group in optimizer.param_groups:
            self._kept.append((group, group["lr"]))
            group["lr"] = group["lr"] * _float(self.arguments["factor"])
        self.applied(watcher)

    def after_step(self, watcher: Watcher) -> None:
        """Put back what the schedule knows of."""
        del watcher
        for group, rate in self._kept:
            group["lr"] = rate
        self._kept.clear()


class AddParameters(_Applied):
    """Give the optimizer parameters that it lacks, from its first step on."""

    def before_step(self, watcher: Watcher, optimizer: torch.optim.Optimizer) -> None:
        """Add them as a group with the optimizer's defaults."""
        watcher.emit(watcher.models.refresh(watcher.step))
        watcher.learn_reached()
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        found = [_numbered(watcher, number) for number in _list(self.arguments["numbers"])]
        missing = [p for p in found if p is not None and id(p) not in held and p.requires_grad]
        if missing and not self._said:
            options = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
            optimizer.add_param_group({**options, "params": missing})
            self.applied(watcher, f"{len(missing)} tensors")


class GuardInput(_Applied):
    """Keep the input of one operation, at one line of the user's, off its pole or out of overflow."""

    def install(self, watcher: Watcher, stack: ExitStack) -> None:
        """Wrap every spelling of the operation."""
        name = str(self.arguments["operation"])
        for holder, attribute in _spellings(name):
            replace(stack, holder, attribute, functools.partial(self._wrapped, watcher))

    def _wrapped(self, watcher: Watcher, original: Function) -> Function:
        wanted = Place(str(self.arguments["file"]), _int(self.arguments["line"]))

        def guarded(*arguments: object, **options: object) -> object:
            if torch.compiler.is_compiling() or user_place(2) != wanted:
                return original(*arguments, **options)
            self.applied(watcher, str(wanted))
            return self._call(original, arguments, options)

        return guarded

    def _call(self, original: Function, arguments: tuple[object, ...], options: dict[str, object]) -> object:
        given = self.arguments
        first, *rest = arguments
        if isinstance(first, Tensor):
            if "low" in given or "high" in given:
                first = first.clamp(min=_optional(given.get("low")), max=_optional(given.get("high")))
            if "offset" in given:
                first = first + _float(given["offset"])
        if "divisor" in given and rest and isinstance(rest[0], Tensor):
            rest[0] = rest[0] + _float(given["divisor"])
        result = original(first, *rest, **options)
        return torch.nan_to_num(result) if "finite_rows" in given and isinstance(result, Tensor) else result


def _spellings(name: str) -> list[tuple[object, str]]:
    special = {"div": ["div", "true_divide", "__truediv__"], "reciprocal": ["reciprocal", "__rtruediv__"]}
    names = special.get(name, [name])
    holders: list[object] = [torch, torch.Tensor, torch.nn.functional, torch.linalg]
    return [(holder, spelled) for spelled in names for holder in holders if hasattr(holder, spelled)]


def _numbered(watcher: Watcher, number: object) -> Tensor | None:
    known = watcher.models.parameters
    index = _int(number)
    return known[index]() if index < len(known) else None


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _float(value: object) -> float:
    return float(value)  # type: ignore[arg-type] # a plan's arguments are plain JSON


def _int(value: object) -> int:
    return int(value)  # type: ignore[call-overload, no-any-return]


def _optional(value: object) -> float | None:
    return None if value is None else _float(value)


_KINDS: dict[str, Callable[[str, Arguments], Intervention]] = {
    "scale-parameters": ScaleParameters,
    "pass-logits": PassLogits,
    "clear-gradients": ClearGradients,
    "clip-gradients": ClipGradients,
    "scale-learning-rate": ScaleLearningRate,
    "add-parameters": AddParameters,
    "guard-input": GuardInput,
}


def build(plan: Plan) -> list[Intervention]:
    """The interventions of a plan: its changes, and its probe."""
    found = [_of(change) for change in plan.changes]
    if plan.probe is not None:
        kinds: dict[str, Callable[[int], Intervention]] = {"non-finite": NonFiniteProbe, "gradient-cut": GradientCutProbe}
        found.append(kinds[plan.probe.kind](plan.probe.step))
    return found


def _of(change: Change) -> Intervention:
    if change.kind not in _KINDS:
        message = f"no intervention is named {change.kind!r}; known: {', '.join(_KINDS)}"
        raise InvariantError(message)
    return _KINDS[change.kind](change.kind, change.arguments)
