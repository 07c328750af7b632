"""Questions about rematerialisation: layers run again, loads, and the disk that would be fast enough. Counted while they run."""

from functools import cache

import torch
from torch.utils.checkpoint import checkpoint

from torchstone.core.evidence import Evidence
from torchstone.core.problem import Answer, Drawing, Posted
from torchstone.core.quantity import Unit
from torchstone.laws.rematerialization.recomputation import break_even_load, loads, recomputed_forwards, spans
from torchstone.parts.rematerialization import Counted, backward_from_kept
from torchstone.problems.answering import answers, proved
from torchstone.problems.measuring import compared, generator, rounding

LAYERS, SPACING = 10, 5
FORWARD, LOAD = 20e-9, 10e-9
_READINGS = {
    "nothing": "nothing else is ever kept",
    "segment": "a segment that was run again stays until it is worked off",
    "graph": "and its last layer runs again too, to rebuild its graph (torch.utils.checkpoint)",
}
_AGAIN, _LOADS, _EVEN = (f"rematerialization.{name}" for name in ("recomputed_forwards", "loads", "break_even_load"))


@answers("D6a")
def forwards(_: Posted) -> Answer:
    """Layer calls of a network that runs."""
    said = {reuse: counted(reuse)[0] for reuse in _READINGS}
    sizes = spans(LAYERS, SPACING)
    back = [list(range(size - 1, -1, -1)) for size in sizes]
    return Answer(
        says=(
            f"{said['nothing']} layer forwards, if {_READINGS['nothing']}",
            f"{said['segment']}, if {_READINGS['segment']}",
            f"{said['graph']} under torch.utils.checkpoint, which rebuilds every layer's graph",
        ),
        derivation=(
            "layer l's backward pass needs its input x_{l-1}: from the kept x_5, x_9 is 4 forwards away, x_8 is 3, ..., x_5 none",
            f"a segment: {' + '.join(map(str, back[0]))} = {sum(back[0])} forwards, {len(sizes)} segments: {said['nothing']}",
            f"kept while its segment is worked off, each of x_1..x_4, x_6..x_9 is computed once: {said['segment']}",
        ),
        evidence=(*(_counted(reuse, 0, _AGAIN) for reuse in _READINGS), _gradient(), *proved(_AGAIN)),
        drawings=(picture(),),
        remarks=("the wording keeps nothing but those, hence the first reading; the others are what programs do",),
    )


@answers("D6b")
def loading(_: Posted) -> Answer:
    """Reads of kept activations."""
    said = {reuse: counted(reuse)[1] for reuse in ("nothing", "segment")}
    return Answer(
        says=(
            f"{said['nothing']} loads, if {_READINGS['nothing']}: every layer's backward pass begins at a kept activation",
            f"{said['segment']}, if {_READINGS['segment']}: one a segment",
        ),
        derivation=(
            f"each of {LAYERS} layers needs its input; the way to it begins with one load of x_0 or x_5",
            "what was just computed is at hand and is not loaded",
        ),
        evidence=(*(_counted(reuse, 1, _LOADS) for reuse in _READINGS), *proved(_LOADS)),
    )


@answers("D6c")
def disk(_: Posted) -> Answer:
    """The time of recomputation, by its counts, shared among the loads that replace it."""
    rows = {reuse: (*counted(reuse), break_even_load(LAYERS, SPACING, FORWARD, LOAD, reuse)) for reuse in ("nothing", "segment")}
    again, read, even = rows["nothing"]
    times = {reuse: one * FORWARD + other * LOAD for reuse, (one, other, _) in rows.items()}
    stored = counted("segment", spacing=1)
    return Answer(
        says=(
            f"{1e9 * even:g} ns a disk load, if {_READINGS['nothing']}",
            f"{1e9 * rows['segment'][2]:g} ns, if {_READINGS['segment']}",
        ),
        derivation=(
            f"recomputation: {again} x {1e9 * FORWARD:g} ns + {read} loads x {1e9 * LOAD:g} ns = {1e9 * times['nothing']:g} ns",
            f"everything on disk: {stored[0]} forwards run again, {stored[1]} loads (each layer's input once): {stored[1]} d",
            f"equal for d = {1e9 * times['nothing']:g} / {stored[1]} = {1e9 * even:g} ns",
        ),
        evidence=(
            *(
                compared(_EVEN, one[2], times[reuse] / stored[1], rounding(16, one[2]), "counts of running networks")
                for reuse, one in rows.items()
            ),
            *proved(_EVEN),
        ),
        remarks=("nothing overlaps here; loads that run while the layer before is at work may each take as long as that layer",),
    )


@cache
def _network() -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the document's network, scaled so that squares stay of their size, and an input."""
    weights = torch.randn(LAYERS, 4, 4, generator=generator(), dtype=torch.float64) / 4
    return weights, torch.rand(4, generator=generator(1), dtype=torch.float64)


def _layers() -> list[Counted]:
    """Layers W x², whose backward pass 2 x W'g needs their input alone."""
    return [
        Counted(lambda x, w=one: w @ x.square(), lambda x, g, w=one: 2 * x * (w.T @ g))  # type: ignore[misc]
        for one in _network()[0]
    ]


def counted(reuse: str, spacing: int = SPACING) -> tuple[int, int]:
    """Layers run again and loads of the document's network; for torch.utils.checkpoint, counted under it."""
    if reuse == "graph":
        return _checkpointed(spacing), loads(LAYERS, spacing, reuse)
    x = _network()[1]
    return backward_from_kept(_layers(), x, torch.ones_like(x), spacing, reuse)[1:]


def _checkpointed(spacing: int) -> int:
    """Layer calls beyond the first forward pass, where torch.utils.checkpoint runs each segment."""
    layers, x = _layers(), _network()[1].clone().requires_grad_()
    y = x
    for start in range(0, LAYERS, spacing):
        inside = layers[start : start + spacing]

        def run(x: torch.Tensor, inside: list[Counted] = inside) -> torch.Tensor:
            for layer in inside:
                x = layer(x)
            return x

        y = checkpoint(run, y, use_reentrant=False)
    torch.autograd.backward(y.sum())
    return sum(layer.forwards for layer in layers) - LAYERS


def _counted(reuse: str, which: int, law: str) -> Evidence:
    predicted = (recomputed_forwards, loads)[which](LAYERS, SPACING, reuse)
    return compared(law, predicted, counted(reuse)[which], how=f"counted while {_READINGS[reuse].partition(' (')[0]}")


def _gradient() -> Evidence:
    """That the counted backward pass is one: its gradient against autograd's, where they differ most."""
    x = _network()[1]
    ours = backward_from_kept(_layers(), x, torch.ones_like(x), SPACING)[0]
    leaf = x.clone().requires_grad_()
    y = leaf
    for weight in _network()[0]:
        y = weight @ y.square()
    (theirs,) = torch.autograd.grad(y.sum(), leaf)
    place = int((ours - theirs).abs().argmax())
    allowed = rounding(400, theirs.abs().max().item())
    return compared(_AGAIN, ours[place].item(), theirs[place].item(), allowed, "autograd", unit=Unit.VALUE)


def picture() -> Drawing:
    """Which activations are kept, and how far each other one is from the nearest."""
    away = [place % SPACING for place in range(LAYERS)]
    text = "\n".join(
        (
            "x   " + "".join(f"{place:>4}" for place in range(LAYERS)),
            "    " + "".join("   ■" if not far else "   ·" for far in away),
            "run " + "".join(f"{far:>4}" for far in away) + f"   = {sum(away)}",
        )
    )
    boxes = "".join(
        f'<rect x="{10 + 44 * place}" y="20" width="32" height="24" fill="{"#4477aa" if not far else "#ffffff"}" stroke="#4477aa"/>'
        f'<text x="{26 + 44 * place}" y="14" font-size="11" text-anchor="middle">x{place}</text>'
        f'<text x="{26 + 44 * place}" y="60" font-size="11" text-anchor="middle">{far}</text>'
        for place, far in enumerate(away)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {44 * LAYERS + 20} 70" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{boxes}</svg>'
    )
    return Drawing("kept activations (■), and how many layers run again for each input", text, svg)
