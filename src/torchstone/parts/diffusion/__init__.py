"""Diffusion as PyTorch objects: schedules, consistent paths, losses of three predictions, samplers, configurations, denoisers."""

from torchstone.parts.diffusion.config import diffusion_config, diffusion_from_config, read_scheduler, write_scheduler
from torchstone.parts.diffusion.networks import DenoisingMLP, UNet
from torchstone.parts.diffusion.paths import noisy_pair, noisy_path
from torchstone.parts.diffusion.process import GaussianDiffusion, sample_by_ratio
from torchstone.parts.diffusion.schedule import NoiseSchedule
from torchstone.parts.diffusion.steps import reverse_step, step_weights, visited_steps
from torchstone.parts.diffusion.targets import Estimates, estimates, min_snr_weights

__all__ = [
    "DenoisingMLP",
    "Estimates",
    "GaussianDiffusion",
    "NoiseSchedule",
    "UNet",
    "diffusion_config",
    "diffusion_from_config",
    "estimates",
    "min_snr_weights",
    "noisy_pair",
    "noisy_path",
    "read_scheduler",
    "reverse_step",
    "sample_by_ratio",
    "step_weights",
    "visited_steps",
    "write_scheduler",
]
