r"""Adapters beside their base and beside peft and loralib; MAML beside a loop over tasks and plain torch.func.

One thread, CPU time, interleaved; "again" is the first column a second time: how far two equal runs lie apart. A ratio is the time
over the first column's.

Adapters: three linear layers (query, key, value) with r = 8, alpha = 16, float32. A training step is forward, backward (inputs too,
as inside a network) and fused AdamW on what trains. MAML: sinusoids' network 1-40-40-1 with rectifiers, 10 examples, 25 tasks,
meta-gradient only; Reptile sees the same support data.

The peers are no dependencies: a missing one is skipped. To have them,

    pip install --no-deps -c constraints.txt --target peers peft transformers accelerate huggingface_hub regex psutil \
        requests loralib
    PYTHONPATH=peers python benchmarks/adaptation.py            # the tables; --quick for fewer rounds
"""

import argparse
import copy
import importlib
import importlib.util
import statistics
import warnings
from collections.abc import Callable
from typing import Any

import torch
from timing import Act, interleaved, ratio
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from torchstone.parts import MAML, Reptile, add_lora, merge_lora

NAMES, RANK, ALPHA = ("q", "k", "v"), 8, 16
SHAPES = ((1024, 64), (512, 256), (1024, 1))  # width, batch
TASKS, EXAMPLES, RATE = 25, 10, 0.01


class Projections(nn.Module):
    """Query, key and value of one input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in NAMES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three of them."""
        return self.q(x), self.k(x), self.v(x)


def with_peft(base: nn.Module) -> nn.Module | None:
    """The base with peft's adapters, or None without peft."""
    if importlib.util.find_spec("peft") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft: Any = importlib.import_module("peft")
        model: nn.Module = peft.inject_adapter_in_model(peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(NAMES)), base)
    return model


def with_loralib(base: nn.Module) -> nn.Module | None:
    """The base with loralib's layers, or None without it."""
    if importlib.util.find_spec("loralib") is None:
        return None
    loralib: Any = importlib.import_module("loralib")
    for name in NAMES:
        layer = getattr(base, name)
        made = loralib.Linear(layer.in_features, layer.out_features, r=RANK, lora_alpha=ALPHA)
        made.load_state_dict(layer.state_dict(), strict=False)
        setattr(base, name, made)
    loralib.mark_only_lora_as_trainable(base)
    return base


def models(width: int) -> dict[str, nn.Module]:
    """The base twice, and with everybody's adapters, training."""
    base = Projections(width)
    found = {
        "base": base,
        "again": copy.deepcopy(base),
        "ours": add_lora(copy.deepcopy(base), list(NAMES), RANK, ALPHA),
        "peft": with_peft(copy.deepcopy(base)),
        "loralib": with_loralib(copy.deepcopy(base)),
    }
    return {name: model for name, model in found.items() if model is not None}


def forward(model: nn.Module, x: Tensor) -> Act:
    """One forward with a graph."""
    return lambda: model(x)


def training(model: nn.Module, x: Tensor) -> Act:
    """One step: forward, backward, fused AdamW."""
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-4, fused=True)
    inputs = x.clone().requires_grad_()

    def act() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack([one.square().mean() for one in model(inputs)]).sum())
        optimizer.step()

    return act


def row(acts: dict[str, Act], rounds: int) -> str:
    """The first one's milliseconds, then everyone's time over it."""
    seconds = interleaved(acts, rounds)
    first = next(iter(acts))
    cells = [ratio(times, seconds[first]) for name, times in seconds.items() if name != first]
    return " | ".join([f"{1e3 * statistics.median(seconds[first]):.2f}", *cells])


def adapters(rounds: int) -> None:
    """The tables of adapters: forward, and training step."""
    kinds: tuple[tuple[str, Callable[[nn.Module, Tensor], Act]], ...] = (("forward", forward), ("training step", training))
    for what, act in kinds:
        for number, (width, batch) in enumerate(SHAPES):
            made, x = models(width), torch.randn(batch, width)
            if what == "forward":
                merged = merge_lora(add_lora(copy.deepcopy(made["base"]), list(NAMES), RANK, ALPHA).eval())
                made["ours, merged"] = merged
            if not number:
                print(f"\n| {what}: width, batch | base ms | {' | '.join(list(made)[1:])} |\n|---|---|{'---|' * (len(made) - 1)}")
            print(f"| {width}, {batch} | {row({name: act(model, x) for name, model in made.items()}, rounds)} |", flush=True)


def network() -> nn.Sequential:
    """The sinusoids' network."""
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))


def by_loop(model: nn.Module, steps: int, *data: Tensor) -> Tensor:
    """MAML's loss as its algorithm is written: task after task."""
    losses = []
    for x, y, u, v in zip(*data, strict=True):
        own: dict[str, Tensor] = dict(model.named_parameters())
        for _ in range(steps):
            loss = functional.mse_loss(functional_call(model, own, (x,)), y)
            gradients = torch.autograd.grad(loss, list(own.values()), create_graph=True)
            own = {name: one - RATE * g for (name, one), g in zip(own.items(), gradients, strict=True)}
        losses.append(functional.mse_loss(functional_call(model, own, (u,)), v))
    return torch.stack(losses).mean()


def by_vmap(model: nn.Module, steps: int, *data: Tensor) -> Tensor:
    """MAML's loss by torch.func: vmap of grad of functional_call."""

    def loss(own: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(functional_call(model, own, (x,)), y)

    own = {name: one.expand(TASKS, *one.shape) for name, one in model.named_parameters()}
    for _ in range(steps):
        gradients = vmap(grad(loss))(own, *data[:2])
        own = {name: one - RATE * gradients[name] for name, one in own.items()}
    found: Tensor = vmap(loss)(own, *data[2:]).mean()
    return found


def meta(rounds: int) -> None:
    """The table of meta-gradients."""
    columns = ["again", "torch.func", "loop", "first order", "Reptile"]
    print(f"\n| inner steps | MAML ms | {' | '.join(columns)} | worst difference to the loop |")
    print(f"|---|---|{'---|' * (len(columns) + 1)}")
    for steps in (1, 5, 10):
        model, data = network(), [torch.randn(TASKS, EXAMPLES, 1) for _ in range(4)]
        parameters = list(model.parameters())
        ours, first = (MAML(model, inner_lr=RATE, inner_steps=steps, first_order=order) for order in (False, True))
        reptile = Reptile(model, inner_lr=RATE, inner_steps=steps)

        def gradient(loss: Callable[[], Tensor], wanted: list[nn.Parameter] = parameters) -> Callable[[], tuple[Tensor, ...]]:
            return lambda: torch.autograd.grad(loss(), wanted)

        acts: dict[str, Callable[[], Any]] = {
            "ours": gradient(lambda maml=ours, data=data: maml(*data)),  # type: ignore[misc]
            "again": gradient(lambda maml=ours, data=data: maml(*data)),  # type: ignore[misc]
            "torch.func": gradient(lambda model=model, data=data, steps=steps: by_vmap(model, steps, *data)),  # type: ignore[misc]
            "loop": gradient(lambda model=model, data=data, steps=steps: by_loop(model, steps, *data)),  # type: ignore[misc]
            "first order": gradient(lambda maml=first, data=data: maml(*data)),  # type: ignore[misc]
            "Reptile": lambda reptile=reptile, data=data: reptile.backward(*data[:2]),  # type: ignore[misc]
        }
        pairs = zip(acts["ours"](), acts["loop"](), strict=True)
        off = max((one - other).abs().max().item() for one, other in pairs)
        print(f"| {steps} | {row(acts, rounds)} | {off:.1e} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, CPU time; ratios: median (quartiles)")
    adapters(15 if quick else 101)
    meta(7 if quick else 31)


if __name__ == "__main__":
    main()
