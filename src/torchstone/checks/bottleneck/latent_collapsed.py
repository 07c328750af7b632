"""A latent code that has collapsed onto its prior: it says nothing of its sample, and the decoder has stopped asking.

## What it holds
`bottleneck.nats_needed` (Fano): to guess even one bit of the input with fewer than 45 % errors, codes need 0.005 nats of divergence
from any common prior. Held at the end of a second run, on one batch; broken only where `bottleneck.best_divergence` says that the
decoder's slopes ask for less than that, too, so that neither of the two teaches the other.

## Why it matters
The model is a decoder of noise that it ignores. Samples and losses look plausible (a language model is one without a code as well),
but codes cannot be told apart: nothing can be encoded, interpolated or compared.

## Example
```python
import torch
from torch import nn
from torch.nn import functional

torch.manual_seed(0)
patterns = (torch.rand(10, 36) > 0.5).float()
encoder, decoder = nn.Linear(36, 16), nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 36))
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
for _ in range(200):
    x = patterns[torch.randint(10, (64,))]
    mu, logvar = encoder(x).chunk(2, dim=1)
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    likelihood = functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(1)
    kl = 0.5 * (mu.pow(2) + logvar.exp() - logvar - 1).sum(1)
    loss = (likelihood + 50 * kl).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
```

## Report
```text
1 finding: 1 law broken, 17 held, 1 undecided          example.py · 200 steps · N s · loss 62.43 → 23.16
! latent-collapsed   example.py:12
  the latent code has collapsed onto its prior
  predicted  0.005008 nats or more: what guessing a bit with fewer than 45 % errors takes
  measured   2.872e-05 nats at step 199
  why        over 64 samples the 8 latents drawn at example.py:12 diverge from N(0, 1) by 3.996e-05 nats (0.454 at step 1), so a bit of the input is guessed from them with at least 50 % errors; the decoder asks for no more: the best code for its slopes has 5.438e-05 nats (0.00011 at step 1)
  remedy tried leave 0.69 nats a latent free   2.872e-05 nats → 3.916 nats   law holds   N× time
               kl = kl_by_latent.mean(0).clamp(min=0.69).sum()  # free bits: no pull below one bit each   loss at step 199: 23.16 -> 205.5
  remedy tried count the divergence 0.02 times   2.872e-05 nats → 4.763 nats   law holds   N× time
               loss = likelihood + 0.02 * kl  # beta   loss at step 199: 23.16 -> 244.3
  remedy tried count the divergence from 0 up over the first 100 steps   2.872e-05 nats → 9.672e-05 nats   law still broken   N× time
               loss = likelihood + min(1, step / 100) * kl  # annealing   loss at step 199: 23.16 -> 23.18
  explain: torchstone explain latent-collapsed
? undecided: a weight of 50 is no size of these tensors: a declared one   example.py:12
· the script was stopped after 200 optimizer steps (--steps; --steps all runs it to its end)
```

## Remedy
Let the divergence count from 0 up over the first half of the steps (annealing), leave some nats a unit free, or give it the
weight at which a code was worth one bit to the decoder. Each is tried; one counts where codes tell something at the same step, and
the loss besides the divergence is 2 % lower. The loss shown is the script's own, with its own weight of the divergence.

## Silent when
Some units are dead and others are not; the decoder's slopes still ask for a code (training has not come so far); codes still tell
more than a hundredth of what they told at first, or have told nothing for less than half of the run; the divergence's weight
changes; nothing pulls them towards N(0, 1) (policies, noise layers, free bits that are not used up).

## Limits
Runs of 48 steps or more, batches of 8 samples or more. Learned and conditional priors, and divergences that are estimated from the
draw, are undecided; so are collapsed levels of a hierarchy beside others that are not. What the decoder asks is to first order in the code.

## Sources
Bowman et al. 2016, sections 3.1 and 4; Kingma et al. 2016, appendix C.8 (free bits); Lucas et al. 2019, Don't Blame the ELBO; Fano 1961.
"""

import math
from collections.abc import Iterator, Sequence

from torchstone.checks.bottleneck import kl_scale_differs_from_likelihood as scale
from torchstone.checks.progress import MATERIAL
from torchstone.checks.random_draws import may_have_posteriors
from torchstone.core.events import ChangeApplied
from torchstone.core.evidence import Evidence, Relation, Site, Verdict
from torchstone.core.finding import Change, Finding, Probe, Severity
from torchstone.core.looks import CodesHeld
from torchstone.core.quantity import Amount, Quantity, Tolerance, Unit, format_number
from torchstone.core.recording import Recording
from torchstone.laws import bottleneck

NAME = "latent-collapsed"
CODE = "TS180"
LAWS = ("bottleneck.nats_needed",)
SINCE = "0.2"

_CHANGE = "weigh-divergence"
_GUESSED = 0.45  # errors at one bit of the input, of 0.5 by chance: who knows nine tenths of nothing knows nothing
_FEWEST = 48  # steps: quarters of a dozen, and a decoder that has had some to learn in
_SAMPLES = 8  # of a batch: of n of them no code tells more than ln n nats, here three bits
_FALLEN = 100.0  # times: what is to grow again has a share in what there was at first, and shows before all else is that small
_GROWN = 4.0  # times as many nats as before, twice the amplitude: what is on its way out of collapse
_ALIKE = 0.01  # share by which the divergence's weight may differ, and be the same
_ROUNDINGS = 4096  # of the sums behind both weights


def look(recording: Recording) -> Probe | None:
    """The end of a run in which codes may be drawn, where it is long enough for them to have collapsed."""
    return Probe("collapse", recording.steps - 1) if recording.steps >= _FEWEST and may_have_posteriors(recording) else None


def _least() -> float:
    return bottleneck.nats_needed(_GUESSED, 2)


def _asked(code: CodesHeld) -> float:
    """The nats of the code that would be the best for the decoder as it is."""
    return bottleneck.best_divergence(code.slope, code.weight) if code.weight > 0 else math.inf


def _ended(recording: Recording) -> list[CodesHeld]:
    """The codes of the last step that was looked at, if the look got as far as the run's end."""
    held = recording.of(CodesHeld)
    return [code for code in held if code.step == recording.steps - 1]


def _before(code: CodesHeld, recording: Recording) -> list[CodesHeld]:
    return [one for one in recording.of(CodesHeld) if one.place == code.place and one.step < code.step]


def _cannot_be_held(code: CodesHeld) -> str:
    if code.samples < _SAMPLES:
        return f"{code.samples} samples a batch cannot tell"
    if not (code.weight > 0 and math.isfinite(code.weight) and math.isfinite(code.slope)):
        return "nothing pulls the codes towards N(0, 1)"
    if code.residual > math.sqrt(_ROUNDINGS * code.resolution):
        return f"{format_number(code.residual)} of the pull on the means is not towards N(0, 1)"
    return ""


def _not_yet(code: CodesHeld, recording: Recording) -> str:
    """Why codes that tell nothing at the end may not have collapsed; empty if they have."""
    least, earlier = _least(), _before(code, recording)
    late = [one for one in earlier if one.step >= code.step // 2]
    doubts = {
        f"the decoder still asks for a code, of {format_number(_asked(code))} nats: it may yet be learned": _asked(code) >= least,
        # Half way, and at three quarters.
        "codes were not seen often enough": len({one.step for one in late}) < 2,  # noqa: PLR2004
        "codes told little more at first: nothing has collapsed": all(one.nats < _FALLEN * code.nats for one in earlier),
        "codes have told nothing from the first step on": all(_most(one) < least for one in earlier),
        "codes have told nothing for less than half of the run": any(_most(one) >= least for one in late),
        "what codes tell, or are asked for, has begun to grow": any(_most(code) > _GROWN * _most(one) for one in late),
        "the weight of the divergence changes": any(not _same_weight(code, one) for one in late),
    }
    return next((doubt for doubt, applies in doubts.items() if applies), "")


def _most(code: CodesHeld) -> float:
    """The nats that the codes have, or that the decoder asks of them."""
    return max(code.nats, _asked(code))


def _same_weight(code: CodesHeld, other: CodesHeld) -> bool:
    """Of a sample, or of a batch of another size."""
    ratio = code.weight / other.weight if other.weight > 0 else 0.0
    return any(abs(one - 1) <= _ALIKE for one in (ratio, ratio * code.samples / other.samples))


def _undecided(code: CodesHeld, recording: Recording) -> str:
    reason = _cannot_be_held(code)
    if reason or code.nats >= _least():
        return reason or _of_no_use(code, recording)
    if any(one.verdict is Verdict.BROKEN for one in scale.hold(recording)):
        return f"divergence and likelihood are reduced in different ways: see {scale.NAME}"
    others = [one for one in _ended(recording) if one.place != code.place]
    if any(_cannot_be_held(one) or one.nats >= _least() for one in others):
        return "another code of the same step says something"
    return _not_yet(code, recording)


def _of_no_use(code: CodesHeld, recording: Recording) -> str:
    """Why codes that differ are no help: nothing reads them, or, in a trial, the rest of the loss is no better than without it."""
    if code.told <= 0:
        return "codes differ, and the reconstruction has nothing of it"
    applied = next((one for one in recording.of(ChangeApplied) if one.kind == _CHANGE and one.detail), None)
    without = float(applied.detail) if applied is not None else math.inf
    if without - code.rest < MATERIAL * abs(code.rest):
        return f"codes differ, but the loss besides the divergence is {format_number(code.rest)}, and was {format_number(without)}"
    return ""


def hold(recording: Recording) -> Iterator[Evidence]:
    """The codes of the run's last step."""
    for code in _ended(recording):
        finite = math.isfinite(code.nats)
        measured = Quantity(code.nats, Unit.NATS) if finite else None
        reason = _undecided(code, recording) if finite else "the codes are not finite"
        yield Evidence(
            LAWS[0], Site("", code.place.file, code.place.line, code.step, "train"), Quantity(_least(), Unit.NATS), measured,
            Tolerance(rounding=Amount(_ROUNDINGS * code.resolution, f"{_ROUNDINGS} roundings at eps {code.resolution:.2g}")),
            Relation.AT_LEAST, "moments of one batch's codes, second run", reason,
        )


def explain(broken: Sequence[Evidence], recording: Recording) -> Iterator[Finding]:
    """One finding for the codes of the run."""
    code = next((one for one in _ended(recording) if broken and one.place.line == broken[0].site.line), None)
    if code is None:
        return
    first = _before(code, recording)[0]
    yield Finding(
        NAME, CODE, Severity.WARNING, "the latent code has collapsed onto its prior", tuple(broken),
        message=f"over {code.samples} samples the {code.latents} latents drawn at {code.place} diverge from N(0, 1) by"
        f" {format_number(code.divergence)} nats ({format_number(first.divergence)} at step {first.step}), so a bit of the input is guessed"
        f" from them with at least {100 * bottleneck.least_error(code.nats, 2):.0f} % errors; the decoder asks for no more:"
        f" the best code for its slopes has {format_number(_asked(code))} nats ({format_number(_asked(first))} at step {first.step})",
        predicted_as=f"{format_number(_least())} nats or more: what guessing a bit with fewer than {100 * _GUESSED:.0f} % errors takes",
        measured_as=f"{format_number(code.nats)} nats at step {code.step}",
    )


def changes(finding: Finding, recording: Recording) -> Sequence[Change]:
    """Less pull towards the prior at first, for small divergences, or all along."""
    code = next((one for one in _ended(recording) if one.place.line == finding.main.site.line), None)
    if code is None:
        return ()
    half, free, rest = recording.steps // 2, bottleneck.nats_needed(0.0, 2), f"{code.rest:.7g}"
    found = [
        Change(
            _CHANGE, f"count the divergence from 0 up over the first {half} steps",
            f"loss = likelihood + min(1, step / {half}) * kl  # annealing", {"warmup": half, "rest": rest},
        ),
        Change(
            _CHANGE, f"leave {free:.2g} nats a latent free",
            f"kl = kl_by_latent.mean(0).clamp(min={free:.2g}).sum()  # free bits: no pull below one bit each",
            {"free": free, "rest": rest},
        ),
    ]
    # At this weight the decoder's slopes, at the most seen, asked for a code of one bit.
    factor = float(f"{math.sqrt(max(map(_asked, _before(code, recording))) / free):.1g}")
    if 0 < factor < 1:
        patch = f"loss = likelihood + {factor:g} * kl  # beta"
        found.append(Change(_CHANGE, f"count the divergence {factor:g} times", patch, {"factor": factor, "rest": rest}))
    return found


def why_no_remedy(finding: Finding, recording: Recording) -> str:
    """What to write instead."""
    del finding, recording
    return "let the weight of the divergence grow from 0, leave some nats a latent free, or weaken a decoder that does without the code"
