"""Noise of a diffusion that is not standard normal, or is not the noise that the loss is against.

## What it holds
`diffusion.noise_moments`: e of z = sqrt(alpha) x + sqrt(1-alpha) e has mean 0 and variance 1. `diffusion.noise_agreement`: the noise that the loss is against is the noise that was mixed in. Held on the numbers of one
step of a second run, where factors with squares that add up to 1 mix data with one random draw.

## Why it matters
Sampling begins with standard normal noise. A network that was trained with uniform noise (`rand_like`) has never seen its like, and
no number of training steps repairs that; a network asked for noise that it was not shown can only answer with its mean, 0.

## Example
```python
import torch
from torch import nn
from torch.nn import functional

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(17, 64), nn.SiLU(), nn.Linear(64, 16))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
data = torch.randn(512, 16).clamp(-1, 1)
alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), dim=0)
for batch in data.split(64):
    t = torch.randint(0, 1000, (len(batch),))
    noise = torch.rand_like(batch)
    a = alphas[t].unsqueeze(1)
    noisy = a.sqrt() * batch + (1 - a).sqrt() * noise
    loss = functional.mse_loss(net(torch.cat([noisy, t[:, None] / 1000], dim=1)), noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 2 laws broken, 10 held, 0 undecided          example.py · 8 steps · N s · loss 0.3607 → 0.2716
✗ noise-not-standard-normal   example.py:12
  the noise of the diffusion is not standard normal
  predicted  mean 0 and variance 1
  measured   mean 0.5135 and variance 0.08796
  why        rand_like at example.py:12 draws noise of mean 0.5135 and variance 0.08796, over 1024 numbers; it is mixed in at example.py:14 by factors whose squares add up to 1, so sampling begins with noise of mean 0 and variance 1, which the network never sees
  remedy tried standard normal noise   0.5135 value → 0.04677 value   law holds   N× time
               noise = torch.randn_like(x)  # standard normal, where rand_like is uniform over [0, 1)   loss at step 7: 0.2716 -> 0.9875
  explain: torchstone explain noise-not-standard-normal
```

## Remedy
Draw the noise with randn_like (tried at the line that draws it), once, and give the same tensor to the mixture and to the loss.

## Silent when
Noise is the sum of several draws (offset noise, input perturbation), the factors do not keep the variance (flow matching,
variance-exploding noise), or one number of noise and data is all that there is.

## Limits
Normal noise of another variance is left undecided, as it may be scaled back elsewhere; one draw that a whole batch shares is not told.
Draws outside torch are not seen.

## Sources
Ho et al. 2020, equation 4 and algorithm 1.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.checks.random_draws import LOOK, may_have_noise
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import NoiseMixed
from torchstone.core.place import Place
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws.diffusion import noising

NAME = "noise-not-standard-normal"
CODE = "TS182"
LAWS = ("diffusion.noise_moments", "diffusion.noise_agreement")
SINCE = "0.2"

_ERRORS = 6.0  # standard errors: one in a thousand million looks is beyond them by chance
_PRESERVED = 1e-3  # how far the squares of the factors may add up from 1: tables in half precision
_UNIFORM = {"rand", "rand_like", "uniform"}
_FEWEST = 64  # numbers of noise: of fewer, moments say little


def look(recording: Recording) -> Probe | None:
    """Where noise may be mixed in."""
    return LOOK if may_have_noise(recording) else None


def _noisings(recording: Recording) -> Iterator[NoiseMixed]:
    yield from (one for one in recording.of(NoiseMixed) if one.preserving <= _PRESERVED and one.samples * one.elements >= _FEWEST)


def _site(place: Place, event: NoiseMixed) -> Site:
    return Site("", place.file, place.line, event.step, "train")


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every mixture of the step that was looked at: mean of its noise, draws of its own, and the noise of the loss."""
    mean, variance, _ = noising.noise_moments()
    for event in _noisings(recording):
        count = event.draws * event.elements
        error = Tolerance(sampling=Amount(_ERRORS / math.sqrt(count), f"{_ERRORS:g} standard errors of {count} numbers"))
        how, drawn = "numbers of one step, second run", _site(event.drawn, event)
        yield Evidence(LAWS[0], drawn, Quantity(mean, Unit.VALUE), Quantity(event.mean, Unit.VALUE), error, how=how)
        spread = Tolerance(sampling=Amount(_ERRORS * math.sqrt(2 / count), f"{_ERRORS:g} standard errors of {count} numbers"))
        off = abs(event.variance - variance) > spread.total and event.function not in _UNIFORM
        reason = "normal noise of another variance may be scaled back elsewhere" if off else ""
        yield Evidence(LAWS[0], drawn, Quantity(variance, Unit.VALUE), Quantity(event.variance, Unit.VALUE), spread, how=how, reason=reason)
        if event.agreement is not None:
            least = Tolerance(sampling=Amount(0.5, "a draw that is no part of the mixture has a correlation of about 0, one that is has 1"))
            agreed, found = Quantity(noising.noise_agreement(), Unit.RATIO), Quantity(event.agreement, Unit.RATIO)
            yield Evidence(LAWS[1], _site(event.loss, event), agreed, found, least, how=how)


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for the noise of the run: what it is against leads only where the draw itself is right."""
    moments = [one for one in broken if one.law == LAWS[0]]
    for event in _noisings(recording):
        if moments:
            yield Finding(
                NAME, CODE, Severity.ERROR, "the noise of the diffusion is not standard normal", tuple(moments),
                message=f"{event.function} at {event.drawn} draws noise of mean {format_number(event.mean)} and variance"
                f" {format_number(event.variance)}, over {event.draws * event.elements} numbers; it is mixed in at {event.place} by factors"
                " whose squares add up to 1, so sampling begins with noise of mean 0 and variance 1, which the network never sees",
                predicted_as="mean 0 and variance 1",
                measured_as=f"mean {format_number(event.mean)} and variance {format_number(event.variance)}",
            )
        elif broken:
            agreement = event.agreement or 0.0
            yield Finding(
                NAME, CODE, Severity.ERROR, "the loss is against noise that was not mixed in", tuple(broken),
                message=f"the noise drawn at {event.drawn} is mixed into the data at {event.place}, and the loss at {event.loss} is against"
                f" another draw, of {event.target}: their correlation is {format_number(agreement)}, so the best prediction is 0"
                " whatever the input",
                predicted_as="a correlation of 1: one draw for both",
                measured_as=f"a correlation of {format_number(agreement)}",
            )
        return


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Draw standard normal noise at the same line."""
    event = next(_noisings(recording), None)
    if event is None or finding.main.law != LAWS[0] or event.function not in _UNIFORM:
        return ()
    place: dict[str, object] = {"file": event.drawn.file, "line": event.drawn.line, "function": event.function}
    patch = "noise = torch.randn_like(x)  # standard normal, where rand_like is uniform over [0, 1)"
    return [Change("normal-draw", "standard normal noise", patch, place)]


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to write instead."""
    del recording
    if finding.main.law == LAWS[1]:
        return "draw the noise once, and give the same tensor to the mixture and to the loss"
    return "draw the noise with torch.randn_like(x)"
