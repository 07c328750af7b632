"""Adapters: at the start the layer itself, merged the same layer, an update of low rank, and gradients that move B first."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchstone.core.evidence import Evidence, Relation
from torchstone.parts.adaptation import LoRA
from torchstone.parts.adaptation.lora import base_weight
from torchstone.proofs.draws import Draws
from torchstone.proofs.experiment import experiment
from torchstone.proofs.holding import held, rounding

Adapt = Callable[..., LoRA]


def _linear(draws: Draws, inside: int, outside: int, dtype: torch.dtype = torch.float64) -> nn.Linear:
    layer = nn.Linear(inside, outside, device="meta", dtype=dtype)
    layer.weight, layer.bias = nn.Parameter(draws.normal(outside, inside).to(dtype)), nn.Parameter(draws.normal(outside).to(dtype))
    return layer


@torch.no_grad()
def _trained(layer: LoRA, draws: Draws) -> LoRA:
    """An adapter with both factors drawn, as after training."""
    layer.lora_A.copy_(draws.normal(*layer.lora_A.shape))
    layer.lora_B.copy_(draws.normal(*layer.lora_B.shape))
    return layer


def _sizes(draws: Draws) -> tuple[int, int, int]:
    return draws.integer(2, 12), draws.integer(2, 12), draws.integer(1, 5)


class _AlphaTimesRank(LoRA):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.scale = self.alpha * self.rank


class _NoScale(LoRA):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.scale = 1.0


def _measured_scale(layer: LoRA, draws: Draws) -> Any:
    """How many times the product of the factors an output has beyond the base's."""
    _trained(layer, draws)
    inputs = draws.normal(layer.in_features)
    added = layer(inputs) - layer.base_layer(inputs)
    product = layer.lora_B @ (layer.lora_A @ inputs)
    return (added @ product) / (product @ product)


@experiment(
    "adaptation.update_scale",
    part=LoRA,
    mutants={
        "alpha times rank": _AlphaTimesRank,
        "no scale": _NoScale,
        "rank-stabilised always": lambda base, rank, alpha, **_: LoRA(base, rank, alpha, use_rslora=True),
        "never rank-stabilised": lambda base, rank, alpha, **_: LoRA(base, rank, alpha),
    },
)
def update_scale(part: Adapt, draws: Draws) -> Iterator[Evidence]:
    """What an output has beyond the base's, over the product of the factors, for both kinds of scale."""
    for number in range(40):
        inside, outside, rank = _sizes(draws)
        alpha, stabilized = draws.uniform(0.5, 20, 1).item(), bool(number % 2)
        layer = part(_linear(draws, inside, outside), rank, alpha, use_rslora=stabilized)
        measured = _measured_scale(layer, draws)
        largest = max(layer.base_layer(draws.normal(inside)).abs().max().item(), 1.0)
        arguments = {"alpha": alpha, "rank": rank, "stabilized": stabilized}
        yield held("adaptation.update_scale", arguments, measured, rounding(1e4 * inside * rank, largest * alpha))


class _MergedWithoutScale(LoRA):
    def merge(self) -> None:
        self.merged_weight = base_weight(self.base_layer) + self.lora_B @ self.lora_A


class _MergedTwice(LoRA):
    def merge(self) -> None:
        self.merged_weight = base_weight(self.base_layer) + 2 * self.update


class _UnmergedByDoubling(LoRA):
    def unmerge(self) -> None:
        if self.merged_weight is not None:
            with torch.no_grad():
                base_weight(self.base_layer).copy_(self.merged_weight)
        self.merged_weight = None


def _effective(layer: LoRA) -> Tensor:
    """The weight that a layer's outputs have: those of unit vectors, less that of zero."""
    with torch.no_grad():
        inputs = torch.eye(layer.in_features, dtype=torch.float64)
        outputs: Tensor = layer(inputs) - layer(torch.zeros_like(inputs))
        return outputs.T


@experiment(
    "adaptation.adapted_weight",
    part=LoRA,
    mutants={
        "merged without the scale": _MergedWithoutScale,
        "merged twice": _MergedTwice,
        "unmerging leaves the update in": _UnmergedByDoubling,
        "no scale": _NoScale,
    },
)
def adapted_weight(part: Adapt, draws: Draws) -> Iterator[Evidence]:
    """The weight that the outputs show: unmerged, merged, unmerged again, and as the `weight` that other modules read."""
    for _ in range(15):
        inside, outside, rank = _sizes(draws)
        base = _linear(draws, inside, outside)
        layer = _trained(part(base, rank, draws.uniform(3, 20, 1).item()), draws)
        factors = {"down": layer.lora_A.tolist(), "up": layer.lora_B.tolist(), "scale": layer.alpha / layer.rank}
        arguments = {"weight": base.weight.tolist(), **factors}
        allowed = rounding(20 * (inside + rank), max(1.0, layer.weight.abs().max().item(), layer.alpha))
        for act in (layer.unmerge, layer.merge, layer.unmerge):
            act()
            yield held("adaptation.adapted_weight", arguments, _effective(layer), allowed)
        yield held("adaptation.adapted_weight", arguments, layer.weight, allowed)


def _both_drawn(*arguments: Any, **settings: Any) -> LoRA:
    return LoRA(*arguments, **settings, init_lora_weights=False)


class _NearlyZero(LoRA):
    def reset_lora_parameters(self, *, init_lora_weights: bool = True) -> None:
        super().reset_lora_parameters(init_lora_weights=init_lora_weights)
        nn.init.constant_(self.lora_B, 1e-3)


class _InLowPrecision(LoRA):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return functional.linear(input.bfloat16(), self.weight.bfloat16(), self.bias.bfloat16() if self.bias is not None else None)


@experiment(
    "adaptation.fresh_output",
    part=LoRA,
    mutants={"both factors random": _both_drawn, "B nearly zero": _NearlyZero, "computed in bfloat16": _InLowPrecision},
    how="exact: float64, float32 and bfloat16",
)
def fresh_output(part: Adapt, draws: Draws) -> Iterator[Evidence]:
    """Outputs with a fresh adapter beside those without, in three types, for one row and for rows of rows."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for shape in ((), (7,), (2, 5)):
            inside, outside, rank = _sizes(draws)
            base = _linear(draws, inside, outside, dtype)
            inputs = draws.normal(*shape, inside).to(dtype)
            output = base(inputs).detach().flatten().double().tolist()
            yield held("adaptation.fresh_output", {"output": output}, part(base, rank, 16.0)(inputs).flatten())


def _update(layer: LoRA) -> Tensor:
    return layer.update.detach()


def _worsened(layer: LoRA) -> Tensor:
    """The update after training towards a target of full rank, which it cannot reach."""
    target = torch.eye(layer.out_features, layer.in_features, dtype=torch.float64)
    optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B], lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        (layer.update - target).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return _update(layer)


@experiment(
    "adaptation.update_rank",
    part=lambda layer: (_update(layer), _worsened(layer)),
    mutants={
        "full update": lambda layer: (torch.eye(layer.out_features, layer.in_features, dtype=torch.float64),),
        "a rank more": lambda layer: (_update(LoRA(layer.base_layer, layer.rank + 1, init_lora_weights=False)),),
    },
    how="random + trained towards the identity",
)
def update_rank(part: Callable[[LoRA], tuple[Tensor, ...]], draws: Draws) -> Iterator[Evidence]:
    """The rank of s B A by singular values, for drawn factors and for factors trained towards a target of full rank."""
    for _ in range(10):
        inside, outside, rank = draws.integer(3, 12), draws.integer(3, 12), draws.integer(1, 5)
        layer = _trained(LoRA(_linear(draws, inside, outside), rank), draws)
        for update in part(layer):
            arguments = {"in_features": inside, "out_features": outside, "rank": rank}
            yield held("adaptation.update_rank", arguments, torch.linalg.matrix_rank(update).item(), relation=Relation.AT_MOST)


def _gradients(layer: LoRA, inputs: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    by_down, by_up = torch.autograd.grad(layer(inputs), (layer.lora_A, layer.lora_B), upstream)
    return by_down, by_up


@experiment(
    "adaptation.factor_gradients",
    part=_gradients,
    mutants={
        "A trained by the weight's gradient": lambda one, x, g: (one.lora_B.T @ (g.T @ x) + 1e-3, _gradients(one, x, g)[1]),
        "scale forgotten": lambda one, x, g: tuple(y / one.scale for y in _gradients(one, x, g)),
        "B detached": lambda one, x, g: (_gradients(one, x, g)[0], torch.zeros_like(one.lora_B)),
    },
)
def factor_gradients(part: Callable[..., tuple[Tensor, Tensor]], draws: Draws) -> Iterator[Evidence]:
    """Gradients of fresh adapters, exactly zero for A, and of trained ones."""
    for number in range(20):
        inside, outside, rank = _sizes(draws)
        layer = LoRA(_linear(draws, inside, outside), rank, 5.0 + number)
        fresh = number % 2 == 0
        layer = layer if fresh else _trained(layer, draws)
        inputs, upstream = draws.normal(6, inside), draws.normal(6, outside)
        whole = (upstream.T @ inputs).tolist()
        arguments = {"gradient": whole, "down": layer.lora_A.tolist(), "up": layer.lora_B.tolist(), "scale": layer.scale}
        largest = layer.scale * (upstream.T @ inputs).norm().item() * max(1.0, _size(layer.lora_A), _size(layer.lora_B))
        found = part(layer, inputs, upstream)
        yield held("adaptation.factor_gradients", arguments, found, rounding(40 * (inside + outside), largest))
        if fresh:
            nothing = {"gradient": whole, "down": [[0.0] * inside], "up": [[0.0]] * outside, "scale": layer.scale}
            first_row = torch.cat([found[0][:1].flatten(), torch.zeros(outside, dtype=torch.float64)])
            yield held("adaptation.factor_gradients", nothing, first_row)


def _size(tensor: Tensor) -> float:
    return float(tensor.detach().norm())


def _optimized(layer: LoRA) -> list[nn.Parameter]:
    return [layer.lora_A, layer.lora_B]


def _both_zero(layer: LoRA) -> list[nn.Parameter]:
    nn.init.zeros_(layer.lora_A)
    return _optimized(layer)


def _frozen_b(layer: LoRA) -> list[nn.Parameter]:
    layer.lora_B.requires_grad_(False)  # noqa: FBT003 - torch takes it by position
    return _optimized(layer)


def _drawn(layer: LoRA) -> list[nn.Parameter]:
    nn.init.normal_(layer.lora_B)
    return _optimized(layer)


@experiment(
    "adaptation.factor_updates",
    part=_optimized,
    mutants={
        "both factors zero": _both_zero,
        "B frozen": _frozen_b,
        "B not in the optimizer": lambda layer: [layer.lora_A],
        "B drawn, not zero": _drawn,
    },
    how="exact, training loops of torch.optim.SGD and Adam",
)
def factor_updates(part: Callable[[LoRA], list[nn.Parameter]], draws: Draws) -> Iterator[Evidence]:
    """How often each factor of a fresh adapter moves in training towards a drawn target."""
    for build in (torch.optim.SGD, torch.optim.Adam):
        for steps in (0, 1, 2, 7):
            inside, outside, rank = _sizes(draws)
            layer = LoRA(_linear(draws, inside, outside), rank)
            optimizer = build(part(layer), lr=1e-3)
            inputs, target = draws.normal(16, inside), draws.normal(16, outside)
            moved = [0, 0]
            for _ in range(steps):
                before = [factor.detach().clone() for factor in (layer.lora_B, layer.lora_A)]
                optimizer.zero_grad()
                torch.autograd.backward((layer(inputs) - target).square().mean())
                optimizer.step()
                after = (layer.lora_B, layer.lora_A)
                moved = [count + (not torch.equal(*pair)) for count, *pair in zip(moved, before, after, strict=True)]
            yield held("adaptation.factor_updates", {"steps": steps}, tuple(moved))
