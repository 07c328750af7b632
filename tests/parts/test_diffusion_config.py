"""scheduler_config.json as diffusers writes it: there and back, what is not understood, and a disk that fills up."""

import json
from pathlib import Path

import pytest
import torch

from torchstone.core.errors import UsageError
from torchstone.parts.diffusion import (
    GaussianDiffusion,
    NoiseSchedule,
    diffusion_config,
    diffusion_from_config,
    read_scheduler,
    write_scheduler,
)

PLAIN = NoiseSchedule.linear(100, 1e-3, 0.1)
ZERO = PLAIN.zero_terminal_snr()
ROWS = 20_000


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=source(seed), dtype=dtype)


CONFIGS = [
    {},
    {"_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1", "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction",
     "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "num_train_timesteps": 500},
    {"beta_schedule": "squaredcos_cap_v2", "variance_type": "fixed_large", "clip_sample_range": 3},
    {"beta_schedule": "sigmoid", "variance_type": "fixed_small_log", "timestep_spacing": "linspace"},
    {"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3},
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS)
def test_a_configuration_comes_back_as_it_was_written(config, tmp_path):
    one = diffusion_from_config(config)
    deterministic = config.get("_class_name") == "DDIMScheduler"
    assert write_scheduler(one, tmp_path, deterministic=deterministic) == tmp_path / "scheduler_config.json"
    other = read_scheduler(tmp_path)
    assert torch.allclose(one.schedule.alphas, other.schedule.alphas, rtol=1e-10, atol=0)
    assert (one.schedule.unscaled is None) is (other.schedule.unscaled is None)
    names = ("prediction", "variance", "clip", "spacing", "offset", "final_alpha_one")
    assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    assert [file.name for file in tmp_path.iterdir()] == ["scheduler_config.json"]


@pytest.mark.parametrize(("config", "says"), [
    ({"beta_shedule": "linear"}, "has the field 'beta_shedule', which is not supported; did you mean 'beta_schedule'?"),
    ({"use_karras_sigmas": True}, "has the field 'use_karras_sigmas', which is not supported"),
    ({"_class_name": "EulerDiscreteScheduler"}, "of DDPMScheduler and DDIMScheduler are read; _class_name 'EulerDiscreteScheduler' came"),
    ({"beta_schedule": "laplace"}, "beta_schedule is one of linear, scaled_linear, sigmoid, squaredcos_cap_v2 here; 'laplace' came"),
    ({"variance_type": "learned_range"}, "variance_type is one of fixed_small, fixed_small_log, fixed_large here; 'learned_range' came"),
    ({"prediction_type": "flow"}, "prediction_type is one of epsilon, sample, v_prediction here; 'flow' came"),
    ({"prediction_type": None}, "None came"),
    ({"thresholding": True}, "dynamic thresholding is not supported"),
    ({"rescale_betas_zero_snr": True}, "epsilon says nothing"),
    ({"beta_end": 1.5}, "start=0.0001 and end=1.5 came"),
    ({"beta_end": "big"}, "beta_end is a number; 'big' came"),
    ({"num_train_timesteps": True}, "num_train_timesteps is of type int; True came"),
    ({"clip_sample": 1}, "clip_sample is of type bool; 1 came"),
    ({"trained_betas": [0.1, 2.0], "num_train_timesteps": 2}, "betas[1] is 2"),
    ({"trained_betas": [0.1]}, "trained_betas has num_train_timesteps = 1000 numbers; 1 came"),
    ({"trained_betas": "0.1"}, "trained_betas is a list of numbers or null; str came"),
    ({"steps_offset": 2000}, "leave the table of 1000"),
])  # fmt: skip
def test_a_configuration_that_is_not_understood_is_refused(config, says, tmp_path):
    (tmp_path / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError) as told:
        read_scheduler(tmp_path)
    assert says in str(told.value) and "scheduler_config.json" in str(told.value) and "\n" not in str(told.value)


def test_files_that_cannot_be_read_or_written_are_told(tmp_path):
    file = tmp_path / "scheduler_config.json"
    for text in ("{", "[]", "\x00"):
        file.write_text(text)
        with pytest.raises(UsageError, match=r"scheduler_config\.json"):
            read_scheduler(file)
    with pytest.raises(UsageError, match="no scheduler configuration that can be read"):
        read_scheduler(tmp_path / "missing.json")
    with pytest.raises(UsageError, match="cannot be written"):
        write_scheduler(GaussianDiffusion(PLAIN), tmp_path / "no" / "such" / "folder.json")


def test_a_full_disk_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    file = write_scheduler(GaussianDiffusion(PLAIN), tmp_path)
    before = file.read_bytes()

    def full(path, text, **_):
        path.write_bytes(text.encode()[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="No space left on device; what was there is as it was"):
        write_scheduler(GaussianDiffusion(ZERO, "sample"), tmp_path)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_what_diffusers_does_not_know_is_not_written():
    for made, says in (
        (GaussianDiffusion(PLAIN, spacing="noise_to_signal"), "timestep_spacing is one of"),
        (GaussianDiffusion(PLAIN, final_alpha_one=False), "DDPMScheduler always ends at alpha = 1"),
        (GaussianDiffusion(NoiseSchedule.from_alphas([0.5, 0.0]), "sample"), "zero terminal SNR by rescaling only"),
    ):
        with pytest.raises(UsageError, match=says):
            diffusion_config(made)
