"""A schedule of noise that ends while much of the data is left, so that sampling begins where training never was.

## What it holds
`diffusion.start_divergence`: a table that leaves alpha of the data at its last step ends -ln(1-alpha)/2 nats a number away from the
standard normal noise that sampling begins with. Held on the table that the factors of the data were looked up in, in a second run;
broken only beyond ten times what Stable Diffusion's own table leaves.

## Why it matters
The network never sees pure noise while it is trained, yet sampling shows it nothing else first: samples are washed out, with
brightness near the middle, however well the loss went down. The usual cause are betas for 1000 steps in a table of fewer.

## Example
```python
import torch
from torch import nn
from torch.nn import functional

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(17, 64), nn.SiLU(), nn.Linear(64, 16))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
data = torch.randn(512, 16).clamp(-1, 1)
alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 100), dim=0)
for batch in data.split(64):
    t = torch.randint(0, 100, (len(batch),))
    noise = torch.randn_like(batch)
    a = alphas[t].unsqueeze(1)
    noisy = a.sqrt() * batch + (1 - a).sqrt() * noise
    loss = functional.mse_loss(net(torch.cat([noisy, t[:, None] / 100], dim=1)), noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 11 held, 0 undecided          example.py · 8 steps · N s · loss 1.077 → 0.9986
! schedule-does-not-reach-noise   example.py:14
  the schedule ends before the data have become noise
  predicted  0 nats from standard normal noise at the last step
  measured   0.2259 nats a number, with alpha = 0.3636 at step 100
  why        at the last of 100 steps alpha = 0.3636 of the data is left: 0.603 of every value is still in what is mixed at example.py:14, and sampling begins without any of it; the linear schedule of 1000 steps leaves 4e-05, Stable Diffusion's 0.0047
  remedy tried end at alpha = 4e-05: 10 times the noise in every step   0.2259 nats → 2.018e-05 nats   law holds   N× time
               betas = torch.linspace(1e-4, 0.02, 100) * 1000 / 100  # the same noise in all, in 100 steps   loss at step 7: 0.9986 -> 0.9793
  explain: torchstone explain schedule-does-not-reach-noise
```

## Remedy
Scale the betas by 1000 over the number of steps, or take the cosine schedule; tried by raising the table to the power at
which it ends where the linear schedule of 1000 steps does.

## Silent when
The table ends in noise as widely used ones do: DDPM's linear and cosine tables, Stable Diffusion's. Factors that no table was seen
for, or that do not keep the variance (flow matching, variance-exploding noise).

## Limits
Whether all of the table is visited is not asked. A model that is meant for partly noised data only (SDEdit, refinement) is told
as well: ignore the finding there. Up to ten times what Stable Diffusion's table leaves it is undecided.

## Sources
Lin et al. 2024, Common Diffusion Noise Schedules and Sample Steps Are Flawed; Ho et al. 2020, section 4; diffusers' schedules.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.checks.random_draws import LOOK, may_have_noise
from torchstone.core.evidence import Evidence, Relation, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import NoiseMixed
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws.diffusion import noising, schedule

NAME = "schedule-does-not-reach-noise"
CODE = "TS183"
LAWS = ("diffusion.start_divergence",)
SINCE = "0.2"

_PRESERVED = 1e-3  # how far the squares of the factors may add up from 1: tables in half precision
_STABLE_DIFFUSION = schedule.alpha(schedule.scaled_linear_betas(1000, 0.00085, 0.012))
_DDPM = schedule.alpha(schedule.linear_betas(1000, 1e-4, 0.02))
_BEYOND = 10.0  # times what a table leaves that is sampled from well: below it, samples suffer little
_SHORTEST = 10  # steps of a table: of fewer, each is a level of its own


def look(recording: Recording) -> Probe | None:
    """Where noise may be mixed in."""
    return LOOK if may_have_noise(recording) else None


def _tables(recording: Recording) -> Iterator[NoiseMixed]:
    for event in recording.of(NoiseMixed):
        if event.preserving <= _PRESERVED and event.steps >= _SHORTEST and event.terminal < 1 and event.loss:
            yield event


def hold(recording: Recording) -> Iterator[Evidence]:
    """Every table of the step that was looked at."""
    known = noising.start_divergence(_STABLE_DIFFUSION)
    for event in _tables(recording):
        left = noising.start_divergence(event.terminal)
        said = f"Stable Diffusion's table leaves alpha = {_STABLE_DIFFUSION:.4f}, and is sampled from"
        reason = f"between {format_number(known)} nats ({said}) and {_BEYOND:g} times as many" if known < left <= _BEYOND * known else ""
        yield Evidence(
            LAWS[0], Site("", event.place.file, event.place.line, event.step, "train"), Quantity(0.0, Unit.NATS), Quantity(left, Unit.NATS),
            Tolerance(model=Amount(known, said)), Relation.AT_MOST, "table of the factors, second run", reason,
        )


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for the table of the run."""
    for event in _tables(recording):
        if broken and event.place.line == broken[0].site.line:
            root = math.sqrt(event.terminal)
            yield Finding(
                NAME, CODE, Severity.WARNING, "the schedule ends before the data have become noise", tuple(broken),
                message=f"at the last of {event.steps} steps alpha = {format_number(event.terminal)} of the data is left:"
                f" {format_number(root)} of every value is still in what is mixed at {event.place}, and sampling begins without any of it;"
                f" the linear schedule of 1000 steps leaves {_DDPM:.1g}, Stable Diffusion's {_STABLE_DIFFUSION:.2g}",
                predicted_as="0 nats from standard normal noise at the last step",
                measured_as=f"{format_number(broken[0].measured.value if broken[0].measured else 0.0)} nats a number,"
                f" with alpha = {format_number(event.terminal)} at step {event.steps}",
            )
            return


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """End where the linear schedule of 1000 steps ends."""
    del finding
    event = next(_tables(recording), None)
    if event is None or not 0 < event.terminal < 1:
        return ()
    power = math.log(_DDPM) / math.log(event.terminal)
    patch = f"betas = torch.linspace(1e-4, 0.02, {event.steps}) * 1000 / {event.steps}  # the same noise in all, in {event.steps} steps"
    given: dict[str, object] = {"steps": event.steps, "terminal": event.terminal, "power": power}
    return [Change("lower-table", f"end at alpha = {_DDPM:.1g}: {format_number(power)} times the noise in every step", patch, given)]


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to write instead."""
    del finding, recording
    return "scale the betas by 1000 over the number of steps, or take the cosine schedule"
