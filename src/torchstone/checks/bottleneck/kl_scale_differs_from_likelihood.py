"""A variational loss whose divergence and likelihood are reduced in different ways: one is summed where the other is averaged.

## What it holds
`bottleneck.kl_mean_gradient`: at the weight of the likelihood the divergence pulls a mean mu by mu. The pull that does not come
through the drawn code is measured in one step of a second run, against the weight of one number of the reconstruction's loss.
Broken only where their ratio is a size of the tensors in play: the numbers of a sample, of a code, of the batch.

## Why it matters
A sum of one and a mean of the other is a hidden factor, often 784 or 20. Codes that are pulled too little say nothing about the
prior that samples are drawn from; codes that are pulled too much collapse, and every reconstruction is the same blur.

## Example
```python
import torch
from torch import nn
from torch.nn import functional

torch.manual_seed(0)
encoder, decoder = nn.Linear(64, 12), nn.Linear(6, 64)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
for _ in range(20):
    x = (torch.rand(32, 64) > 0.5).float()
    mu, logvar = encoder(x).chunk(2, dim=1)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    likelihood = functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
    kl = -0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp())
    loss = likelihood + kl
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 12 held, 0 undecided          example.py · 20 steps · N s · loss 1548 → 1467
! kl-scale-differs-from-likelihood   example.py:13
  the divergence is averaged where the likelihood is summed
  predicted  1: both summed over a sample, and divided by the same number
  measured   0.005208: the divergence is divided by the 32 x 6 latents of the batch
  why        the divergence pulls every mean mu of the code drawn at example.py:11 with weight 0.005208, and each number of the reconstruction counts 1 in binary_cross_entropy_with_logits at example.py:12: a ratio of 0.005208, which is 1 over the 32 x 6 latents of the batch
  remedy tried count the likelihood 0.005208 times: the ratio of two sums   0.005208 value → 1 value   law holds   N× time
               kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()  # summed like the likelihood, divided by the same number   loss at step 19: 1467 -> 7.752
  explain: torchstone explain kl-scale-differs-from-likelihood
```

## Remedy
Sum both over the numbers of a sample and average both over the batch. Tried by scaling the likelihood, which makes the same ratio.

## Silent when
Both are summed over a sample; a weight is declared (beta, annealing): a factor that is no size, and without a mean() that
explains it one below 32 or of two digits.

## Limits
Means of both over their own sizes are left undecided, and so are priors other than N(0, 1), codes in several levels, and
likelihoods other than squared errors and binary cross-entropies. Squared errors count as normal likelihoods of variance 1 or 1/2.

## Sources
Kingma and Welling 2014, appendix B; pytorch/examples issues 290 and 294; Higgins et al. 2017 (beta).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchstone.checks.random_draws import LOOK, may_have_codes
from torchstone.core.evidence import Evidence, Site
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import LatentsSeen
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws import bottleneck

NAME = "kl-scale-differs-from-likelihood"
CODE = "TS181"
LAWS = ("bottleneck.kl_mean_gradient",)
SINCE = "0.2"

_ROUNDINGS = 4096  # of the sums behind both weights
_LARGE = 32  # factors below it are declared as weights by many: only a mean() that was seen makes them a reduction
_FEWEST = 2  # latents or numbers of a sample: of one, sum and mean are the same


@dataclass(frozen=True)
class _Size:
    """A ratio of weights that a reduction makes. explained: a mean that was seen takes it over just so many numbers."""

    ratio: float
    said: str
    explained: bool = False


def look(recording: Recording) -> Probe | None:
    """Where codes may be drawn beside a reconstruction."""
    return LOOK if may_have_codes(recording) else None


def _sizes(event: LatentsSeen) -> Iterator[_Size]:
    samples, latents, elements = event.samples, event.latents, event.elements
    mean = event.reduction == "mean"
    over = set(event.averaged)
    yield _Size(1 / elements, f"the {elements} numbers of a sample")
    yield _Size(1 / (samples * elements), f"the {samples} x {elements} numbers of the batch")
    # A mean over the batch is in nearly every loss: alone it explains nothing, where it has the size of something else least of all.
    by_latents = samples * latents in over or (latents in over and latents != samples)
    yield _Size(1 / latents, f"the {latents} latents", by_latents)
    yield _Size(1 / (samples * latents), f"the {samples} x {latents} latents of the batch", samples * latents in over)
    if any(abs(event.likelihood_weight - whole) <= _tolerance(event) for whole in (1.0, 0.5)):  # of the whole batch, undivided
        yield _Size(1 / samples, f"the {samples} samples of the batch", samples in over)
    yield _Size(elements, f"the {elements} numbers of a sample", mean)
    if samples not in over:
        yield _Size(samples * elements, f"the {samples} x {elements} numbers of the batch", mean)


def _by_division(ratio: float, tolerance: float) -> bool:
    """Whether no person would have typed it as a weight: a large factor of more than two digits."""
    return max(ratio, 1 / ratio) >= _LARGE and all(abs(float(f"{one:.2g}") - one) > tolerance * one for one in (ratio, 1 / ratio))


def _tolerance(event: LatentsSeen) -> float:
    return _ROUNDINGS * event.resolution


def _matched(event: LatentsSeen) -> tuple[float, _Size | None]:
    """The ratio of the weights (halved where squared errors are taken whole), and the size that it is."""
    ratio, allowed = event.kl_weight / event.likelihood_weight, _tolerance(event)
    scales = (1.0, 0.5) if event.squared else (1.0,)
    for scale in scales:
        if abs(ratio * scale - 1) <= allowed:
            return ratio * scale, None
    for scale in scales:
        for size in _sizes(event):
            if abs(ratio * scale / size.ratio - 1) <= allowed and (size.explained or _by_division(ratio, allowed)):
                return ratio * scale, size
    return ratio, None


def _undecided(event: LatentsSeen) -> str:
    if event.reason:
        return event.reason
    if min(event.latents, event.elements, event.samples) < _FEWEST:
        return "of a single number, sum and mean are the same"
    if not (event.kl_weight > 0 and event.likelihood_weight > 0 and math.isfinite(event.kl_weight)):
        return "no pull towards the prior was measured"
    if event.residual > math.sqrt(_tolerance(event)):
        return f"{format_number(event.residual)} of the pull on the means is not towards N(0, 1)"
    ratio, size = _matched(event)
    if size is None and abs(ratio - 1) > _tolerance(event):
        return f"a weight of {format_number(ratio)} is no size of these tensors: a declared one"
    return ""


def _site(event: LatentsSeen) -> Site:
    return Site("", event.averaged_at.file or event.place.file, event.averaged_at.line or event.place.line, event.step, "train")


def hold(recording: Recording) -> Iterator[Evidence]:
    """The code of the step that was looked at."""
    for event in recording.of(LatentsSeen):
        reason = _undecided(event)
        predicted = Quantity(bottleneck.kl_mean_gradient(1.0), Unit.VALUE)
        measured = None if event.likelihood_weight <= 0 else Quantity(_matched(event)[0], Unit.VALUE)
        tolerance = Tolerance(rounding=Amount(_tolerance(event), f"{_ROUNDINGS} roundings at eps {event.resolution:.2g}"))
        how = "gradient of the loss by mu, less that through the drawn code, second run"
        yield Evidence(LAWS[0], _site(event), predicted, measured, tolerance, how=how, reason=reason)


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for the code of the run."""
    for event in recording.of(LatentsSeen):
        size = _matched(event)[1] if event.likelihood_weight > 0 else None
        if size is None or not broken:
            continue
        main = broken[0]
        measured = main.measured.value if main.measured else 0.0
        summed, averaged = ("likelihood", "divergence") if measured < 1 else ("divergence", "likelihood")
        yield Finding(
            NAME, CODE, Severity.WARNING, f"the {averaged} is averaged where the {summed} is summed", (main,),
            message=f"the divergence pulls every mean mu of the code drawn at {event.place} with weight"
            f" {format_number(event.kl_weight)}, and each number of the reconstruction counts {format_number(event.likelihood_weight)}"
            f" in {event.function} at {event.likelihood}: a ratio of {format_number(measured)}, which is"
            f" {'1 over ' if measured < 1 else ''}{size.said}",
            predicted_as="1: both summed over a sample, and divided by the same number",
            measured_as=f"{format_number(measured)}: the {averaged} is divided by {size.said}",
        )
        return


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Scale the likelihood so that both count alike, where its function can be reached."""
    event = next(iter(recording.of(LatentsSeen)), None)
    if event is None or event.function == "square" or finding.main.measured is None:
        return ()
    ratio = finding.main.measured.value
    place = {"file": event.likelihood.file, "line": event.likelihood.line, "function": event.function}
    patch = (
        "kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()  # summed like the likelihood, divided by the same number"
        if ratio < 1
        else 'reduction="sum"  # of the likelihood, divided by the number of samples if the divergence is'
    )
    title = f"count the likelihood {format_number(ratio)} times: the ratio of two sums"
    return [Change("scale-loss", title, patch, {**place, "factor": ratio})]


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to write instead."""
    del finding, recording
    return "sum the errors and the divergence over the numbers of a sample, and divide both by the number of samples"
