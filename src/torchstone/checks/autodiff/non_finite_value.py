"""A loss, gradient or parameter became NaN or infinite.

## What it holds
`autodiff.non_finite_values`: finite inputs give finite values, except at a pole or by overflow. Held on every loss
that a backward pass starts from, on gradients and parameters at sampled steps.

## Why it matters
One such value reaches every parameter in one step, and the run is over whatever it prints afterwards. torch's anomaly mode
names the operation whose *backward* first returned NaN, which is rarely where the value was born.

## Example
```python
import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(64, 4)
counts = torch.poisson(inputs[:, :1].exp())
model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1), nn.ReLU())
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(20):
    optimizer.zero_grad()
    rates = model(inputs)
    surprise = rates - counts * torch.log(rates)
    loss = surprise.mean()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 9 held, 0 undecided          example.py · 20 steps · N s · loss nan → 0.8135
✗ non-finite-value   example.py:12
  the loss is nan at step 0
  predicted  0 values that are not finite
  measured   the loss is nan at step 0 (example.py:14)
  why        born in step 0: log at example.py:12 gave an infinity from 64x1 in [0, 0.5889]; it shows at example.py:13 as mean
  remedy tried keep the logarithm's input at or above 1e-6   1 → 0   law holds   N× time
               x.clamp_min(1e-6)  # in log at example.py:12   loss at step 19: 0.8135 -> 0.8135
  explain: torchstone explain non-finite-value
```

## Remedy
The script is run again and every operation of the step is watched, to name the one whose finite inputs first gave a
value that is not. What is tried then depends on it: keep the input of a logarithm, root or division off its pole, that
of an exponential in range; where the arithmetic is regular and values have simply grown, clip the gradient or take a
tenth of the learning rate.

## Silent when
Infinities are put in on purpose (attention masks) and stay inside the forward pass; a script sees a bad loss and skips the
backward pass; a gradient scaler skips a step.

## Limits
The place is found by running again: it needs a script that repeats itself (seeded, or unseeded through random, numpy or
torch). Models compiled by torch.compile are probed uncompiled.

## Sources
IEEE 754-2019, section 7; Griewank and Walther 2008, section 2.1; torch.autograd.detect_anomaly.
"""

from collections.abc import Iterator, Sequence

from torchstone.core.events import NonFiniteSeen, ParameterSeen, RunEnded
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import NonFiniteBorn
from torchstone.core.quantity import Quantity, Unit
from torchstone.core.recording import Recording
from torchstone.laws import autodiff

NAME = "non-finite-value"
CODE = "TS104"
LAWS = ("autodiff.non_finite_values",)
SINCE = "0.1"

# Inputs this large come from growth, and holding growth back may help; at smaller ones it cannot.
_GROWN = 1e4
_OVERFLOWING = {"exp", "exp2", "expm1", "sinh", "cosh"}
Guard = tuple[str, dict[str, object], str]
_LOG: Guard = ("keep the logarithm's input at or above 1e-6", {"low": 1e-6}, "x.clamp_min(1e-6)")
_ROOT: Guard = ("keep the root's input at or above 1e-12", {"low": 1e-12}, "x.clamp_min(1e-12)")
_EXP: Guard = ("keep the exponent at or below 30", {"high": 30.0}, "x.clamp_max(30)")
_WIDE: Guard = ("keep the input within 30", {"low": -30.0, "high": 30.0}, "x.clamp(-30, 30)")
_UNIT: Guard = ("keep the input within (-1, 1)", {"low": -1 + 1e-6, "high": 1 - 1e-6}, "x.clamp(-1 + 1e-6, 1 - 1e-6)")
_GUARDS: dict[str, Guard] = {
    "log": _LOG, "log2": _LOG, "log10": _LOG, "sqrt": _ROOT, "rsqrt": _ROOT, "exp": _EXP, "expm1": _EXP, "exp2": _EXP,
    "sinh": _WIDE, "cosh": _WIDE, "acos": _UNIT, "asin": _UNIT, "atanh": _UNIT,
    "arccos": _UNIT, "arcsin": _UNIT, "arctanh": _UNIT,
    "log1p": ("keep the input above -1", {"low": -1 + 1e-6}, "x.clamp_min(-1 + 1e-6)"),
    "logit": ("keep the chance within (0, 1)", {"low": 1e-6, "high": 1 - 1e-6}, "x.clamp(1e-6, 1 - 1e-6)"),
    "div": ("keep the divisor off 0", {"divisor": 1e-6}, "a / (b + 1e-6)"),
    "reciprocal": ("keep the divisor off 0", {"offset": 1e-6}, "1 / (x + 1e-6)"),
    "norm": ("keep the norm's argument off 0", {"offset": 1e-6}, "(x + 1e-6).norm()"),
    "vector_norm": ("keep the norm's argument off 0", {"offset": 1e-6}, "torch.linalg.vector_norm(x + 1e-6)"),
    "softmax": ("let no row be masked everywhere", {"finite_rows": True}, "mask = mask & ~mask.all(-1, keepdim=True)"),
}


def hold(recording: Recording) -> Iterator[Evidence]:
    """The run as a whole: no value that training starts from is anything but finite."""
    if recording.ended is None and not recording.steps and recording.first(NonFiniteSeen) is None:
        return
    if not recording.steps and recording.first(NonFiniteSeen) is None and not _passes(recording):
        return
    seen = recording.first(NonFiniteSeen)
    measured = 1 if seen is not None else 0
    yield Evidence(
        LAWS[0], _site(recording), Quantity(autodiff.non_finite_values(0), Unit.COUNT), Quantity(measured, Unit.COUNT),
        how="backward hook",
    )


def _passes(recording: Recording) -> int:
    ended = recording.first(RunEnded)
    return ended.backward_passes if ended else 0


def _site(recording: Recording) -> Site:
    born = recording.first(NonFiniteBorn)
    if born is not None:
        return Site(born.module, born.place.file, born.place.line, born.step, "train")
    seen = recording.first(NonFiniteSeen)
    if seen is None:
        return Site()
    return Site(_named(recording, seen), seen.place.file, seen.place.line, seen.step, "train")


def _named(recording: Recording, seen: NonFiniteSeen) -> str:
    if seen.what == "loss":
        return ""
    parameter = next((p for p in recording.of(ParameterSeen) if str(p.parameter) == seen.name), None)
    return parameter.names[0] if parameter and parameter.names else ""


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding: where the value was born if a probe found it, else where it was first seen."""
    seen, born = recording.first(NonFiniteSeen), recording.first(NonFiniteBorn)
    if seen is None:
        return
    what = f"the {seen.what} is {seen.value}"
    if seen.what != "loss":
        what = f"the {seen.what} of {_named(recording, seen) or 'a parameter'} is not finite"
    yield Finding(
        NAME, CODE, Severity.ERROR, f"{what} at step {seen.step}", tuple(broken),
        message=_story(seen, born),
        predicted_as="0 values that are not finite",
        measured_as=f"{what} at step {seen.step}" + (f" ({seen.place})" if seen.place else ""),
    )


def _story(seen: NonFiniteSeen, born: NonFiniteBorn | None) -> str:
    if born is None:
        return f"first seen in the {seen.what}; where it was born has not been probed, or did not repeat"
    given = f" from {', '.join(born.inputs)}" if born.inputs else ""
    origin = {
        "forward": f"{born.operation} at {born.place} gave {born.value}{given}",
        "backward": f"the backward of {born.operation} at {born.place} gave {born.value}; its forward pass was finite{given}",
        "update": f"the update of {born.operation} at {born.place} made a parameter {born.value} from finite gradients",
        "data": f"{born.value} came in with the data: {born.operation} at {born.place}",
        "parameter": f"{born.operation} was {born.value} before the step began",
    }[born.kind]
    shows = f"; it shows at {born.shows_at} as {born.shows_in}" if born.shows_in and born.shows_at != born.place else ""
    return f"born in step {born.step}: {origin}{shows}"


def probe(finding: Finding, recording: Recording) -> Probe | None:
    """Watch every operation of the step in which it was seen, and of the one before."""
    del finding
    seen = recording.first(NonFiniteSeen)
    return Probe("non-finite", seen.step) if seen is not None and recording.first(NonFiniteBorn) is None else None


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Guard the operation that gave birth; where there is no pole, hold the growth back."""
    del finding
    born = recording.first(NonFiniteBorn)
    if born is None or born.kind in {"data", "parameter"}:
        return ()
    guarded: list[Change] = []
    if born.operation in _GUARDS and born.kind in {"forward", "backward"}:
        title, bounds, patch = _GUARDS[born.operation]
        place: dict[str, object] = {"operation": born.operation, "file": born.place.file, "line": born.place.line}
        patch = f"{patch}  # in {born.operation} at {born.place}"
        guarded.append(Change("guard-input", title, patch, {**place, **bounds}))
    has_grown = born.largest >= _GROWN or born.operation in _OVERFLOWING or born.kind == "update"
    if born.step > 0 and has_grown:
        guarded.append(
            Change(
                "clip-gradients", "clip the gradient norm at 1",
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before step()", {"norm": 1.0},
            )
        )
        guarded.append(
            Change("scale-learning-rate", "take a tenth of the learning rate", "lr = 0.1 * lr", {"factor": 0.1})
        )
    return guarded


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to do where nothing can be executed."""
    del finding
    born = recording.first(NonFiniteBorn)
    if born is None:
        return "the place was not found, so there is nothing to change yet; seed every generator and check again"
    if born.kind == "data":
        return "the data itself holds it: drop or repair those rows where they are read"
    usual = "a negative base under a fractional power, a row without any kept element, a product of large values"
    return f"look at {born.operation} at {born.place}: nothing that fits it can be tried from outside (usual causes: {usual})"
