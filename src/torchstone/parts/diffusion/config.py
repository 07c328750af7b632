"""scheduler_config.json as diffusers reads and writes it, to and from a `GaussianDiffusion`."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torchstone.core.errors import UsageError, meant, told
from torchstone.core.files import whole
from torchstone.laws.diffusion.targets import PREDICTIONS
from torchstone.parts.diffusion.process import GaussianDiffusion
from torchstone.parts.diffusion.schedule import NoiseSchedule

NAME = "scheduler_config.json"
# The fields of diffusers' DDPMScheduler and DDIMScheduler with their defaults.
_FIELDS: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": None,
    "variance_type": "fixed_small", "clip_sample": True, "clip_sample_range": 1.0, "prediction_type": "epsilon",
    "timestep_spacing": "leading", "steps_offset": 0, "rescale_betas_zero_snr": False, "set_alpha_to_one": True,
    "thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0,
}  # fmt: skip
_SCHEDULES: dict[str, Callable[[int, float, float], NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "scaled_linear": NoiseSchedule.scaled_linear,
    "sigmoid": NoiseSchedule.sigmoid,
    "squaredcos_cap_v2": lambda steps, _, __: NoiseSchedule.cosine(steps),
}
# A square root of exp(log variance) is the deviation of fixed_small itself.
_VARIANCES = {"fixed_small": "fixed_small", "fixed_small_log": "fixed_small", "fixed_large": "fixed_large"}
_CHOICES: dict[str, tuple[str, ...]] = {
    "beta_schedule": tuple(_SCHEDULES),
    "variance_type": tuple(_VARIANCES),
    "prediction_type": PREDICTIONS,
    "timestep_spacing": ("leading", "trailing", "linspace"),
}
_CLASSES = ("DDPMScheduler", "DDIMScheduler")


def diffusion_from_config(config: Mapping[str, Any]) -> GaussianDiffusion:
    """The diffusion that a diffusers configuration describes: fields of DDPMScheduler and DDIMScheduler, or their defaults.

    Tables are made in float64 (diffusers' are in float32: 1 - alpha of the first step is 1.7e-4 off there).
    Raises UsageError for a field or a value that is not supported; nothing is ignored in silence.
    """
    kind = config.get("_class_name", _CLASSES[0])
    given = {name: value for name, value in config.items() if not name.startswith("_")}  # diffusers' own notes begin so
    if kind not in _CLASSES:
        message = f"scheduler configurations of {' and '.join(_CLASSES)} are read; _class_name {kind!r} came"
        raise UsageError(message)
    unknown = sorted(set(given) - set(_FIELDS))
    if unknown:
        message = f"the scheduler configuration has the field {unknown[0]!r}, which is not supported{meant(unknown[0], _FIELDS)}"
        raise UsageError(message)
    fields = _FIELDS | given
    _check(fields)
    return GaussianDiffusion(
        _schedule(fields), fields["prediction_type"], variance=_VARIANCES[fields["variance_type"]],
        clip=float(fields["clip_sample_range"]) if fields["clip_sample"] else None, spacing=fields["timestep_spacing"],
        offset=fields["steps_offset"], final_alpha_one=fields["set_alpha_to_one"],
    )  # fmt: skip


def _check(fields: Mapping[str, Any]) -> None:
    for name, choices in _CHOICES.items():
        if fields[name] not in choices:
            message = f"{name} is one of {', '.join(choices)} here; {fields[name]!r} came"
            raise UsageError(message)
    for name, default in _FIELDS.items():
        value, kinds = fields[name], (int, float) if isinstance(default, float) else type(default)
        if default is not None and (not isinstance(value, kinds) or isinstance(value, bool) is not isinstance(default, bool)):
            wanted = "a number" if isinstance(default, float) else f"of type {type(default).__name__}"
            message = f"{name} is {wanted}; {value!r} came"
            raise UsageError(message)
    if fields["thresholding"]:
        message = "dynamic thresholding is not supported: set thresholding to false, or clip_sample to true"
        raise UsageError(message)


def _schedule(fields: Mapping[str, Any]) -> NoiseSchedule:
    betas, steps = fields["trained_betas"], fields["num_train_timesteps"]
    if betas is None:
        made = _SCHEDULES[fields["beta_schedule"]](steps, fields["beta_start"], fields["beta_end"])
    else:
        if not isinstance(betas, list) or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in betas):
            message = f"trained_betas is a list of numbers or null; {type(betas).__name__} came"
            raise UsageError(message)
        if len(betas) != steps:
            message = f"trained_betas has num_train_timesteps = {steps} numbers; {len(betas)} came"
            raise UsageError(message)
        made = NoiseSchedule(betas)
    return made.zero_terminal_snr() if fields["rescale_betas_zero_snr"] else made


def diffusion_config(diffusion: GaussianDiffusion, *, deterministic: bool = False) -> dict[str, Any]:
    """The diffusers configuration of a diffusion: of DDPMScheduler, or of DDIMScheduler where sampling is deterministic.

    The schedule is written as trained_betas, before any rescaling, so that it comes back as it is.
    Raises UsageError for what these schedulers do not know: another spacing, a schedule made with a last alpha of 0.
    """
    before = diffusion.schedule.unscaled or diffusion.schedule
    if before.alphas[-1] == 0:
        message = "diffusers knows zero terminal SNR by rescaling only: write a schedule that zero_terminal_snr() made"
        raise UsageError(message)
    if not deterministic and not diffusion.final_alpha_one:
        message = "DDPMScheduler always ends at alpha = 1: write final_alpha_one=False with deterministic=True"
        raise UsageError(message)
    written = {
        "num_train_timesteps": len(before), "trained_betas": before.betas.tolist(), "prediction_type": diffusion.prediction,
        "clip_sample": diffusion.clip is not None, "clip_sample_range": diffusion.clip or 1.0,
        "timestep_spacing": diffusion.spacing, "steps_offset": diffusion.offset,
        "rescale_betas_zero_snr": diffusion.schedule.unscaled is not None,
    }  # fmt: skip
    own = {"set_alpha_to_one": diffusion.final_alpha_one} if deterministic else {"variance_type": diffusion.variance}
    _check(_FIELDS | written)
    return {"_class_name": _CLASSES[deterministic], **written, **own}


def read_scheduler(path: str | Path) -> GaussianDiffusion:
    """The diffusion of a scheduler_config.json, or of a folder that holds one.

    Raises UsageError where it cannot be read or is not supported.
    """
    file = Path(path)
    file = file / NAME if file.is_dir() else file
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{file} is no scheduler configuration that can be read: {told(error)}"
        raise UsageError(message) from error
    if not isinstance(config, dict):
        message = f"{file} holds no JSON object; {type(config).__name__} came"
        raise UsageError(message)
    try:
        return diffusion_from_config(config)
    except UsageError as error:
        message = f"{file}: {error}"
        raise UsageError(message) from error


def write_scheduler(diffusion: GaussianDiffusion, path: str | Path, *, deterministic: bool = False) -> Path:
    """Write a diffusion's scheduler_config.json, into a folder or to a file: whole or not at all. Gives the file's path.

    Raises UsageError where it cannot be written, or diffusers does not know it.
    """
    text = json.dumps(diffusion_config(diffusion, deterministic=deterministic), indent=2) + "\n"
    file = Path(path)
    file = file / NAME if file.is_dir() else file
    try:
        with whole(file) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{file} cannot be written: {told(error)}; what was there is as it was"
        raise UsageError(message) from error
    return file
