"""Where a second look for codes and noise is worth its time: random numbers drawn in every step, and a loss that fits."""

from torchstone.core.events import BackwardCalled, LossComputed
from torchstone.core.finding import Probe
from torchstone.core.recording import Recording
from torchstone.core.steps import StepTaken

LOOK = Probe("latents", 1)  # the first step whose own draws are told apart from what was drawn to begin with
_DEVIATIONS = {"exp", "softplus", "sqrt"}
_RECONSTRUCTIONS = {"mseloss", "binarycrossentropy", "binarycrossentropywithlogits", "pow"}
_REGRESSIONS = {"mseloss", "l1loss", "smoothl1loss", "huberloss", "pow"}
_NEAR = 0.25  # how far the moments of a target may lie from those of noise: what is drawn is measured by the look


def _operations(recording: Recording) -> set[str]:
    """What the losses of the first steps are made of; empty unless random numbers were drawn between steps."""
    passes = recording.of(BackwardCalled)
    if not any(one.drawn for one in passes) or len(recording.of(StepTaken)) < 2:  # noqa: PLR2004 - the look is at the second
        return set()
    return {counted.operation for one in passes for counted in one.operations}


def may_have_codes(recording: Recording) -> bool:
    """Whether a loss may hold a code z = mu + sigma e and a reconstruction."""
    found = _operations(recording)
    return bool(found & _DEVIATIONS and found & _RECONSTRUCTIONS and "mul" in found and found & {"add", "addcmul"})


def may_have_posteriors(recording: Recording) -> bool:
    """Whether a loss may hold a code z = mu + sigma e, whatever it is decoded to."""
    found = _operations(recording)
    return bool(found & _DEVIATIONS and "mul" in found and found & {"add", "addcmul"})


def may_have_noise(recording: Recording) -> bool:
    """Whether a loss may be a regression against noise: its target's moments are those of noise, or were not seen."""
    if not _operations(recording) & _REGRESSIONS:
        return False
    seen = [one for one in recording.of(LossComputed) if one.function == "mse_loss" and one.target_variance is not None]
    return not seen or any(_like_noise(one.target_mean or 0.0, one.target_variance or 0.0) for one in seen)


def _like_noise(mean: float, variance: float) -> bool:
    """Near standard normal, or near uniform over [0, 1]."""
    return (abs(mean) < _NEAR and abs(variance - 1) < _NEAR) or (abs(mean - 0.5) < _NEAR / 2 and abs(variance - 1 / 12) < _NEAR / 6)
