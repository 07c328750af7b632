"""How often layers run again, and what is loaded, where only some activations are kept.

Layers 1 to L map activation x_0 (the input) to x_L. The backward pass of layer l needs its input x_{l-1}. Kept are x_0 and every
s-th activation; the others are computed anew from the nearest kept one before them. What becomes of an activation that was computed
anew decides how much is run again (`reuse`):

- "nothing": it is dropped after its one use, so that never more than the kept activations and one more are in memory;
- "segment": it stays until its segment has been worked off;
- "graph": as before, but a layer's own graph has to be built anew too, so that its segment's last layer runs again as well: what
  autograd, hence torch.utils.checkpoint, does.
"""

from math import comb

from torchstone.core.errors import InvariantError
from torchstone.core.law import Kind, law
from torchstone.core.quantity import Unit

REUSES = ("nothing", "segment", "graph")
_CHEN = "Chen et al. 2016, section 4; counted layer by layer"


def spans(layers: int, spacing: int) -> list[int]:
    """Sizes of the segments between kept activations; the last may be shorter.

    >>> spans(10, 4)
    [4, 4, 2]
    """
    if layers < 1 or spacing < 1:
        message = f"layers and spacing are 1 or more; {layers} and {spacing} came"
        raise InvariantError(message)
    whole, rest = divmod(layers, spacing)
    return [spacing] * whole + [rest] * (rest > 0)


def _known(reuse: str) -> None:
    if reuse not in REUSES:
        message = f"reuse is one of {', '.join(REUSES)}; {reuse!r} came"
        raise InvariantError(message)


@law(
    "rematerialization.recomputed_forwards",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("a layer's backward pass needs its input", "one backward pass, from the last layer to the first"),
    sources=(_CHEN,),
)
def recomputed_forwards(layers: int, spacing: int, reuse: str = "nothing") -> int:
    """A segment of n layers runs n(n-1)/2 again if nothing is kept meanwhile, n - 1 if the segment is, n to rebuild its graph.

    >>> [recomputed_forwards(10, 5, reuse) for reuse in ("nothing", "segment", "graph")]
    [20, 8, 10]
    """
    _known(reuse)
    return sum({"nothing": n * (n - 1) // 2, "segment": n - 1, "graph": n}[reuse] for n in spans(layers, spacing))


@law(
    "rematerialization.loads",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("a load reads one kept activation", "what was just computed need not be loaded"),
    sources=(_CHEN,),
)
def loads(layers: int, spacing: int, reuse: str = "nothing") -> int:
    """Every layer's backward pass loads a kept activation to start from, or, if a segment is computed once, every segment does.

    >>> [loads(10, 5, reuse) for reuse in ("nothing", "segment", "graph")]
    [10, 2, 2]
    """
    _known(reuse)
    segments = len(spans(layers, spacing))
    return layers if reuse == "nothing" else segments


@law(
    "rematerialization.break_even_load",
    Kind.COST,
    Unit.SECONDS,
    assumes=("with everything on disk, each layer's input is loaded once and nothing runs again", "nothing overlaps"),
    sources=("equal times: L d = f R + m M",),
)
def break_even_load(layers: int, spacing: int, forward: float, load: float, reuse: str = "nothing") -> float:
    """Everything on disk takes the time of recomputation if one disk load takes (forwards x f + loads x m) / L.

    `forward`, `load`: seconds of one layer's forward and of one load from memory.

    >>> round(1e9 * break_even_load(10, 5, 20e-9, 10e-9), 6), round(1e9 * break_even_load(10, 5, 20e-9, 10e-9, "segment"), 6)
    (50.0, 18.0)
    """
    if forward < 0 or load < 0:
        message = f"seconds are zero or more; {forward} and {load} came"
        raise InvariantError(message)
    return (recomputed_forwards(layers, spacing, reuse) * forward + loads(layers, spacing, reuse) * load) / layers


@law(
    "rematerialization.revolve_forwards",
    Kind.COUNT,
    Unit.COUNT,
    assumes=("layers alike", "room for c activations at layers' borders, the input among them, and for one layer's own graph"),
    sources=("Griewank and Walther 2000, Algorithm 799, section 2; Grimm, Pottier and Rostaing-Schmidt 1996",),
)
def revolve_forwards(layers: int, checkpoints: int) -> int:
    """The fewest layers run again are r L - C(c + r, r - 1), where r is the least number with C(c + r, c) >= L.

    >>> revolve_forwards(1000, 31), revolve_forwards(10, 10), revolve_forwards(10, 1)
    (2439, 9, 45)
    """
    if layers < 1 or checkpoints < 1:
        message = f"layers and checkpoints are 1 or more; {layers} and {checkpoints} came"
        raise InvariantError(message)
    repeats = 0
    while comb(checkpoints + repeats, checkpoints) < layers:
        repeats += 1
    return repeats * layers - (comb(checkpoints + repeats, repeats - 1) if repeats else 0)
