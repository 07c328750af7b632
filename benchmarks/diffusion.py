"""Noise added to images, and the steps of a sampler, beside diffusers: CPU time of one thread.

diffusers is a peer, never a dependency: pip install --no-deps --target peers -c constraints.txt diffusers and what it imports
(huggingface_hub filelock importlib_metadata zipp httpx pillow urllib3 certifi charset_normalizer idna anyio httpcore h11 tqdm),
then PYTHONPATH=peers. Where it is missing its formula is restated line by line, and the table says so.

A ratio is how many times the peer's time each takes, median (quartiles); "again" is the peer a second time, the A/A control.
"without network" are the sampler's own steps: the network returns its input.

    python benchmarks/diffusion.py            # the tables
    python benchmarks/diffusion.py --quick    # fewer rounds
"""

import argparse
import importlib
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timing import Act, interleaved, ratio
from torch import Tensor

from torchstone.parts.diffusion import GaussianDiffusion, NoiseSchedule, UNet

SHAPES = ((64, 3, 32, 32), (8, 4, 64, 64), (128, 1, 8, 8))
STEPS = 50


class Restated:
    """diffusers 0.42.1's add_noise, copied line by line, for a machine without it."""

    def __init__(self) -> None:
        self.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)

    def add_noise(self, samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Tables converted, indexed and rooted in every call; two products and a sum over the images."""
        self.alphas_cumprod = self.alphas_cumprod.to(device=samples.device)
        alphas = self.alphas_cumprod.to(dtype=samples.dtype)
        timesteps = timesteps.to(samples.device)
        signal = (alphas[timesteps] ** 0.5).flatten()
        while len(signal.shape) < len(samples.shape):
            signal = signal.unsqueeze(-1)
        deviation = ((1 - alphas[timesteps]) ** 0.5).flatten()
        while len(deviation.shape) < len(samples.shape):
            deviation = deviation.unsqueeze(-1)
        return signal * samples + deviation * noise


def peers() -> tuple[Any, Any] | None:
    """The peer's ancestral and deterministic scheduler, or nothing."""
    try:
        found = importlib.import_module("diffusers")
    except ImportError as error:
        print(f"diffusers is not here ({error}): its add_noise is restated, samplers are left out\n")
        return None
    print(f"diffusers {found.__version__}\n")
    return found.DDPMScheduler(clip_sample=False), found.DDIMScheduler(clip_sample=False)


def times(acts: dict[str, Act], peer: str, rounds: int, repeat: int) -> tuple[float, str]:
    """Milliseconds of the peer, and everything else over it."""

    def repeated(act: Act) -> Act:
        def run() -> None:
            for _ in range(repeat):
                act()

        return run

    seconds = interleaved({name: repeated(act) for name, act in acts.items()}, rounds)
    cells = ", ".join(f"{name} {ratio(seconds[name], seconds[peer])}" for name in acts if name != peer)
    return 1e3 * statistics.median(seconds[peer]) / repeat, cells


def noising(peer: Any, rounds: int) -> None:
    """A row a shape and type."""
    schedule = NoiseSchedule.linear()
    print("| add_noise | type | peer ms | times the peer |\n|---|---|---|---|")
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            sample, noise = torch.randn(2, *shape).to(dtype)
            timesteps = torch.randint(1000, shape[:1])
            theirs, ours = peer.add_noise(sample, noise, timesteps), schedule.add_noise(sample, noise, timesteps)
            assert (theirs - ours).abs().max() < 64 * torch.finfo(dtype).eps
            acts: dict[str, Act] = {name: partial(peer.add_noise, sample, noise, timesteps) for name in ("peer", "again")}
            acts["ours"] = partial(schedule.add_noise, sample, noise, timesteps)
            milliseconds, cells = times(acts, "peer", rounds, 20)
            name = str(dtype).removeprefix("torch.")
            print(f"| {'x'.join(map(str, shape))} | {name} | {milliseconds:.3f} | {cells} |", flush=True)


def theirs_sampled(scheduler: Any, network: Callable[[Tensor, Tensor], Tensor], noise: Tensor) -> Tensor:
    """The peer's loop as its pipelines write it."""
    scheduler.set_timesteps(STEPS)
    image = noise
    with torch.no_grad():
        for step in scheduler.timesteps:
            predicted = network(image, step.expand(len(image)))
            image = scheduler.step(predicted, step, image).prev_sample
    return image


def sampling(schedulers: tuple[Any, Any], rounds: int) -> None:
    """A row a sampler and network."""
    diffusion = GaussianDiffusion(NoiseSchedule.linear(), spacing="leading")
    unet = UNet(1, 32).eval()
    print(f"\n| {STEPS} steps of 16x1x16x16 | network | peer ms | times the peer |\n|---|---|---|---|")
    noise = torch.randn(16, 1, 16, 16)
    for name, scheduler, stochasticity in (("ancestral", schedulers[0], 1.0), ("deterministic", schedulers[1], 0.0)):
        networks: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"without network": lambda z, _: z, "U-Net": unet}
        for title, network in networks.items():
            if not stochasticity:
                theirs = theirs_sampled(scheduler, network, noise)
                ours = diffusion.sample(network, noise, steps=STEPS, stochasticity=0.0)
                assert torch.allclose(theirs, ours, rtol=1e-3, atol=1e-3), (theirs - ours).abs().max()
            acts: dict[str, Act] = {each: partial(theirs_sampled, scheduler, network, noise) for each in ("peer", "again")}
            acts["ours"] = partial(diffusion.sample, network, noise, steps=STEPS, stochasticity=stochasticity)
            milliseconds, cells = times(acts, "peer", rounds if title != "U-Net" else max(3, rounds // 4), 1)
            print(f"| {name} | {title} | {milliseconds:.1f} | {cells} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 9 if parser.parse_args().quick else 41
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, CPU time; times the peer's: median (quartiles)")
    found = peers()
    noising(found[0] if found else Restated(), rounds)
    if found:
        sampling(found, rounds)


if __name__ == "__main__":
    main()
